//! Reads the files of the workspace that the rules of [`crate::tidy`] speak about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of a workspace, by path from its root with `/` between the parts.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Every `.rs` file in the workspace's own folders → its text.
    pub sources: BTreeMap<String, String>,
    /// The text of `GLOSSARY.md`, empty without one.
    pub glossary: String,
    /// Every `clippy.toml` → its text.
    pub lint_settings: BTreeMap<String, String>,
    /// Top-level folders that belong to the project, those whose name starts with a dot left out.
    pub folders: BTreeSet<String>,
    /// Top-level files.
    pub files: BTreeSet<String>,
}

/// A folder or file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct TreeError {
    /// What was to be read.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// The nearest folder at `start` or above it whose `Cargo.toml` has a `[workspace]`.
#[must_use]
pub fn workspace_root(start: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| {
        std::fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|text| text.lines().any(|line| line.trim() == "[workspace]"))
    };
    start.ancestors().find(is_root).map(Path::to_owned)
}

impl Tree {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// [`TreeError`] naming the first path that could not be read.
    pub fn read(root: &Path) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        for (name, path) in entries(root)? {
            if path.is_dir() {
                tree.folders.insert(name);
            } else {
                tree.note(name.clone(), &path)?;
                tree.files.insert(name);
            }
        }
        tree.folders.retain(|name| !name.starts_with('.') && name != "target");
        if let Some(tracked) = tracked_folders(root) {
            // What a user keeps in the checkout beside the project is none of our business.
            tree.folders.retain(|name| tracked.contains(name));
        }
        for folder in tree.folders.clone() {
            tree.descend(&root.join(&folder), &folder)?;
        }
        Ok(tree)
    }

    fn descend(&mut self, folder: &Path, prefix: &str) -> Result<(), TreeError> {
        for (name, path) in entries(folder)? {
            let inner = format!("{prefix}/{name}");
            if !path.is_dir() {
                self.note(inner, &path)?;
            } else if name != "target" && !name.starts_with('.') {
                self.descend(&path, &inner)?;
            }
        }
        Ok(())
    }

    /// Keeps the text of the file if some rule is about it.
    fn note(&mut self, name: String, path: &Path) -> Result<(), TreeError> {
        let read = || std::fs::read_to_string(path).map_err(|source| TreeError { path: path.to_owned(), source });
        if path.extension().is_some_and(|extension| extension == "rs") {
            self.sources.insert(name, read()?);
        } else if path.file_name().is_some_and(|file| file == "clippy.toml") {
            self.lint_settings.insert(name, read()?);
        } else if name == "GLOSSARY.md" {
            self.glossary = read()?;
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>, TreeError> {
    let failed = |source| TreeError { path: folder.to_owned(), source };
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        all.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
    }
    Ok(all)
}

/// Top-level folders with a tracked file, or nothing where `root` is no git checkout or git is not installed.
fn tracked_folders(root: &Path) -> Option<BTreeSet<String>> {
    if !root.join(".git").exists() {
        return None;
    }
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let folders = text.split('\0').filter_map(|path| path.split_once('/')).map(|(top, _)| top.to_owned());
    listed.status.success().then(|| folders.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A folder that goes away with the test, whatever its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("murmur-ci-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn sources_are_read_at_any_depth_but_not_in_build_or_dot_folders() {
        let scratch = Scratch::new(
            "sources",
            &[
                ("a/src/deep/x.rs", "x"),
                ("a/target/y.rs", "y"),
                (".hidden/z.rs", "z"),
                ("target/t.rs", "t"),
                ("a/n.md", "n"),
            ],
        );
        let tree = Tree::read(&scratch.0).unwrap();
        assert_eq!(tree.sources, BTreeMap::from([("a/src/deep/x.rs".to_owned(), "x".to_owned())]));
        assert_eq!(tree.folders, BTreeSet::from(["a".to_owned()]));
    }

    #[test]
    fn the_root_is_found_from_below_and_a_plain_package_is_not_taken_for_it() {
        let scratch = Scratch::new("root", &[("Cargo.toml", "[workspace]\n"), ("a/Cargo.toml", "[package]\n")]);
        assert_eq!(workspace_root(&scratch.0.join("a")), Some(scratch.0.clone()));
    }
}
