//! Texts from a file or folder: the same folder gives the same documents on every machine.
//!
//! Names beginning with a dot, symbolic links and files with a zero byte (binary files) are left out.

use std::fs::{self, Metadata};
use std::path::Path;

use super::documents::Document;
use super::error::DataError;

/// What to read.
pub(super) struct Walk {
    /// Only files that end so; all files without.
    pub(super) extension: Option<&'static str>,
    /// Reading stops with an error beyond this total.
    pub(super) bytes_max: u64,
}

/// The texts at `path`, sorted by their names, which are relative to it.
pub(super) fn read(path: &Path, walk: &Walk) -> Result<Vec<Document>, DataError> {
    let mut reader = Reader { root: path, walk, bytes: 0, documents: Vec::new() };
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
    if metadata.is_dir() {
        reader.folder(path, "")?;
    } else if metadata.is_file() {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        reader.file(path, name, &metadata)?;
    } else {
        return Err(DataError::NotText { path: path.to_owned() });
    }
    reader.documents.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reader.documents)
}

struct Reader<'a> {
    root: &'a Path,
    walk: &'a Walk,
    bytes: u64,
    documents: Vec<Document>,
}

impl Reader<'_> {
    fn folder(&mut self, path: &Path, prefix: &str) -> Result<(), DataError> {
        for entry in fs::read_dir(path).map_err(|error| unreadable(path, error))? {
            let entry = entry.map_err(|error| unreadable(path, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                self.entry(&entry.path(), format!("{prefix}{name}"))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: String) -> Result<(), DataError> {
        let metadata = fs::symlink_metadata(path).map_err(|error| unreadable(path, error))?;
        let wanted = self.walk.extension.is_none_or(|wanted| path.extension().is_some_and(|given| given == wanted));
        if metadata.is_dir() {
            self.folder(path, &format!("{name}/"))
        } else if metadata.is_file() && wanted {
            self.file(path, name, &metadata)
        } else {
            Ok(())
        }
    }

    /// The size is checked before anything is read.
    fn file(&mut self, path: &Path, name: String, metadata: &Metadata) -> Result<(), DataError> {
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.bytes > self.walk.bytes_max {
            return Err(DataError::TooLarge { path: self.root.to_owned(), bytes_max: self.walk.bytes_max });
        }
        let text = fs::read(path).map_err(|error| unreadable(path, error))?;
        if !text.contains(&0) {
            self.documents.push(Document { name, text });
        }
        Ok(())
    }
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
        read(folder, walk).unwrap().into_iter().map(|document| document.name).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for (name, text) in [("b/x.rs", "x"), ("a.txt", "a"), (".hidden", "h"), ("binary", "\0")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn names_are_sorted_and_hidden_and_binary_files_left_out() {
        assert_eq!(names(&ALL, folder().path()), ["a.txt", "b/x.rs"]);
    }

    #[test]
    fn an_extension_selects() {
        assert_eq!(names(&Walk { extension: Some("rs"), ..ALL }, folder().path()), ["b/x.rs"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = folder();
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        assert_eq!(names(&ALL, folder.path()), ["a.txt", "b/x.rs"]);
    }

    #[test]
    fn too_much_is_refused() {
        let error = read(folder().path(), &Walk { bytes_max: 2, ..ALL }).unwrap_err();
        assert!(matches!(error, DataError::TooLarge { bytes_max: 2, .. }));
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = read(Path::new("/nonexistent/text"), &ALL).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/text"));
    }
}
