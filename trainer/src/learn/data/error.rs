//! Why there is nothing to learn from, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::left_out::LeftOut;
use crate::error::{Exit, Failure, starved};

/// The data could not be loaded. Nothing was changed; the process should end with exit code 20.
#[derive(Debug, Error)]
pub enum DataError {
    /// Cargo has not unpacked any crate on this machine.
    #[error(
        "cargo's registry folder is not at {folder}: run `cargo fetch` in the source checkout, or pass --data PATH"
    )]
    NoRegistry {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A crate of the built-in data set is not unpacked.
    #[error("{name}-{version} is not under {folder}: run `cargo fetch` in the source checkout, or pass --data PATH")]
    MissingCrate {
        /// Crate name.
        name: &'static str,
        /// The version that the lock file pins.
        version: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The lock file built into this binary does not pin a crate of the built-in data set: a bug of this build.
    #[error("this binary's Cargo.lock does not pin {name}: pass --data PATH")]
    Unpinned {
        /// Crate name.
        name: &'static str,
    },
    /// A file or folder could not be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Neither a file nor a folder, for example a device.
    #[error("{path} is neither a file nor a folder: pass --data with a file or folder of text")]
    NotText {
        /// Which.
        path: PathBuf,
    },
    /// More than is read into memory.
    #[error("{path} holds more than {bytes_max} bytes: pass a smaller part of it with --data")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A named file in UTF-16.
    #[error(
        "{path} is text in UTF-16, and a model of bytes learns from UTF-8: convert it with `iconv -f UTF-16 -t UTF-8`"
    )]
    Utf16 {
        /// Which.
        path: PathBuf,
    },
    /// A named file that is not text.
    #[error("{path} is a binary file, with a zero byte at {offset}: pass --data with a file or folder of text")]
    Binary {
        /// Which.
        path: PathBuf,
        /// Where its first zero byte is.
        offset: usize,
    },
    /// No text at all.
    #[error("{path} holds no text{}; pass --data with a file or folder of text", left_out.clause())]
    NoText {
        /// Where it was looked for.
        path: PathBuf,
        /// What is there instead.
        left_out: LeftOut,
    },
    /// Too little to keep a validation part aside.
    #[error("{path} holds {bytes} bytes of text, at least {bytes_min} are needed{}", left_out.clause())]
    TooSmall {
        /// Which.
        path: PathBuf,
        /// What was found.
        bytes: u64,
        /// The limit.
        bytes_min: u64,
        /// What is no part of the text.
        left_out: LeftOut,
    },
    /// A part of the text is shorter than what one sequence needs.
    #[error(
        "the {part} part of the text holds {bytes} bytes, and a sequence needs model.context + 1 = {}: pass more text with \
        --data, or a smaller model.context{}",
        context.saturating_add(1),
        left_out.clause()
    )]
    NoWindow {
        /// Which part: training or validation.
        part: &'static str,
        /// What it holds.
        bytes: usize,
        /// Bytes a sequence has before its last target.
        context: usize,
        /// What is no part of the text.
        left_out: LeftOut,
    },
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        let starved = if let DataError::Unreadable { error, .. } = &error { starved(error) } else { None };
        Self::new(starved.unwrap_or(Exit::Data), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_by_data_is_exit_20_unless_memory_is_short() {
        assert_eq!(Failure::from(DataError::Unpinned { name: "x" }).exit(), Exit::Data);
        let starved = DataError::Unreadable { path: "/x".into(), error: io::ErrorKind::OutOfMemory.into() };
        assert_eq!(Failure::from(starved).exit(), Exit::Device);
    }
}
