//! `murmur-ci check` runs everything that must hold before a commit; `murmur-ci <step>` runs one step, of those or of
//! those that take longer.

use std::path::Path;
use std::process::ExitCode;

use murmur_ci::plan::Step;
use murmur_ci::{report, run, tree};

/// Exit code for a command line that makes no sense, as in the `murmur` binary.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => perform(&Step::ALL),
        [name] => match Step::named(name) {
            Some(step) => perform(&[step]),
            None => usage(),
        },
        _ => usage(),
    }
}

fn perform(steps: &[Step]) -> ExitCode {
    let start = std::env::current_dir().unwrap_or_default();
    let Some(root) = tree::workspace_root(&start) else {
        eprintln!("murmur-ci: no Cargo.toml with a [workspace] in {} or above it", start.display());
        return ExitCode::from(USAGE);
    };
    finish(&root, steps)
}

fn finish(root: &Path, steps: &[Step]) -> ExitCode {
    let results: Vec<report::Line> = steps.iter().map(|step| run::step(root, *step)).collect();
    print!("{}", report::summary(&results));
    if report::passed(&results) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("usage: murmur-ci <check | STEP>\n\n  check    every step of the first list, in this order");
    list(&Step::ALL);
    eprintln!("\nnot part of check:");
    list(&Step::APART);
    ExitCode::from(USAGE)
}

fn list(steps: &[Step]) {
    for step in steps {
        eprintln!("  {:<8} {}", step.name(), step.about());
    }
}
