//! Runs one step and watches what it prints.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::time::Instant;

use crate::graph::Graph;
use crate::plan::{Action, Command, Step, Tool};
use crate::report::{Line, Outcome};
use crate::tree::Tree;
use crate::{architecture, tidy};

/// Runs `step` in the workspace at `root`, its output passing through, and says how it ended.
#[must_use]
pub fn step(root: &Path, step: Step) -> Line {
    let begun = Instant::now();
    let outcome = match step.action(root) {
        Ok(Action::Architecture) => dependencies(root),
        Ok(Action::Tidy) => files(root),
        Ok(Action::Command(command)) => start(root, &command),
        Ok(Action::Commands(commands)) => all(commands.into_iter().map(|command| part(root, command)).collect()),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    Line { step: step.name(), outcome, elapsed: begun.elapsed() }
}

fn dependencies(root: &Path) -> Outcome {
    announce("the direction of dependencies");
    match Graph::of_workspace(root) {
        Ok(graph) => verdict(&architecture::violations(&graph), "dependencies point the right way"),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn files(root: &Path) -> Outcome {
    announce("the habits of the source files");
    match Tree::read(root) {
        Ok(tree) => verdict(&tidy::violations(&tree), &format!("{} source files", tree.sources.len())),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn verdict(violations: &[String], all_well: &str) -> Outcome {
    for violation in violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Outcome::Passed(all_well.to_owned()),
        count => Outcome::Failed(format!("{count} found, listed above")),
    }
}

fn part(root: &Path, command: Result<Command, String>) -> Outcome {
    command.map_or_else(Outcome::Skipped, |command| start(root, &command))
}

/// One outcome of several: the worst, with what became of each.
fn all(outcomes: Vec<Outcome>) -> Outcome {
    let failed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
    let passed = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Passed(_)));
    let told = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Passed(detail) => detail,
        Outcome::Failed(detail) => format!("FAILED: {detail}"),
        Outcome::Skipped(reason) => format!("skipped: {reason}"),
    });
    let told = told.collect::<Vec<_>>().join("\n  ");
    match (failed, passed) {
        (true, _) => Outcome::Failed(told),
        (false, true) => Outcome::Passed(told),
        (false, false) => Outcome::Skipped(told),
    }
}

fn start(root: &Path, command: &Command) -> Outcome {
    if let Some(tool) = &command.optional
        && !installed(tool)
    {
        return Outcome::Skipped(format!("`{}` is not installed ({})", tool.call, tool.remedy));
    }
    let shown = command.words.join(" ");
    announce(&shown);
    match wait(root, command) {
        Ok((code, tally)) => judge(command, &shown, code, tally),
        Err(error) => Outcome::Failed(format!("{shown}: {error}")),
    }
}

fn wait(root: &Path, command: &Command) -> std::io::Result<(Option<i32>, Tally)> {
    let Some((program, arguments)) = command.words.split_first() else {
        return Err(std::io::Error::other("the command has no words"));
    };
    let mut child = std::process::Command::new(program)
        .args(arguments)
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let tally = child.stdout.take().map(pass_through).transpose()?.unwrap_or_default();
    Ok((child.wait()?.code(), tally))
}

/// Prints each line as it comes and adds up what the test harness reports.
fn pass_through(stdout: ChildStdout) -> std::io::Result<Tally> {
    let mut tally = Tally::default();
    let mut here = std::io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        here.write_all(&line)?;
        here.write_all(b"\n")?;
        tally.add(&String::from_utf8_lossy(&line));
    }
    Ok(tally)
}

fn judge(command: &Command, shown: &str, code: Option<i32>, tally: Tally) -> Outcome {
    let counted = if command.runs_tests { format!("{shown}: {tally}") } else { shown.to_owned() };
    match code {
        Some(0) if command.runs_tests && tally.passed == 0 => Outcome::Failed(format!("{shown}: no test ran")),
        Some(0) => Outcome::Passed(counted),
        Some(code) => Outcome::Failed(format!("{counted} (exit code {code})")),
        None => Outcome::Failed(format!("{counted} (killed by a signal)")),
    }
}

/// What the `test result:` lines of one run add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        self.passed += count(result, "passed");
        self.failed += count(result, "failed");
        self.ignored += count(result, "ignored");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

/// The number before `word` in a line such as `ok. 3 passed; 0 failed; 1 ignored`.
fn count(result: &str, word: &str) -> u64 {
    let mut before = None;
    for token in result.split([' ', ';']) {
        if token == word {
            return before.unwrap_or(0);
        }
        before = token.parse().ok();
    }
    0
}

fn installed(tool: &Tool) -> bool {
    let mut words = tool.call.split_whitespace();
    let probe = std::process::Command::new(words.next().unwrap_or_default())
        .args(words)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success())
}

/// Names what runs next on stderr, where cargo's own progress goes, so that the order stays readable.
fn announce(what: &str) {
    eprintln!("\nmurmur-ci: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str], runs_tests: bool) -> Command {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Command { words, environment: Vec::new(), runs_tests, optional: None }
    }

    #[test]
    fn result_lines_add_up_and_other_lines_do_not_count() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s");
        tally.add("test laws::fold ... 9 passed");
        tally.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        assert_eq!(tally, Tally { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_test_command_that_ran_no_test_has_failed() {
        let outcome = judge(&command(&["cargo", "test"], true), "cargo test", Some(0), Tally::default());
        assert_eq!(outcome, Outcome::Failed("cargo test: no test ran".to_owned()));
    }

    #[test]
    fn an_exit_code_other_than_zero_fails_a_step_and_is_named() {
        let clippy = command(&["cargo", "clippy"], false);
        let outcome = judge(&clippy, "cargo clippy", Some(101), Tally::default());
        assert_eq!(outcome, Outcome::Failed("cargo clippy (exit code 101)".to_owned()));
        let killed = judge(&clippy, "cargo clippy", None, Tally::default());
        assert_eq!(killed, Outcome::Failed("cargo clippy (killed by a signal)".to_owned()));
    }

    #[test]
    fn tests_that_passed_do_not_hide_one_that_failed() {
        let tally = Tally { passed: 7, failed: 1, ignored: 0 };
        let outcome = judge(&command(&["cargo", "test"], true), "cargo test", Some(101), tally);
        let expected = "cargo test: 7 passed, 1 failed, 0 ignored (exit code 101)";
        assert_eq!(outcome, Outcome::Failed(expected.to_owned()));
    }

    #[test]
    fn several_outcomes_are_told_together_and_one_failure_fails_them() {
        let [good, bad, none] = [Outcome::Passed, Outcome::Failed, Outcome::Skipped].map(|kind| kind("x".to_owned()));
        assert_eq!(all(vec![good.clone(), none.clone()]), Outcome::Passed("x\n  skipped: x".to_owned()));
        assert_eq!(all(vec![bad, good]), Outcome::Failed("FAILED: x\n  x".to_owned()));
        assert_eq!(all(vec![none]), Outcome::Skipped("skipped: x".to_owned()));
    }

    #[test]
    fn a_program_that_is_not_there_fails_its_step() {
        let outcome = start(Path::new("."), &command(&["murmur-no-such-program"], false));
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }

    #[test]
    fn a_missing_optional_tool_skips_its_step_and_says_how_to_get_it() {
        let absent = Command {
            optional: Some(Tool { call: "cargo no-such-subcommand", remedy: "install it" }),
            ..command(&["cargo"], false)
        };
        let outcome = start(Path::new("."), &absent);
        assert_eq!(outcome, Outcome::Skipped("`cargo no-such-subcommand` is not installed (install it)".to_owned()));
    }
}
