//! Prints the history digest of each seed of a scenario, one to a line: `histories SCENARIO [COUNT]`. The test
//! `histories` compares them with the recorded files.

use std::{io::Write, process::ExitCode};

use murmur_sim::{Scenario, run_seed};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.get(1).and_then(|argument| argument.parse().ok()).unwrap_or(200);
    let Some(scenario) = arguments.first().and_then(|name| Scenario::built_in(name)) else {
        eprintln!("scenarios: {}", Scenario::built_in_names().collect::<Vec<_>>().join(", "));
        return ExitCode::from(2);
    };
    for seed in 0..count {
        let line = &run_seed(&scenario, seed).trace[..16];
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
