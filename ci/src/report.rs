//! The last thing a check prints: one line per step, then one verdict.

use std::fmt::Write as _;
use std::time::Duration;

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It found nothing wrong; the text says what it looked at.
    Passed(String),
    /// It found something wrong, or could not be run.
    Failed(String),
    /// It was not run, for the reason given.
    Skipped(String),
}

/// One step's line of the summary.
#[derive(Clone, Debug)]
pub struct Line {
    /// The step's name.
    pub step: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Wall time it took.
    pub elapsed: Duration,
}

/// Whether no step failed.
#[must_use]
pub fn passed(lines: &[Line]) -> bool {
    !lines.iter().any(|line| matches!(line.outcome, Outcome::Failed(_)))
}

/// The summary of a check, ending in a newline.
#[must_use]
pub fn summary(lines: &[Line]) -> String {
    let mut text = String::from("\n");
    for line in lines {
        let (word, detail) = match &line.outcome {
            Outcome::Passed(detail) => ("ok", detail),
            Outcome::Failed(detail) => ("FAILED", detail),
            Outcome::Skipped(detail) => ("skipped", detail),
        };
        let seconds = line.elapsed.as_secs_f64();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<8} {word:<8} {seconds:>7.1} s  {detail}", line.step);
    }
    let seconds: f64 = lines.iter().map(|line| line.elapsed.as_secs_f64()).sum();
    let verdict = if passed(lines) { "ok" } else { "FAILED" };
    let _ = writeln!(text, "check    {verdict:<8} {seconds:>7.1} s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(outcome: Outcome) -> Line {
        Line { step: "fmt", outcome, elapsed: Duration::from_millis(1500) }
    }

    #[test]
    fn a_skipped_step_does_not_fail_a_check_and_gives_its_reason() {
        let lines = [line(Outcome::Passed("all".to_owned())), line(Outcome::Skipped("no such tool".to_owned()))];
        assert!(passed(&lines));
        assert_eq!(
            summary(&lines),
            "\nfmt      ok           1.5 s  all\nfmt      skipped      1.5 s  no such tool\ncheck    ok           3.0 s\n"
        );
    }

    #[test]
    fn one_failed_step_fails_a_check_whose_other_steps_pass() {
        let lines = [line(Outcome::Failed("two files".to_owned())), line(Outcome::Passed(String::new()))];
        assert!(!passed(&lines));
        assert!(summary(&lines).contains("check    FAILED"));
    }
}
