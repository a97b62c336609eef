//! The steps of a check, in the order in which they run, and the exact command behind each.
//!
//! Clippy and rustdoc run with `--release` although neither makes machine code. The metadata they need of every
//! dependency belongs to a profile; with the release profile the two share one set of it, and they reuse the build
//! scripts and procedural macros of `cargo run --release` and `cargo test --release`. Measured with the burn
//! dependencies: clippy 5 CPU-minutes from nothing, then rustdoc 13 seconds.

use std::path::Path;

use crate::readme::{self, NoTestCommand};
use crate::sanitize;

/// One thing that can be checked by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Formatting.
    Fmt,
    /// The direction of dependencies.
    Deps,
    /// The habits of the source files.
    Tidy,
    /// Licences, advisories and banned crates.
    Deny,
    /// Lints.
    Clippy,
    /// Documentation.
    Doc,
    /// The README's own test command.
    Test,
    /// The GPU kernels on whatever device there is.
    Gpu,
    /// The unsafe code of the kernels.
    Sanitize,
}

/// What a step does.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Calls [`crate::architecture::violations`] in this process.
    Architecture,
    /// Calls [`crate::tidy::violations`] in this process.
    Tidy,
    /// Starts a program and waits for it.
    Command(Command),
    /// Starts one program after the other, whatever became of the one before; or says why one is not.
    Commands(Vec<Result<Command, String>>),
}

/// A program to start at the workspace root.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; never empty.
    pub words: Vec<String>,
    /// Variables set for it beside the inherited ones.
    pub environment: Vec<(&'static str, String)>,
    /// Whether it runs tests, and so must report at least one that ran.
    pub runs_tests: bool,
    /// Without it, the command is skipped.
    pub optional: Option<Tool>,
}

/// A program that need not be there.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    /// How it is called, up to its first argument; it knows `--version`.
    pub call: &'static str,
    /// How to install it.
    pub remedy: &'static str,
}

impl Command {
    pub(crate) fn new(words: &str) -> Self {
        let words = words.split_whitespace().map(str::to_owned).collect();
        Self { words, environment: Vec::new(), runs_tests: false, optional: None }
    }
}

impl Step {
    /// Every step of `check`, cheapest first. From nothing, on two cores: seconds up to the bans, about 5 CPU-minutes for
    /// the metadata that lints and documentation share, 13 to 17 for the tests, which reuse a part of that, and 11 for
    /// the GPU kernels, whose compiler nothing else needs. When only the workspace changed, lints and documentation take
    /// seconds.
    pub const ALL: [Self; 8] =
        [Self::Fmt, Self::Deps, Self::Tidy, Self::Deny, Self::Clippy, Self::Doc, Self::Test, Self::Gpu];

    /// What takes too long for every commit, and is asked for by name when what it looks at has changed.
    pub const APART: [Self; 1] = [Self::Sanitize];

    /// The step a user means by `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::APART).find(|step| step.name() == name)
    }

    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Deps => "deps",
            Self::Tidy => "tidy",
            Self::Deny => "deny",
            Self::Test => "test",
            Self::Gpu => "gpu",
            Self::Sanitize => "sanitize",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
        }
    }

    /// One line for the usage text.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Fmt => "rustfmt leaves every file as it is",
            Self::Deps => "crates depend on each other only in the direction of ARCHITECTURE.md",
            Self::Tidy => "folders, file sizes, headers, unfinished work, sleeping tests, clippy.toml files",
            Self::Deny => "cargo-deny accepts licences, advisories and sources; skipped where not installed",
            Self::Test => "the test command of README.md, word for word",
            Self::Gpu => "every GPU kernel equals the CPU's, bit for bit; its tests say so where there is no device",
            Self::Sanitize => {
                "the kernels' tests under AddressSanitizer at every level; under Valgrind and Miri where installed"
            }
            Self::Clippy => "no lint fires in any target of the workspace",
            Self::Doc => "rustdoc has nothing to complain about",
        }
    }

    /// What to do for this step in the workspace at `root`.
    ///
    /// # Errors
    /// [`NoTestCommand`] if the README does not say how to test.
    pub fn action(self, root: &Path) -> Result<Action, NoTestCommand> {
        Ok(match self {
            Self::Fmt => Action::Command(Command::new("cargo fmt --all --check")),
            Self::Deps => Action::Architecture,
            Self::Tidy => Action::Tidy,
            Self::Deny => Action::Command(Command {
                optional: Some(Tool { call: "cargo deny", remedy: "cargo install --locked cargo-deny" }),
                ..Command::new("cargo deny check")
            }),
            Self::Test => Action::Command(Command {
                words: readme::test_command(&root.join("README.md"))?,
                runs_tests: true,
                ..Command::new("")
            }),
            Self::Gpu => Action::Command(Command {
                runs_tests: true,
                ..Command::new("cargo test --release -p murmur-gpu --features wgpu")
            }),
            Self::Clippy => {
                Action::Command(Command::new("cargo clippy --release --workspace --all-targets -- -D warnings"))
            }
            Self::Doc => Action::Command(Command {
                environment: vec![("RUSTDOCFLAGS", "-D warnings".to_owned())],
                ..Command::new("cargo doc --release --workspace --no-deps")
            }),
            Self::Sanitize => Action::Commands(sanitize::commands(root)),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_by_its_own_name_and_no_other() {
        for step in Step::ALL.into_iter().chain(Step::APART) {
            assert_eq!(Step::named(step.name()), Some(step));
        }
        assert_eq!(Step::named("check"), None);
    }

    #[test]
    fn the_test_step_runs_the_words_of_the_readme() {
        let folder = std::env::temp_dir().join(format!("murmur-ci-plan-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("README.md"), "```sh\ncargo test --frozen # all\n```\n").unwrap();
        let action = Step::Test.action(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        let Ok(Action::Command(command)) = action else { panic!("not a command: {action:?}") };
        assert_eq!(command.words, ["cargo", "test", "--frozen"]);
        assert!(command.runs_tests);
    }
}
