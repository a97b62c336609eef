//! `murmur bench run`, `compare`, `report`, `verify`: from arguments to suites and their results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    arguments::{CompareArgs, ReportArgs, SuiteArgs, VerifyArgs},
    bench::whole,
};
use crate::{
    bench::{comparison::Comparison, page, result::read, session, suite::Options, suites},
    error::{Exit, Failure},
    observe::output::Output,
};

/// The most seeds of one call.
const SEEDS_MAX: u64 = 1000;

/// Runs a suite.
///
/// # Errors
/// [`Exit::Usage`] for an unknown suite or seeds; those of [`session::run`].
pub(super) fn run(arguments: &SuiteArgs, output: &mut Output) -> Result<(), Failure> {
    let suite = suites::find(&arguments.suite)?;
    let tokens = arguments.tokens.as_deref().map(tokens).transpose()?;
    let options = Options { seeds: seeds(&arguments.seeds)?, tokens, sets: arguments.set.clone() };
    output.note(&format!("Running {} with {} seeds: {}.", suite.name, options.seeds.len(), suite.about));
    session::run(suite, &options, arguments.out.as_deref(), output)
}

/// Compares two results.
///
/// # Errors
/// Those of [`read()`] and [`Comparison::new`].
pub(super) fn compare(arguments: &CompareArgs, output: &mut Output) -> Result<(), Failure> {
    let (before, after) = (read(&arguments.before)?, read(&arguments.after)?);
    let comparison = Comparison::new(&before, &after, arguments.anyway)?;
    output.result(&comparison.to_text(), &comparison.to_json());
    Ok(())
}

/// Shows results and writes their page and tables.
///
/// # Errors
/// Those of [`read()`]; [`Exit::DiskFull`] and [`Exit::Usage`] where files cannot be written.
pub(super) fn report(arguments: &ReportArgs, output: &mut Output) -> Result<(), Failure> {
    let read = |path: &PathBuf| Ok((path.display().to_string(), read(path)?));
    let results = arguments.files.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let page_path = arguments.out.clone().unwrap_or_else(|| arguments.files[0].with_extension("html"));
    let files = [
        (page_path.clone(), page::html(&results)),
        (page_path.with_extension("samples.csv"), page::samples(&results)),
        (page_path.with_extension("curves.csv"), page::curves(&results)),
    ];
    for (path, text) in &files {
        write(path, text)?;
    }
    let [page, samples, curves] = files.map(|(path, _)| path.display().to_string());
    output.note(&format!("The page is {page}; the tables are {samples} and {curves}."));
    let text: Vec<String> = results.iter().map(|(_, result)| page::summary(result)).collect();
    let object = json!({
        "schema": "murmur.bench-report/1", "results": results.len(), "html": page, "samples_csv": samples,
        "curves_csv": curves,
    });
    output.result(&text.join("\n\n"), &object);
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| {
        Failure::io(Exit::Usage, "write", path, &error).hint("Choose another place with --out FILE.html.")
    })
}

/// Checks a result.
///
/// # Errors
/// Those of [`read()`]; [`Exit::Checkpoint`] naming all that does not match; [`Exit::Version`] when this program lacks its suite.
pub(super) fn verify(arguments: &VerifyArgs, output: &mut Output) -> Result<(), Failure> {
    let result = read(&arguments.result)?;
    let suite = suites::find(&result.header.suite).map_err(|failure| {
        let message = format!("this program cannot check a result of the suite `{}`", result.header.suite);
        Failure::new(Exit::Version, message).because(failure.sentence())
    })?;
    let mismatches = result.mismatches(suite);
    if mismatches.is_empty() {
        let failed = result.samples.iter().filter(|sample| sample.failure.is_some()).count();
        let samples = result.samples.len();
        let text =
            format!("{} is whole: {samples} samples, of which {failed} failed, give its conclusion.", result.title());
        let object = json!({
            "schema": "murmur.bench-verify/1", "suite": suite.name, "sound": true, "samples": samples, "failed": failed,
        });
        output.result(&text, &object);
        return Ok(());
    }
    let message = format!("{} does not match what it says", arguments.result.display());
    let hint = "It was edited or cut, or made by another version of the suite. Run the suite again.";
    Err(Failure::new(Exit::Checkpoint, message).because(mismatches.join("; ")).hint(hint))
}

/// `3` is 1, 2, 3; with a comma, a list.
fn seeds(text: &str) -> Result<Vec<u64>, Failure> {
    let wrong = || {
        Failure::new(Exit::Usage, format!("`{text}` names no seeds"))
            .at("--seeds")
            .hint(format!("Write how many, from 1 to {SEEDS_MAX}, or a list of different ones, as in 1,2,7."))
    };
    if !text.contains(',') {
        return Ok((1..=whole(text, 1..=SEEDS_MAX).ok_or_else(wrong)?).collect());
    }
    let listed = text.split(',').map(str::trim).filter(|seed| !seed.is_empty());
    let seeds = listed.map(|seed| whole(seed, 0..=u64::MAX)).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    let mut distinct = seeds.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.is_empty() || distinct.len() < seeds.len() || seeds.len() as u64 > SEEDS_MAX {
        return Err(wrong());
    }
    Ok(seeds)
}

fn tokens(text: &str) -> Result<u64, Failure> {
    whole(text, 1..=u64::MAX).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{text}` is no number of tokens"))
            .at("--tokens")
            .hint("Write it as in 500k or 12M.")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_number_or_a_list() {
        assert_eq!(seeds("3").unwrap(), [1, 2, 3]);
        assert_eq!(seeds("7,").unwrap(), [7]);
        assert_eq!(seeds("5, 1,0").unwrap(), [5, 1, 0]);
        for wrong in ["", "0", "x", "1,1", ",", "1,x", "1001", "-1"] {
            assert_eq!(seeds(wrong).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn tokens_are_written_as_in_settings() {
        assert_eq!(tokens("500k").unwrap(), 500_000);
        assert_eq!(tokens("many").unwrap_err().exit(), Exit::Usage);
    }
}
