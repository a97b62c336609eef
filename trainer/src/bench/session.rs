//! Runs a suite: every sample is shown and stored as soon as it is there.

use std::{io, path::Path};

use super::{
    report::{Report, number},
    result::{Header, RunResult},
    suite::{Options, Sample, Suite},
};
use crate::{
    error::{Exit, Failure},
    observe::output::{Format, Output},
};

/// Runs `suite`, writes the result to `path`, or else to a file named after suite and time in the current folder, and shows what
/// it says.
///
/// Until the end the samples so far lie beside it, in a file whose name ends in `.part`.
///
/// # Errors
/// [`Exit::Usage`] where tokens were asked of a suite that trains nothing; whatever keeps it from running or from being written; [`Exit::TargetMissed`] and [`Exit::Bug`] as [`Report::verdict`], and
/// [`Exit::TargetMissed`] when every sample failed.
pub fn run(suite: &Suite, options: &Options, path: Option<&Path>, output: &mut Output) -> Result<(), Failure> {
    if options.tokens.is_some() && !suite.trains {
        let message = format!("suite `{}` trains nothing, so it has no tokens", suite.name);
        return Err(Failure::new(Exit::Usage, message).at("--tokens").hint("Leave the option out."));
    }
    let header = Header::new(suite.name, options)?;
    let named = || format!("murmur-bench-{}-{}.json", suite.name, header.date.replace([':', '-'], "")).into();
    let path: &Path = &path.map_or_else(named, Path::to_owned);
    let mut result = RunResult::new(header);
    // Better now than after hours.
    result.write(path)?;
    let part = RunResult::part(path);
    output.note(&format!("Samples are kept in {} until the end.", part.display()));
    let mut unwritten = None;
    // The suite has the other one in hand.
    let mut notes = Output::to(Format::Text, Box::new(io::sink()), Box::new(io::stderr()));
    let ran = (suite.run)(options, output, &mut |sample| {
        notes.note(&line(&sample));
        result.add(sample);
        if let Err(failure) = result.write(path) {
            unwritten = Some(failure);
        }
    });
    let stopped = |failure: Failure, samples: usize| {
        if samples == 0 {
            // There is nothing in it.
            let _ = std::fs::remove_file(&part);
            return failure;
        }
        failure.because(format!("{samples} samples were measured before, and lie in {}", part.display()))
    };
    if let Err(failure) = ran.and(unwritten.map_or(Ok(()), Err)) {
        return Err(stopped(failure, result.samples.len()));
    }
    let report = result.conclude(suite);
    result.write(path)?;
    output.note(&format!("The result is in {}.", path.display()));
    show(&report, &result, output);
    verdict(&report, &result)
}

/// A sample in one line.
fn line(sample: &Sample) -> String {
    let Sample { case, seed, figures, failure, .. } = sample;
    match failure {
        Some(failure) => format!("{case}, seed {seed}: FAILED: {failure}"),
        None => {
            let figures: Vec<String> =
                figures.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
            format!("{case}, seed {seed}: {}", figures.join(", "))
        }
    }
}

fn show(report: &Report, result: &RunResult, output: &mut Output) {
    output.result(&format!("{}\n{}", super::page::summary(result), report.to_text()), &result.conclusion);
}

fn verdict(report: &Report, result: &RunResult) -> Result<(), Failure> {
    let samples = &result.samples;
    if samples.iter().all(|sample| sample.failure.is_some()) {
        let first = samples.iter().find_map(|sample| sample.failure.as_deref()).unwrap_or("the suite has no cases");
        let failure = Failure::new(Exit::TargetMissed, format!("none of {} samples could be measured", samples.len()));
        return Err(failure.because(first.lines().next().unwrap_or_default()));
    }
    report.verdict()
}
