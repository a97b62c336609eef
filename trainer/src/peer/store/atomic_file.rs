//! Files that are replaced whole or not at all: a hash, then the content that it is of. Of any length, unlike a record of the
//! log.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::Reporter;
use crate::error::Exit;
use crate::error::Failure;
use crate::protocol::EventKind;

const HASH_CONTEXT: &str = "murmuration whole file v1";

/// Bytes of the hash before the rest.
const HASH_BYTES: usize = 32;

fn hash_of(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key(HASH_CONTEXT);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Replaces the file at `path` by `parts` in a row. When this returns, it is on disk, under its name; a crash before
/// that leaves the file as it was.
pub(super) fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&hash_of(parts))?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_folder_of(path)
}

/// Makes names that were given or taken in the folder of `path` last.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// What the file at `path` holds; `None` without one. One that is damaged, or longer than `most` bytes, is set aside and
/// reported.
pub(super) fn read(path: &Path, most: u64, reporter: &Reporter) -> Result<Option<Vec<u8>>, Failure> {
    let whole = match read_at_most(path, most.saturating_add(HASH_BYTES as u64)) {
        Ok(whole) => whole,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io(Exit::Checkpoint, "read", path, &error)),
    };
    match whole.and_then(unsealed) {
        Some(body) => Ok(Some(body)),
        None => set_aside(path, reporter).map(|()| None),
    }
}

/// A file of these that is read piece by piece. What was read is only worth something once [`Reading::is_whole`].
pub(super) struct Reading {
    file: io::BufReader<File>,
    left: u64,
    hash: [u8; HASH_BYTES],
    hasher: blake3::Hasher,
}

impl Reading {
    /// `None` if it is too short to be one.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let Some(left) = file.metadata()?.len().checked_sub(HASH_BYTES as u64) else { return Ok(None) };
        let mut file = io::BufReader::new(file);
        let mut hash = [0; HASH_BYTES];
        file.read_exact(&mut hash)?;
        Ok(Some(Self { file, left, hash, hasher: blake3::Hasher::new_derive_key(HASH_CONTEXT) }))
    }

    /// Bytes that were not read yet.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Whether all was read, and was what had been written.
    pub(super) fn is_whole(&self) -> bool {
        self.left == 0 && *self.hasher.finalize().as_bytes() == self.hash
    }
}

impl Read for Reading {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.file.read(&mut into[..most])?;
        self.hasher.update(&into[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}

/// `None` if it is longer.
pub(super) fn read_at_most(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

/// The bytes behind the hash, if it is theirs.
pub(super) fn unsealed(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (hash, body) = bytes.split_at_checked(HASH_BYTES)?;
    if hash_of(&[body]) != hash {
        return None;
    }
    bytes.drain(..HASH_BYTES);
    Some(bytes)
}

/// Gives the file another name and says so.
pub(super) fn set_aside(path: &Path, reporter: &Reporter) -> Result<(), Failure> {
    let to = aside(path);
    fs::rename(path, &to).map_err(|error| Failure::io(Exit::Checkpoint, "set aside", path, &error))?;
    let detail = format!("{} failed its hash, kept as {}", path.display(), to.display());
    reporter.event(EventKind::SetAside, None, detail);
    Ok(())
}

/// The first free name for a file to set aside.
pub(super) fn aside(path: &Path) -> PathBuf {
    let name = |n: u32| path.with_extension(format!("damaged-{n}"));
    (0..).map(name).find(|candidate| !candidate.exists()).expect("numbers do not run out")
}
