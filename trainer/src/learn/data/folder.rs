//! Texts from a file or folder: the same folder gives the same documents on every machine.
//!
//! Names beginning with a dot, symbolic links, pipes and the like, binary files and UTF-16 are left out, and counted.

use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata};
use std::path::Path;

use super::content::{self, Content};
use super::documents::Document;
use super::error::DataError;
use super::left_out::{LeftOut, Reason};

/// What to read.
pub(super) struct Walk {
    /// Only files that end so; all files without.
    pub(super) extension: Option<&'static str>,
    /// Reading stops with an error beyond this total of text.
    pub(super) bytes_max: u64,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The texts, sorted by their names, which are relative to the folder.
    pub(super) documents: Vec<Document>,
    /// What is no text; other extensions are not counted.
    pub(super) left_out: LeftOut,
}

/// The texts at `path`. A file that is named itself must be text.
pub(super) fn read(path: &Path, walk: &Walk) -> Result<Found, DataError> {
    let mut reader = Reader { root: path, walk, bytes: 0, found: Found::default() };
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if metadata.is_dir() {
        reader.folder(path, "")?;
    } else if metadata.is_file() {
        reader.named(path, &metadata)?;
    } else {
        return Err(DataError::NotText { path: path.to_owned() });
    }
    reader.found.documents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reader.found)
}

struct Reader<'a> {
    root: &'a Path,
    walk: &'a Walk,
    bytes: u64,
    found: Found,
}

impl Reader<'_> {
    /// In the order of names, so that the first example of what is left out is the same everywhere.
    fn folder(&mut self, path: &Path, prefix: &str) -> Result<(), DataError> {
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, error))?;
        let names: Result<Vec<OsString>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let mut names = names.map_err(|error| unreadable(path, error))?;
        names.sort();
        for name in names {
            let (path, shown) = (path.join(&name), format!("{prefix}{}", name.to_string_lossy()));
            if name.as_encoded_bytes().starts_with(b".") {
                self.found.left_out.add(Reason::Hidden, shown);
            } else {
                self.entry(&path, shown)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: String) -> Result<(), DataError> {
        let metadata = fs::symlink_metadata(path).map_err(|error| unreadable(path, error))?;
        let wanted = self.walk.extension.is_none_or(|wanted| path.extension().is_some_and(|given| given == wanted));
        if metadata.is_dir() {
            return self.folder(path, &format!("{name}/"));
        }
        if wanted && metadata.is_file() {
            return self.file(path, name, &metadata);
        }
        if wanted {
            self.found.left_out.add(no_file(metadata.file_type()), name);
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: String, metadata: &Metadata) -> Result<(), DataError> {
        let content = content(path, metadata, self.walk.bytes_max - self.bytes)?;
        self.add(name, content)
    }

    /// The file that the whole text is in.
    fn named(&mut self, path: &Path, metadata: &Metadata) -> Result<(), DataError> {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let path = path.to_owned();
        match content(&path, metadata, self.walk.bytes_max)? {
            Content::Utf16 => Err(DataError::Utf16 { path }),
            Content::Binary(offset) => Err(DataError::Binary { path, offset }),
            content @ (Content::Text(_) | Content::Empty | Content::TooLarge) => self.add(name, content),
        }
    }

    fn add(&mut self, name: String, content: Content) -> Result<(), DataError> {
        let left_out = &mut self.found.left_out;
        match content {
            Content::Text(text) => {
                self.bytes += text.len() as u64;
                self.found.documents.push(Document { name, text });
            }
            Content::Empty => left_out.add(Reason::Empty, name),
            Content::Utf16 => left_out.add(Reason::Utf16, name),
            Content::Binary(offset) => left_out.add(Reason::Binary, format!("{name}, a zero byte at {offset}")),
            Content::TooLarge => {
                return Err(DataError::TooLarge { path: self.root.to_owned(), bytes_max: self.walk.bytes_max });
            }
        }
        Ok(())
    }
}

fn content(path: &Path, metadata: &Metadata, room: u64) -> Result<Content, DataError> {
    let read = File::open(path).and_then(|file| content::read(file, metadata.len(), room));
    read.map_err(|error| unreadable(path, error))
}

fn no_file(kind: FileType) -> Reason {
    if kind.is_symlink() { Reason::Link } else { Reason::Special }
}

fn unreadable(path: &Path, error: std::io::Error) -> DataError {
    DataError::Unreadable { path: path.to_owned(), error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ALL: Walk = Walk { extension: None, bytes_max: 1000 };

    fn names(walk: &Walk, folder: &Path) -> Vec<String> {
        read(folder, walk).unwrap().documents.into_iter().map(|document| document.name).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        let files =
            [("b/x.rs", "x"), ("a.txt", "a"), (".hidden", "h"), ("binary", "ab\0"), ("b/binary", "\0"), ("e", "")];
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("wide.txt"), [0xFF, 0xFE, b'h', 0, b'i', 0]).unwrap();
        folder
    }

    #[test]
    fn names_are_sorted_and_what_is_no_text_is_counted_with_its_first_example() {
        let found = read(folder().path(), &ALL).unwrap();
        assert_eq!(
            found.documents.iter().map(|document| document.name.as_str()).collect::<Vec<_>>(),
            ["a.txt", "b/x.rs"]
        );
        let said = found.left_out.to_string();
        for part in [
            "2 binary files (first: b/binary, a zero byte at 0",
            "1 file in UTF-16 (first: wide.txt",
            ".hidden",
            "1 empty",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn an_extension_selects_and_other_files_are_not_counted() {
        let found = read(folder().path(), &Walk { extension: Some("rs"), ..ALL }).unwrap();
        assert_eq!(found.documents.len(), 1);
        assert!(!found.left_out.is_news());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_sockets_are_not_followed_but_counted() {
        let folder = folder();
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let left_out = read(folder.path(), &ALL).unwrap().left_out;
        assert_eq!((left_out.count(Reason::Link), left_out.count(Reason::Special)), (1, 1));
        assert_eq!(names(&ALL, folder.path()), ["a.txt", "b/x.rs"]);
    }

    #[test]
    fn a_named_file_that_is_no_text_is_an_error_that_says_why() {
        let folder = folder();
        let refused = |name: &str| read(&folder.path().join(name), &ALL).unwrap_err().to_string();
        assert!(refused("wide.txt").contains("iconv -f UTF-16 -t UTF-8"), "{}", refused("wide.txt"));
        assert!(refused("binary").contains("zero byte at 2"), "{}", refused("binary"));
    }

    #[test]
    fn too_much_is_refused_and_only_text_counts() {
        let folder = folder();
        let error = read(folder.path(), &Walk { bytes_max: 1, ..ALL }).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { bytes_max: 1, .. }));
        assert_eq!(names(&Walk { bytes_max: 2, ..ALL }, folder.path()).len(), 2);
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = read(Path::new("/nonexistent/text"), &ALL).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/text"));
    }
}
