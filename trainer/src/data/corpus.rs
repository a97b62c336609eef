//! The bytes a run trains and validates on.

use std::fmt;
use std::path::{Path, PathBuf};

use super::documents::Documents;
use super::error::DataError;
use super::folder::{self, Walk};
use super::registry;
use super::split::split;

/// More is not read into memory: 1 GiB.
const BYTES_MAX: u64 = 1 << 30;

/// Less cannot be split into two useful parts.
const BYTES_MIN: u64 = 64 << 10;

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Rust sources of the crates this binary was built from, in cargo's registry folder.
    Registry,
    /// A file or a folder of text.
    Path(PathBuf),
}

/// Text in memory, split into a training and a validation part that share no file (or block of a large file).
#[derive(Clone, PartialEq, Eq)]
pub struct Corpus {
    train: Vec<u8>,
    validation: Vec<u8>,
    root: [u8; 32],
    files: usize,
}

impl Corpus {
    /// Reads and splits the data.
    ///
    /// # Errors
    /// Missing, unreadable, too large or too little data; the message says what to pass instead.
    pub fn load(source: &DataSource) -> Result<Self, DataError> {
        match source {
            DataSource::Registry => {
                let home = registry::cargo_home();
                Self::from_documents(&registry::read(&home)?, &home)
            }
            DataSource::Path(path) => {
                let walk = Walk { extension: None, bytes_max: BYTES_MAX };
                Self::from_documents(&Documents::new(folder::read(path, &walk)?), path)
            }
        }
    }

    fn from_documents(documents: &Documents, path: &Path) -> Result<Self, DataError> {
        let bytes = documents.bytes();
        if bytes < BYTES_MIN {
            return Err(DataError::TooSmall { path: path.to_owned(), bytes, bytes_min: BYTES_MIN });
        }
        let (train, validation) = split(documents);
        Ok(Self { train, validation, root: documents.root(), files: documents.len() })
    }

    /// The training bytes, files separated by a zero byte.
    pub fn train(&self) -> &[u8] {
        &self.train
    }

    /// The validation bytes, never trained on, files separated by a zero byte. At least 8 KiB.
    pub fn validation(&self) -> &[u8] {
        &self.validation
    }

    /// Commits to every file's name and content after the rules; equal roots mean equal corpora.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// How many files it was read from.
    pub fn files(&self) -> usize {
        self.files
    }
}

impl fmt::Debug for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Corpus({} files, {} + {} bytes)", self.files, self.train.len(), self.validation.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::data::documents::Document;

    /// 96 KiB of made-up words, the same everywhere.
    pub(crate) fn words() -> Corpus {
        let word =
            |i: u32| ["let ", "mut ", "fn ", "self", "().", "\n"][(i.wrapping_mul(2_654_435_761) >> 29) as usize % 6];
        let text: String = (0..26_000).map(word).collect();
        let documents = Documents::new(vec![Document { name: "words".to_owned(), text: text.into_bytes() }]);
        Corpus::from_documents(&documents, Path::new("words")).unwrap()
    }

    #[test]
    fn both_parts_hold_a_window_of_any_context() {
        let corpus = words();
        assert!(corpus.train().len() > corpus.validation().len() && corpus.validation().len() >= 8192);
    }

    #[test]
    fn too_little_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "short").unwrap();
        let error = Corpus::load(&DataSource::Path(file.path().to_owned())).unwrap_err();
        assert!(matches!(error, DataError::TooSmall { bytes: 5, .. }));
    }

    #[test]
    fn the_same_file_gives_the_same_corpus_and_another_name_another_root() {
        let folder = tempfile::tempdir().unwrap();
        let load = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, words().train().split_last().unwrap().1).unwrap();
            Corpus::load(&DataSource::Path(path)).unwrap()
        };
        assert_eq!(load("a"), load("a"));
        assert_ne!(load("a").root(), load("b").root());
    }
}
