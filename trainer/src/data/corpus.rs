//! The bytes a run trains and validates on.

use std::fmt;
use std::path::{Path, PathBuf};

use super::documents::Documents;
use super::error::DataError;
use super::folder::{self, Walk};
use super::registry;
use super::split::{Parts, split};

/// More is not read into memory: 1 GiB.
const BYTES_MAX: u64 = 1 << 30;

/// Less cannot be split into two useful parts.
pub(super) const BYTES_MIN: u64 = 64 << 10;

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Rust sources of the crates this binary was built from, in cargo's registry folder.
    Registry,
    /// A file or a folder of text.
    Path(PathBuf),
}

/// Text in memory, split into a training and a validation part that share no file (or block of a large file), unless it
/// is hardly more than repetition; see [`Corpus::repeated`].
#[derive(Clone, PartialEq, Eq)]
pub struct Corpus {
    train: Vec<u8>,
    validation: Vec<u8>,
    repeated: usize,
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
        let Parts { train, validation, repeated } = split(documents);
        Ok(Self { train, validation, repeated, root: documents.root(), files: documents.len() })
    }

    /// Whether both parts hold a window of `context` bytes and the byte after it, as every batch needs.
    ///
    /// # Errors
    /// [`DataError::NoWindow`] names the part that is too short.
    pub fn check(&self, context: usize) -> Result<(), DataError> {
        let parts = [("training", self.train.len()), ("validation", self.validation.len())];
        match parts.into_iter().find(|(_, bytes)| *bytes <= context) {
            Some((part, bytes)) => Err(DataError::NoWindow { part, bytes, context }),
            None => Ok(()),
        }
    }

    /// The training bytes, files separated by a zero byte.
    pub fn train(&self) -> &[u8] {
        &self.train
    }

    /// The validation bytes, never trained on, files separated by a zero byte. At least 8 KiB.
    pub fn validation(&self) -> &[u8] {
        &self.validation
    }

    /// How many bytes of the validation part the training part has, too, in equal blocks. 0 for any text that is more than
    /// repetition; else the validation loss says little about new text.
    pub fn repeated(&self) -> usize {
        self.repeated
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
    fn a_part_without_a_window_is_named_with_its_bytes_and_the_context() {
        let corpus = words();
        let (train, validation) = (corpus.train().len(), corpus.validation().len());
        assert!(corpus.check(validation - 1).is_ok());
        let error = corpus.check(validation).unwrap_err().to_string();
        assert!(error.contains("validation") && error.contains(&validation.to_string()), "{error}");
        assert!(error.contains("model.context") && error.contains("--data"), "{error}");
        let error = corpus.check(train).unwrap_err().to_string();
        assert!(error.contains("training") && error.contains(&train.to_string()), "{error}");
    }

    #[test]
    fn a_file_of_one_line_again_and_again_can_be_trained_on_and_is_known_for_what_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "y\n".repeat(32 << 10)).unwrap();
        let corpus = Corpus::load(&DataSource::Path(file.path().to_owned())).unwrap();
        corpus.check(4096).unwrap();
        assert_eq!(corpus.repeated(), corpus.validation().len());
        assert_eq!(words().repeated(), 0);
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
