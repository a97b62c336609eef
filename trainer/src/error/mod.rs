//! What a user sees when something fails: what happened, where, why, how to fix it, and the exit code that says so.
//!
//! Each module with an error type of its own implements `From` to a [`Failure`] beside it.

pub mod exit;
mod nearest;
pub mod shell;

use std::{error::Error, fmt, io, path::Path};

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};
use serde_json::json;

pub use exit::Exit;
pub use nearest::nearest;

use crate::protocol::Fault;

/// A command that could not do what it was asked.
///
/// Build it with [`Failure::new`], then add what is known: [`at`](Self::at), [`because`](Self::because),
/// [`hint`](Self::hint). Every part is a plain sentence without a full stop, except the hint, which may be several.
#[derive(Debug, Clone)]
pub struct Failure {
    exit: Exit,
    message: String,
    reasons: Option<Box<Reason>>,
    hint: Option<String>,
    excerpt: Option<Box<Excerpt>>,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), reasons: None, hint: None, excerpt: None }
    }

    /// An operating-system error while `doing` something to `path`. A full disk and too little memory keep their own exit codes.
    pub fn io(exit: Exit, doing: &str, path: &Path, error: &io::Error) -> Self {
        let full = is_full(error);
        let exit = if full { Exit::DiskFull } else { starved(error).unwrap_or(exit) };
        let failure = Self::new(exit, format!("could not {doing} {}", path.display())).because(error);
        if full {
            failure.hint("Free some space elsewhere on that disk, or use a folder on another one.")
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            failure.hint("Check who owns it, or choose another place.")
        } else {
            failure
        }
    }

    /// A fault that a peer process reported about itself.
    pub fn from_peer(petname: &str, fault: &Fault) -> Self {
        let exit = Exit::from_code(fault.code).unwrap_or(Exit::Bug);
        Self::new(exit, fault.message.clone()).at(format!("peer {petname}")).hint(fault.hint.clone())
    }

    /// Says where: a file and line, a flag, a variable, a peer.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        self.because(format!("in {place}"))
    }

    /// Adds the next deeper reason.
    #[must_use]
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        let mut slot = &mut self.reasons;
        while let Some(reason) = slot {
            slot = &mut reason.next;
        }
        *slot = Some(Box::new(Reason { text: reason.to_string(), next: None }));
        self
    }

    /// Says what to do about it. An empty hint is no hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|text| !text.is_empty());
        self
    }

    /// Shows the lines of a text file around bytes `start..end`, with a label under them.
    #[must_use]
    pub fn excerpt(mut self, name: &str, text: &str, bytes: core::ops::Range<usize>, label: &str) -> Self {
        let source = NamedSource::new(name, text.to_owned());
        self.excerpt = Some(Box::new(Excerpt { source, label: LabeledSpan::new_with_span(Some(label.into()), bytes) }));
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Message and reasons in one line.
    pub fn sentence(&self) -> String {
        let mut line = self.message.clone();
        let mut reason = self.reasons.as_deref();
        while let Some(Reason { text, next }) = reason {
            line = format!("{line}: {text}");
            reason = next.as_deref();
        }
        line
    }

    /// The failure as a peer reports it to its launcher.
    pub fn to_fault(&self) -> Fault {
        Fault {
            code: self.exit.code(),
            name: self.exit.name().to_owned(),
            message: self.sentence(),
            hint: self.hint.clone().unwrap_or_else(|| self.exit.explanation().fix.to_owned()),
        }
    }

    /// The last object of a command that failed, `murmur.error/1`: `code`, `name`, `message`, `hint`.
    pub fn to_json(&self) -> serde_json::Value {
        let Fault { code, name, message, hint } = self.to_fault();
        json!({ "schema": "murmur.error/1", "code": code, "name": name, "message": message, "hint": hint })
    }

    /// The failure as text for people, several lines. Colours follow the terminal and `NO_COLOR`.
    pub fn render(self) -> String {
        format!("{:?}", miette::Report::new(self))
    }
}

/// A system that has no memory for something keeps its own exit code, too.
pub(crate) fn starved(error: &io::Error) -> Option<Exit> {
    (error.kind() == io::ErrorKind::OutOfMemory).then_some(Exit::Device)
}

/// A full disk keeps its own exit code, whatever was being done.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reasons.as_deref().map(|reason| reason as _)
    }
}

impl Diagnostic for Failure {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(format!("exit {} · {}", self.exit.code(), self.exit.name())))
    }

    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        let more = format!("`murmur explain {}` says more.", self.exit.code());
        Some(Box::new(match &self.hint {
            Some(hint) => format!("{hint}\n{more}"),
            None => more,
        }))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt.as_deref().map(|excerpt| &excerpt.source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.excerpt.as_deref().map(|excerpt| Box::new(core::iter::once(excerpt.label.clone())) as _)
    }
}

/// One link of the chain of reasons.
#[derive(Debug, Clone)]
struct Reason {
    text: String,
    next: Option<Box<Reason>>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|reason| reason as _)
    }
}

/// A piece of a file the user wrote, with a mark on it.
#[derive(Debug, Clone)]
struct Excerpt {
    source: NamedSource<String>,
    label: LabeledSpan,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::new(Exit::Config, "unknown key `train.lrr`").at("run.toml, line 3").hint("Did you mean `train.lr`?")
    }

    #[test]
    fn the_text_says_what_where_how_and_which_code() {
        let text = failure().render();
        for part in ["unknown key `train.lrr`", "in run.toml, line 3", "Did you mean `train.lr`?", "exit 10"] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }

    #[test]
    fn the_json_object_has_the_documented_keys() {
        let value = failure().to_json();
        assert_eq!(value["schema"], "murmur.error/1");
        assert_eq!(value["code"], 10);
        assert_eq!(value["name"], "config");
        assert_eq!(value["message"], "unknown key `train.lrr`: in run.toml, line 3");
        assert_eq!(value["hint"], "Did you mean `train.lr`?");
    }

    #[test]
    fn a_full_disk_is_exit_32_whatever_was_being_written() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let failure = Failure::io(Exit::Checkpoint, "write", Path::new("/x/model.safetensors"), &full);
        assert_eq!(failure.exit(), Exit::DiskFull);
        let starved = io::Error::from(io::ErrorKind::OutOfMemory);
        assert_eq!(Failure::io(Exit::Checkpoint, "write", Path::new("/x"), &starved).exit(), Exit::Device);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Failure::io(Exit::Data, "read", Path::new("/x"), &missing).exit(), Exit::Data);
    }

    #[test]
    fn a_fault_keeps_its_code_on_the_way_through_the_launcher() {
        let fault = Failure::new(Exit::Evicted, "two audits failed").to_fault();
        let back = Failure::from_peer("calm-heron", &fault);
        assert_eq!(back.exit(), Exit::Evicted);
        assert!(back.sentence().contains("peer calm-heron"));
        assert!(!fault.hint.is_empty());
    }

    #[test]
    fn an_excerpt_shows_the_line_that_is_wrong() {
        let text = "[train]\nlrr = 3\n";
        let shown = failure().excerpt("run.toml", text, 8..11, "here").render();
        assert!(shown.contains("lrr = 3") && shown.contains("here"), "{shown}");
    }
}
