//! What users and scripts see: text for people or NDJSON for programs, on stdout; notes and the bar on stderr.

mod bar;
mod json;
mod table;
mod text;

pub(crate) use table::{Column, table, terminal_width};
pub(crate) use text::{bytes, duration, short};

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use serde_json::Value;

use crate::{
    error::{Exit, Failure},
    observe::views::{EventLine, Opening, Round, Summary},
    protocol::Started,
};

/// The reader of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// People.
    Text,
    /// Programs: one JSON object a line, each with its `schema`.
    Json,
}

/// Where a command shows things. Everything a script needs goes to stdout; the rest goes to stderr.
pub struct Output {
    format: Format,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    bar: Option<bar::Bar>,
    /// The first error of writing to stdout.
    broken: Option<io::Error>,
    opened: bool,
    concluded: bool,
}

impl Output {
    /// To this process's stdout and stderr; with a bar if stderr is a terminal.
    pub fn new(format: Format) -> Self {
        let with_bar = format == Format::Text && io::stderr().is_terminal();
        let bar = with_bar.then(bar::Bar::new);
        Self { bar, ..Self::to(format, Box::new(io::stdout()), Box::new(io::stderr())) }
    }

    /// To anything else, without a bar.
    pub fn to(format: Format, stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self { format, stdout, stderr, bar: None, broken: None, opened: false, concluded: false }
    }

    /// Why the command should end: the reader of stdout has closed it, or it cannot be written.
    pub fn end_of_output(&self) -> Option<String> {
        let error = self.broken.as_ref()?;
        Some(if is_closed(error) {
            "Nobody reads the output any more.".to_owned()
        } else {
            format!("The output cannot be written: {error}.")
        })
    }

    /// Whether a program reads what is shown.
    pub fn is_for_programs(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether the first screen was shown.
    pub fn has_opened(&self) -> bool {
        self.opened
    }

    /// Whether all that was shown was written. That a reader left early, as `head` does, is no error.
    ///
    /// # Errors
    /// [`Exit::DiskFull`]; [`Exit::Device`] for anything else that keeps stdout from being written.
    pub fn check(&self) -> Result<(), Failure> {
        self.broken.as_ref().map_or(Ok(()), end_of_reading)
    }

    /// The first screen.
    pub fn opening(&mut self, opening: &Opening) {
        self.opened = true;
        match self.format {
            Format::Text => self.data(&text::opening(opening)),
            Format::Json => self.data(&line(&json::opening(opening))),
        }
    }

    /// One line per round.
    pub fn round(&mut self, round: &Round) {
        match self.format {
            Format::Text => self.data(&text::round(round)),
            Format::Json => self.data(&line(&json::round(round))),
        }
    }

    /// One line per event.
    pub fn event(&mut self, event: &EventLine) {
        match self.format {
            Format::Text => self.note(&text::event(event)),
            Format::Json => self.data(&line(&json::event(event))),
        }
    }

    /// The result of a run; nothing follows it on stdout.
    pub fn summary(&mut self, summary: &Summary) {
        self.bar = None;
        self.concluded = true;
        match self.format {
            Format::Text => self.data(&text::summary(summary)),
            Format::Json => self.data(&line(&json::summary(summary))),
        }
    }

    /// The result of a command as text for people, or an object for programs; nothing follows it on stdout.
    pub fn result(&mut self, text: &str, object: &Value) {
        self.bar = None;
        self.concluded = true;
        self.page(text, object);
    }

    /// How a command failed: text on stderr, and for programs one last object on stdout unless the result is there.
    pub fn failure(&mut self, failure: Failure) {
        self.bar = None;
        if self.format == Format::Json && !self.concluded {
            self.data(&line(&failure.to_json()));
        }
        self.note(failure.render().trim_end());
    }

    /// Text for people, or an object for programs.
    pub fn page(&mut self, text: &str, object: &Value) {
        match self.format {
            Format::Text => self.data(text),
            Format::Json => self.data(&line(object)),
        }
    }

    /// A remark on stderr.
    pub fn note(&mut self, text: &str) {
        // Without a stderr there is nowhere to complain.
        let stderr = &mut self.stderr;
        suspended(self.bar.as_ref(), || drop(writeln!(stderr, "{text}")));
    }

    /// Moves the bar, if there is one.
    pub fn progress(&mut self, tokens: u64, peer: Option<&Started>) {
        if let (Some(bar), Some(peer)) = (&self.bar, peer) {
            bar.show(tokens, peer.run_tokens);
        }
    }

    /// A line on stdout.
    fn data(&mut self, text: &str) {
        let stdout = &mut self.stdout;
        let written = suspended(self.bar.as_ref(), || writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
        if let Err(error) = written {
            self.broken.get_or_insert(error);
        }
    }
}

/// The result of a command whose write to stdout failed: success if the reader closed it, as `head` does.
///
/// # Errors
/// [`Exit::DiskFull`]; [`Exit::Device`] for anything else.
pub(crate) fn end_of_reading(error: &io::Error) -> Result<(), Failure> {
    if is_closed(error) {
        return Ok(());
    }
    Err(Failure::io(Exit::Device, "write to", Path::new("the standard output"), error))
}

/// Whether writing failed because the reader closed the pipe.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// An object as one line, its schema first, where a reader looks for it.
fn line(object: &Value) -> String {
    let mut rest = object.clone();
    let schema = rest.as_object_mut().and_then(|keys| keys.remove("schema"));
    let rest = rest.to_string();
    match (schema, rest.strip_prefix('{')) {
        (Some(schema), Some("}")) => format!("{{\"schema\":{schema}}}"),
        (Some(schema), Some(keys)) => format!("{{\"schema\":{schema},{keys}"),
        (Some(_) | None, _) => object.to_string(),
    }
}

/// Writes while the bar is out of the way.
fn suspended<T>(bar: Option<&bar::Bar>, write: impl FnOnce() -> T) -> T {
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

#[cfg(test)]
mod tests;
