//! The exit codes: one enum, its numbers, its names, and what `murmur explain` says about each.

mod text;

use std::{fmt::Write as _, process::ExitCode};

pub use text::Explanation;

use super::Failure;

/// How a command ended. The numbers are a promise: scripts may branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked.
    Ok = 0,
    /// A mistake in murmur itself.
    Bug = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A setting is unknown or impossible.
    Config = 10,
    /// The data is missing, unreadable or not the run's.
    Data = 20,
    /// A checkpoint is missing, damaged or of another run.
    Checkpoint = 21,
    /// The device cannot do the work.
    Device = 30,
    /// No space is left.
    DiskFull = 32,
    /// No peer of the run could be reached.
    NoPeers = 40,
    /// The other side speaks another version.
    Version = 42,
    /// Audits failed; this peer's work was removed.
    Evicted = 45,
    /// Another process uses this identity.
    IdentityInUse = 46,
    /// The loss is not finite or only grows.
    Diverged = 50,
    /// A figure that was asked for was not reached.
    TargetMissed = 51,
    /// A thread, task or process of murmur ended that may not.
    Crashed = 70,
    /// Nothing is wrong for good: start it again.
    TryAgain = 75,
}

impl Exit {
    /// Every code, ascending.
    pub const ALL: [Self; 16] = [
        Self::Ok,
        Self::Bug,
        Self::Usage,
        Self::Config,
        Self::Data,
        Self::Checkpoint,
        Self::Device,
        Self::DiskFull,
        Self::NoPeers,
        Self::Version,
        Self::Evicted,
        Self::IdentityInUse,
        Self::Diverged,
        Self::TargetMissed,
        Self::Crashed,
        Self::TryAgain,
    ];

    /// The number the process ends with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word for it in JSON and on the command line.
    pub fn name(self) -> &'static str {
        self.explanation().name
    }

    /// The exit with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// The exit that `word` names, by number or by name.
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.trim().to_lowercase().replace('_', "-");
        let by_name = || Self::ALL.into_iter().find(|exit| exit.name() == word);
        word.parse().ok().and_then(Self::from_code).or_else(by_name)
    }

    /// What there is to say about it.
    pub fn explanation(self) -> Explanation {
        text::of(self)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The page for one code: meaning, causes, fix.
///
/// # Errors
/// [`Exit::Usage`] when `word` is neither a number nor a name of a code; the message lists them.
pub fn page(word: &str) -> Result<String, Failure> {
    let exit = Exit::from_word(word).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{word}` is not an exit code of murmur"))
            .hint(format!("The codes are {}.", listed()))
    })?;
    let Explanation { name, meaning, causes, fix } = exit.explanation();
    let mut page = format!("{} · {name}\n\n{meaning}\n\nUsual causes\n", exit.code());
    for cause in causes {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "  - {cause}");
    }
    let _ = write!(page, "\nWhat to do\n  {fix}");
    Ok(page)
}

/// One line per code, for `murmur explain` without a code.
pub fn index() -> String {
    let line = |exit: Exit| format!("{:>3}  {:<16} {}", exit.code(), exit.name(), exit.explanation().meaning);
    Exit::ALL.map(line).join("\n")
}

/// `0 ok, 1 bug, …`.
fn listed() -> String {
    Exit::ALL.map(|exit| format!("{} {}", exit.code(), exit.name())).join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_promised_ones() {
        let codes = Exit::ALL.map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 10, 20, 21, 30, 32, 40, 42, 45, 46, 50, 51, 70, 75]);
    }

    #[test]
    fn every_code_has_a_full_page_by_number_and_by_name() {
        for exit in Exit::ALL {
            let page_by_number = page(&exit.code().to_string()).unwrap();
            assert_eq!(page_by_number, page(exit.name()).unwrap());
            let Explanation { meaning, causes, fix, .. } = exit.explanation();
            assert!(!meaning.is_empty() && !causes.is_empty() && !fix.is_empty());
            assert!(page_by_number.contains(meaning) && page_by_number.contains(fix));
            assert!(index().contains(meaning));
        }
    }

    #[test]
    fn names_are_distinct() {
        let mut names = Exit::ALL.map(Exit::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Exit::ALL.len());
    }

    #[test]
    fn a_wrong_code_is_a_usage_error_that_lists_the_right_ones() {
        let failure = page("99").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_fault().hint.contains("75 try-again"));
        assert!(page("256").is_err());
        assert_eq!(Exit::from_word("IDENTITY_IN_USE"), Some(Exit::IdentityInUse));
    }
}
