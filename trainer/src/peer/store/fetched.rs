//! A state that is being fetched: `fetch.bin`, its root and then its chunks as they came, in the frames of a log. A peer
//! that is stopped in between goes on with what it has. The chunks are checked again when they are used.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use murmur_collectives::Hash;
use murmur_coordinatorless::Fetched;

use super::{super::StateStorage, log};
use crate::error::Failure;

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

/// The chunks in a folder that are whole, if there are any, each at its place in the state. A torn end is cut off,
/// so that what is appended later is read, too. Of the file no more than a chunk is held beside the state.
pub(super) fn read(dir: &Path, storage: &StateStorage) -> Result<Option<Fetched>, Failure> {
    let Some((file, length, root)) = begin(&dir.join(FETCH), storage.parameters() as u64) else { return Ok(None) };
    let mut fetched = Fetched::new(root, storage.zeros()?);
    let whole = read_chunks(file, length, &mut fetched);
    let cut = |whole| OpenOptions::new().write(true).open(dir.join(FETCH)).and_then(|file| file.set_len(whole));
    let goes_on = whole.and_then(|whole| if whole < length { cut(whole) } else { Ok(()) });
    Ok(goes_on.is_ok().then_some(fetched))
}

/// The file behind its first frame, its length, and the root that the frame holds. One that is too long is none of ours.
fn begin(path: &Path, parameters: u64) -> Option<(io::BufReader<File>, u64, Hash)> {
    let mut file = io::BufReader::new(File::open(path).ok()?);
    let length = file.get_ref().metadata().ok()?.len();
    let (root, _) = log::read_frame(&mut file, length.min(bytes_max(parameters))).ok()??;
    let root = <[u8; ROOT_BYTES]>::try_from(root?).ok()?;
    (length <= bytes_max(parameters)).then_some((file, length, Hash(root)))
}

/// Puts all whole chunks into their places, and says where the last one ends.
fn read_chunks(mut file: io::BufReader<File>, length: u64, fetched: &mut Fetched) -> io::Result<u64> {
    let mut whole = (log::FRAME_BYTES + ROOT_BYTES) as u64;
    while let Some((frame, taken)) = log::read_frame(&mut file, length - whole)? {
        whole += taken;
        if let Some((index, bytes)) = frame.and_then(chunk) {
            fetched.place(index, &bytes);
        }
    }
    Ok(whole)
}

/// An index and a chunk.
fn chunk(mut frame: Vec<u8>) -> Option<(u32, Vec<u8>)> {
    let index = u32::from_le_bytes(*frame.first_chunk::<INDEX_BYTES>()?);
    frame.drain(..INDEX_BYTES);
    Some((index, frame))
}

/// The length of the longest file that is read for a model of `parameters` parameters, in bytes.
fn bytes_max(parameters: u64) -> u64 {
    parameters.saturating_mul(9).saturating_add(1 << 20)
}
