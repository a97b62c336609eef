//! The built-in data: Rust sources that every build of this binary had to download.
//!
//! Cargo verified them against the checksums in `Cargo.lock`, which this binary carries, so all peers built from one
//! checkout have the same bytes. Only `src/**/*.rs` is read; a cap per file and per crate keeps any one author's style from
//! dominating, and files that look generated are left out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::documents::{Document, Documents};
use super::error::DataError;
use super::folder::{self, Walk};

/// The lock file this binary was built with.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// No file gives more.
const FILE_BYTES_MAX: usize = 64 << 10;

/// No crate gives more.
const CRATE_BYTES_MAX: usize = 512 << 10;

/// Crates that every build needs on every platform, none of them mostly bindings or tables.
const CRATES: [&str; 44] = [
    "aho-corasick",
    "axum",
    "axum-core",
    "blake3",
    "burn-autodiff",
    "burn-backend",
    "burn-core",
    "burn-flex",
    "burn-nn",
    "burn-std",
    "burn-tensor",
    "bytes",
    "clap_builder",
    "comfy-table",
    "crossbeam-utils",
    "ed25519-dalek",
    "futures-util",
    "http",
    "hyper",
    "hyper-util",
    "indicatif",
    "memchr",
    "miette",
    "mio",
    "prometheus",
    "quinn",
    "quinn-proto",
    "rayon",
    "rayon-core",
    "rcgen",
    "regex-automata",
    "rkyv",
    "rustls",
    "rustls-webpki",
    "schnorrkel",
    "serde",
    "serde_core",
    "serde_json",
    "tokio",
    "toml",
    "tower",
    "tracing",
    "tracing-subscriber",
    "winnow",
];

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// Reads the built-in data from `cargo_home`.
pub(super) fn read(cargo_home: &Path) -> Result<Documents, DataError> {
    let folder = cargo_home.join("registry").join("src");
    let indexes = indexes(&folder)?;
    let mut documents = Vec::new();
    for (name, version) in pinned()? {
        let home = indexes.iter().map(|index| index.join(format!("{name}-{version}"))).find(|home| home.is_dir());
        let missing = || DataError::MissingCrate { name, version: version.clone(), folder: folder.clone() };
        documents.extend(read_crate(name, &home.ok_or_else(missing)?)?);
    }
    Ok(Documents::new(documents))
}

/// Cargo's home folder: `$CARGO_HOME`, or `.cargo` in the user's home.
pub(super) fn cargo_home() -> PathBuf {
    let configured = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    configured
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_else(|| PathBuf::from(".cargo"))
}

/// The folders cargo unpacks crates into, one for each index it knows.
fn indexes(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let missing = |_| DataError::NoRegistry { folder: folder.to_owned() };
    let entries = fs::read_dir(folder).map_err(missing)?;
    let mut indexes: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    indexes.sort();
    Ok(indexes)
}

/// Name and version of each crate; the highest where the lock has several.
fn pinned() -> Result<Vec<(&'static str, String)>, DataError> {
    let lock: Lock = toml::from_str(LOCK).expect("cargo wrote the lock file, so it is TOML with packages");
    let highest = |name: &'static str| {
        let versions = lock.package.iter().filter(|package| package.name == name).map(|package| &package.version);
        let version = versions.max_by_key(|version| release(version)).ok_or(DataError::Unpinned { name })?;
        Ok((name, version.clone()))
    };
    CRATES.into_iter().map(highest).collect()
}

/// The numbers of `major.minor.patch`, enough to order versions of one crate.
fn release(version: &str) -> Vec<u64> {
    let end = version.find(['-', '+']).unwrap_or(version.len());
    version[..end].split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

fn read_crate(name: &str, home: &Path) -> Result<Vec<Document>, DataError> {
    let mut room = CRATE_BYTES_MAX;
    let mut documents = Vec::new();
    let walk = Walk { extension: Some("rs"), bytes_max: u64::MAX };
    for mut document in folder::read(&home.join("src"), &walk)?.documents {
        truncate_at_line(&mut document.text, FILE_BYTES_MAX.min(room));
        if document.text.is_empty() || looks_generated(&document.text) {
            continue;
        }
        room -= document.text.len();
        document.name = format!("{name}/{}", document.name);
        documents.push(document);
    }
    Ok(documents)
}

/// Keeps whole lines, at most `bytes_max` bytes.
fn truncate_at_line(text: &mut Vec<u8>, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = text[..bytes_max].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        text.truncate(end);
    }
}

/// Tables and bindings: a line beyond 500 bytes, or more than a tenth digits.
fn looks_generated(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits * 10 > text.len() || text.split(|&byte| byte == b'\n').any(|line| line.len() > 500)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_pins_every_crate_of_the_sorted_list() {
        assert_eq!(pinned().unwrap().len(), CRATES.len());
        assert!(CRATES.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(release("0.10.3") > release("0.9.5"));
        assert_eq!(release("1.2.1+spec-1.1.0"), [1, 2, 1]);
    }

    #[test]
    fn tables_look_generated_and_code_does_not() {
        assert!(looks_generated(b"const T: [u8; 4] = [0x12, 0x34, 0x56, 0x78, 0x90];"));
        assert!(looks_generated(&[b'x'; 501]));
        assert!(!looks_generated(b"fn main() {\n    println!(\"hello\");\n}\n"));
    }

    #[test]
    fn a_capped_text_ends_with_its_last_whole_line() {
        let mut text = b"one\ntwo\nthree\n".to_vec();
        truncate_at_line(&mut text, 10);
        assert_eq!(text, b"one\ntwo\n");
    }

    #[test]
    fn a_missing_registry_says_what_to_do() {
        let error = read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("cargo fetch") && error.contains("--data"), "{error}");
    }

    #[test]
    fn a_missing_crate_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("registry/src/index")).unwrap();
        let error = read(home.path()).unwrap_err().to_string();
        assert!(error.starts_with("aho-corasick-"), "{error}");
    }
}
