//! Finds the test command in the README, so that what a stranger is told to type is what gets checked.

use std::path::{Path, PathBuf};

/// Why the README's test command cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum NoTestCommand {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No fenced line starts with `cargo test`.
    #[error("{path} has no fenced line that starts with `cargo test`")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The line needs a shell, and no shell is at hand on every machine.
    #[error("the test command of {path} must be plain words, without quotes, pipes or variables: {line}")]
    NotPlain {
        /// The file.
        path: PathBuf,
        /// The line as it stands there.
        line: String,
    },
}

/// The words of the first fenced line of `path` that starts with `cargo test`, without a trailing comment.
///
/// # Errors
/// [`NoTestCommand`] if the file cannot be read, has no such line, or the line needs a shell.
pub fn test_command(path: &Path) -> Result<Vec<String>, NoTestCommand> {
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|source| NoTestCommand::Unreadable { path: path.to_owned(), source })?;
    let line = fenced_line(&text).ok_or_else(|| NoTestCommand::Absent { path: path.to_owned() })?;
    let command = line.split(" #").next().unwrap_or(line).trim();
    if command.contains(['|', '&', ';', '<', '>', '$', '`', '"', '\'', '\\', '*']) {
        return Err(NoTestCommand::NotPlain { path: path.to_owned(), line: line.to_owned() });
    }
    Ok(command.split_whitespace().map(str::to_owned).collect())
}

fn fenced_line(text: &str) -> Option<&str> {
    let mut fenced = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced && line.split_whitespace().take(2).eq(["cargo", "test"]) {
            return Some(line);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_other_commands_are_passed_over() {
        let text =
            "cargo test --prose\n```sh\ncargo run --release -- run\n\ncargo test --release --workspace  # all\n```";
        assert_eq!(fenced_line(text), Some("cargo test --release --workspace  # all"));
    }

    #[test]
    fn a_command_outside_a_fence_or_with_a_longer_name_does_not_count() {
        assert_eq!(fenced_line("```\nls\n```\ncargo test\n"), None);
        assert_eq!(fenced_line("```\ncargo testament\n```\n"), None);
    }

    #[test]
    fn each_way_to_fail_has_its_own_error() {
        let path = std::env::temp_dir().join(format!("murmur-ci-readme-{}.md", std::process::id()));
        assert!(matches!(test_command(&path), Err(NoTestCommand::Unreadable { .. })));
        std::fs::write(&path, "```\ncargo build\n```\n").unwrap();
        let absent = test_command(&path);
        std::fs::write(&path, "```\ncargo test | tee log\n```\n").unwrap();
        let piped = test_command(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(absent, Err(NoTestCommand::Absent { .. })));
        assert!(matches!(piped, Err(NoTestCommand::NotPlain { .. })));
    }
}
