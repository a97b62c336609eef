//! A state that is being fetched: `fetch.bin`, its root and then its chunks as they came, in the frames of a log. A peer
//! that is stopped in between goes on with what it has. The chunks are checked again when they are used.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use murmur_collectives::Hash;
use murmur_coordinatorless::Fetched;

use super::log;

/// The file.
const FETCH: &str = "fetch.bin";

/// Bytes of the root and of an index.
const ROOT_BYTES: usize = 32;
const INDEX_BYTES: usize = 4;

/// The file of a fetch under way.
#[derive(Debug, Default)]
pub(super) struct FetchFile {
    /// The state that the file on the disk is of.
    root: Option<Hash>,
    file: Option<File>,
}

impl FetchFile {
    /// The file that was read when the folder was opened, if there was one.
    pub(super) fn of(fetched: Option<&Fetched>) -> Self {
        Self { root: fetched.map(|fetched| fetched.root), file: None }
    }

    /// Appends a chunk; a file of another state is begun again.
    pub(super) fn keep(&mut self, dir: &Path, root: Hash, index: u32, bytes: &[u8]) -> io::Result<()> {
        let path = dir.join(FETCH);
        if self.root != Some(root) {
            let mut file = File::create(&path)?;
            file.write_all(&log::frame(&root.0))?;
            *self = Self { root: Some(root), file: Some(file) };
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(log::append_to(&path)?),
        };
        file.write_all(&log::frame(&[&index.to_le_bytes()[..], bytes].concat()))
    }

    /// The state is there, or is given up.
    pub(super) fn drop_file(&mut self, dir: &Path) {
        *self = Self::default();
        let _ = fs::remove_file(dir.join(FETCH));
    }
}

/// The chunks in a folder that are whole, if there are any. A file longer than `most` bytes is none of ours. A torn end is
/// cut off, so that what is appended later is read, too. Of the file no more than a chunk is held beside what is returned.
pub(super) fn read(dir: &Path, most: u64) -> Option<Fetched> {
    let path = dir.join(FETCH);
    let mut file = io::BufReader::new(File::open(&path).ok()?);
    let length = file.get_ref().metadata().ok()?.len();
    if length > most {
        return None;
    }
    let (root, mut whole) = log::read_frame(&mut file, length).ok()??;
    let root = Hash(<[u8; ROOT_BYTES]>::try_from(root?).ok()?);
    let mut chunks = BTreeMap::new();
    while let Some((frame, taken)) = log::read_frame(&mut file, length - whole).ok()? {
        whole += taken;
        chunks.extend(frame.and_then(chunk));
    }
    if whole < length {
        OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(whole)).ok()?;
    }
    Some(Fetched { root, chunks })
}

/// An index and a chunk.
fn chunk(mut frame: Vec<u8>) -> Option<(u32, Vec<u8>)> {
    let index = u32::from_le_bytes(*frame.first_chunk::<INDEX_BYTES>()?);
    frame.drain(..INDEX_BYTES);
    Some((index, frame))
}

/// The longest file believed for a model of so many parameters, in bytes.
pub(super) fn bytes_max(parameters: u64) -> u64 {
    parameters.saturating_mul(9).saturating_add(1 << 20)
}
