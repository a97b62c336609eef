//! The bytes a run trains and validates on.

use std::fmt;
use std::path::{Path, PathBuf};

use super::documents::Documents;
use super::error::DataError;
use super::folder::{self, Found, Walk};
use super::left_out::{LeftOut, Reason};
use super::registry;
use super::repetition::repeated;
use super::split::split;
use super::tokens::Tokens;
use crate::learn::model::Vocabulary;

/// More is not read into memory: 1 GiB.
const BYTES_MAX: u64 = 1 << 30;

/// Less cannot be split into two useful parts.
pub(super) const BYTES_MIN: u64 = 64 << 10;

/// Without a remark, one held-out byte in this many may be in the training part: programs share licences and idioms.
const REMARKABLE_SHARE: usize = 4;

/// What every architecture there is reads.
const VOCABULARY: Vocabulary = Vocabulary::Bytes;

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// Rust sources of the crates this binary was built from, in cargo's registry folder.
    Registry,
    /// A file or a folder of text.
    Path(PathBuf),
}

impl DataSource {
    /// What `path` names; the built-in text if it names nothing.
    pub fn of(path: Option<PathBuf>) -> Self {
        path.map_or(Self::Registry, Self::Path)
    }
}

/// Text in memory, split into a training and a validation part that share no file (or block of a large file), unless it
/// is hardly more than repetition; see [`Corpus::repeated`].
#[derive(Clone, PartialEq, Eq)]
pub struct Corpus {
    train: Vec<u8>,
    validation: Vec<u8>,
    root: [u8; 32],
    files: usize,
    left_out: LeftOut,
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
                Self::from_documents(&registry::read(&home)?, LeftOut::default(), &home)
            }
            DataSource::Path(path) => {
                let walk = Walk { extension: None, bytes_max: BYTES_MAX };
                let Found { documents, mut left_out } = folder::read(path, &walk)?;
                let documents = Documents::new(documents);
                documents.copies().iter().for_each(|copy| left_out.add(Reason::Copy, copy));
                Self::from_documents(&documents, left_out, path)
            }
        }
    }

    fn from_documents(documents: &Documents, left_out: LeftOut, path: &Path) -> Result<Self, DataError> {
        let (bytes, path) = (documents.bytes(), path.to_owned());
        match bytes {
            0 => return Err(DataError::NoText { path, left_out }),
            1..BYTES_MIN => return Err(DataError::TooSmall { path, bytes, bytes_min: BYTES_MIN, left_out }),
            BYTES_MIN.. => {}
        }
        let (train, validation) = split(documents);
        Ok(Self { train, validation, root: documents.root(), files: documents.len(), left_out })
    }

    /// Whether both parts hold a window of `context` bytes and the byte after it, as every batch needs.
    ///
    /// # Errors
    /// [`DataError::NoWindow`] names the part that is too short.
    pub fn check(&self, context: usize) -> Result<(), DataError> {
        let parts = [("training", self.train.len()), ("validation", self.validation.len())];
        match parts.into_iter().find(|(_, bytes)| *bytes <= context) {
            Some((part, bytes)) => Err(DataError::NoWindow { part, bytes, context, left_out: self.left_out.clone() }),
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

    /// The training text as the model reads it.
    pub fn train_tokens(&self) -> Tokens<'_> {
        Tokens::new(VOCABULARY, &self.train)
    }

    /// The validation text as the model reads it.
    pub fn validation_tokens(&self) -> Tokens<'_> {
        Tokens::new(VOCABULARY, &self.validation)
    }

    /// About how many bytes of the validation part the training part has, too, in pieces of a line or two. If they are
    /// many, the validation loss says little about new text. Takes seconds for a large text.
    pub fn repeated(&self) -> usize {
        repeated(&self.train, &self.validation)
    }

    /// Commits to every file's content after the rules, and to no name; equal roots mean equal corpora.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// What of the file or folder is no part of the text; nothing for the built-in text.
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Remarks for the user who chose this text, a sentence each: what was left out, and how much of it repeats.
    pub fn remarks(&self) -> Vec<String> {
        let left_out = self.left_out.is_news().then(|| format!("Left out of the text: {}.", self.left_out));
        let (repeated, all) = (self.repeated(), self.validation.len());
        let repeats = (repeated * REMARKABLE_SHARE > all).then(|| {
            format!(
                "The text repeats itself: about {repeated} of the {all} bytes held out are in the training part, too, so \
                the validation loss says little about new text."
            )
        });
        left_out.into_iter().chain(repeats).collect()
    }

    /// Bytes of both parts.
    pub fn bytes(&self) -> u64 {
        (self.train.len() + self.validation.len()) as u64
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
    use crate::learn::data::documents::Document;

    /// 96 KiB of made-up words, the same everywhere.
    pub(crate) fn words() -> Corpus {
        let word =
            |i: u32| ["let ", "mut ", "fn ", "self", "().", "\n"][(i.wrapping_mul(2_654_435_761) >> 29) as usize % 6];
        let text: String = (0..26_000).map(word).collect();
        let documents = Documents::new(vec![Document { name: "words".to_owned(), text: text.into_bytes() }]);
        Corpus::from_documents(&documents, LeftOut::default(), Path::new("words")).unwrap()
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
        assert!(corpus.remarks()[0].contains("repeats itself"));
    }

    #[test]
    fn a_text_appended_to_itself_is_known_for_what_it_is_though_no_block_is_twice() {
        let mut once = vec![0; 50_001];
        blake3::Hasher::new().finalize_xof().fill(&mut once);
        once.iter_mut().for_each(|byte| *byte |= 1);
        let load = |text: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            Corpus::load(&DataSource::Path(file.path().to_owned())).unwrap()
        };
        let twice = load(&[&once[..], &once[..]].concat());
        assert!(twice.remarks()[0].contains("repeats itself"), "{:?}", twice.remarks());
        once.extend_from_within(..20_000);
        once[50_001..].iter_mut().for_each(|byte| *byte ^= 2);
        assert_eq!(load(&once).remarks(), Vec::<String>::new());
    }

    #[test]
    fn too_little_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "short").unwrap();
        let error = Corpus::load(&DataSource::Path(file.path().to_owned())).unwrap_err();
        assert!(matches!(error, DataError::TooSmall { bytes: 5, .. }));
    }

    #[test]
    fn another_name_is_the_same_text() {
        let folder = tempfile::tempdir().unwrap();
        let load = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, words().train().split_last().unwrap().1).unwrap();
            Corpus::load(&DataSource::Path(path)).unwrap()
        };
        assert_eq!(load("a"), load("b"));
    }

    #[test]
    fn renamed_and_moved_files_are_the_same_text_in_the_same_order() {
        let text = words().train().split_last().unwrap().1.to_vec();
        let load = |names: [&str; 3]| {
            let folder = tempfile::tempdir().unwrap();
            for (part, name) in text.chunks(text.len().div_ceil(3)).zip(names) {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, part).unwrap();
            }
            Corpus::load(&DataSource::Path(folder.path().to_owned())).unwrap()
        };
        assert_eq!(load(["1", "2", "3"]), load(["z", "deep/er/y", "x"]));
    }

    #[test]
    fn a_folder_without_text_says_what_it_has_instead() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || Corpus::load(&DataSource::Path(folder.path().to_owned())).unwrap_err().to_string();
        assert!(refused().contains("holds no text; pass --data"), "{}", refused());
        std::fs::write(folder.path().join("photo"), "\0").unwrap();
        assert!(refused().contains("holds no text; left out: 1 binary file (first: photo"), "{}", refused());
        std::fs::write(folder.path().join("note"), "short").unwrap();
        assert!(refused().contains("5 bytes") && refused().contains("1 binary file"), "{}", refused());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_of_links_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).unwrap();
        let error = Corpus::load(&DataSource::Path(folder.path().to_owned())).unwrap_err().to_string();
        assert!(error.contains("holds no text; left out: 1 symbolic link (first: link)"), "{error}");
    }

    #[test]
    fn what_was_left_out_is_remarked_and_copies_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = words().train().split_last().unwrap().1.to_vec();
        let load = || Corpus::load(&DataSource::Path(folder.path().to_owned())).unwrap();
        std::fs::write(folder.path().join("a"), &text).unwrap();
        std::fs::write(folder.path().join(".git"), "x").unwrap();
        assert!(!load().left_out().is_news(), "hidden names are no news");
        std::fs::write(folder.path().join("b"), &text).unwrap();
        let remarks = load().remarks();
        assert!(remarks[0].contains("1 copy of another file (first: b, the same as a), 1 hidden name"), "{remarks:?}");
    }
}
