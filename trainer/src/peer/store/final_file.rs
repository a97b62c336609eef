//! What a final frontier leaves on the disk beside the log: `final.bin`, which also names the log that goes with it. Its
//! state is read into the [`StateStorage`] that it will stay in, and written from there: it may be larger than memory.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use murmur_collectives::State;

use super::{super::StateStorage, atomic_file};
use crate::error::{Exit, Failure};

/// The file.
pub(super) const FINAL: &str = "final.bin";

/// Names what the bytes are.
const MAGIC: [u8; 8] = *b"murmurF1";

/// Bytes before proof and state: magic, generation, epoch, lengths.
const HEAD_BYTES: usize = 8 + 8 + 4 + 8 + 8;

/// The longest proof believed, in bytes: 4096 certificates, rows and foundation of a few thousand authors.
const PROOF_BYTES_MAX: u64 = 1 << 30;

/// Integers read at once.
const PIECE: usize = 4096;

/// A final frontier as it is stored.
#[derive(Debug)]
pub(super) struct FinalFile {
    /// Which log goes with it. Grows with each, unlike the epoch: a peer may come to another frontier of the same epoch.
    pub(super) generation: u64,
    pub(super) proof: Vec<u8>,
    pub(super) state: State,
}

/// The bytes before proof and state.
pub(super) fn head(generation: u64, epoch: u32, proof: &[u8], state: &[i64]) -> Vec<u8> {
    let lengths = [proof.len() as u64, state.len() as u64].map(u64::to_le_bytes).concat();
    [&MAGIC[..], &generation.to_le_bytes(), &epoch.to_le_bytes(), &lengths].concat()
}

/// Generation, and the lengths of proof and state, from the bytes before them.
fn parse_head(head: &[u8; HEAD_BYTES]) -> Option<(u64, u64, u64)> {
    let rest = head.strip_prefix(&MAGIC[..])?;
    let number = |at: usize| Some(u64::from_le_bytes(*rest.get(at..)?.first_chunk::<8>()?));
    Some((number(0)?, number(12)?, number(20)?))
}

/// The name of a log. Before the first final frontier it has no number.
pub(super) fn log_name(generation: u64) -> String {
    if generation == 0 { "log.bin".to_owned() } else { format!("log-{generation}.bin") }
}

/// Names of all logs in a folder: the one in use, and those that a crash left behind.
pub(super) fn logs(dir: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(dir) else { return Vec::new() };
    let is_log = |name: &String| name == "log.bin" || (name.starts_with("log-") && name.ends_with(".bin"));
    let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(is_log).collect();
    names.sort();
    names
}

/// Reads the file of a folder, if there is one, the state into storage of its own. One that is damaged, or of a model of
/// another size, is set aside.
pub(super) fn read(
    dir: &Path,
    storage: &StateStorage,
    reporter: &super::Reporter,
) -> Result<Option<FinalFile>, Failure> {
    let path = dir.join(FINAL);
    let unreadable = |error: io::Error| Failure::io(Exit::Checkpoint, "read", &path, &error);
    let file = match atomic_file::Reading::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let final_file = match file {
        Some(mut file) => parse(&mut file, storage, &unreadable)?.filter(|_| file.is_whole()),
        None => None,
    };
    if final_file.is_none() {
        atomic_file::set_aside(&path, reporter)?;
    }
    Ok(final_file)
}

/// What a file holds, if its lengths fit; not to be believed before the file has proved whole.
fn parse(
    file: &mut atomic_file::Reading,
    storage: &StateStorage,
    unreadable: &impl Fn(io::Error) -> Failure,
) -> Result<Option<FinalFile>, Failure> {
    let proof = parse_proof(file, storage.parameters() as u64).map_err(unreadable)?;
    let Some((generation, proof)) = proof else { return Ok(None) };
    let mut state = storage.zeros()?;
    read_state(file, &mut state).map_err(unreadable)?;
    Ok(Some(FinalFile { generation, proof, state }))
}

fn read_state(file: &mut atomic_file::Reading, state: &mut [i64]) -> io::Result<()> {
    let mut bytes = [0; 8 * PIECE];
    for integers in state.chunks_mut(PIECE) {
        let bytes = &mut bytes[..8 * integers.len()];
        file.read_exact(bytes)?;
        integers
            .iter_mut()
            .zip(bytes.as_chunks::<8>().0)
            .for_each(|(value, bytes)| *value = i64::from_le_bytes(*bytes));
    }
    Ok(())
}

/// Reads the parts before the state; `None` if the lengths that they state do not fit the file.
fn parse_proof(file: &mut atomic_file::Reading, parameters: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0; HEAD_BYTES];
    if file.left() < HEAD_BYTES as u64 {
        return Ok(None);
    }
    file.read_exact(&mut head)?;
    let Some((generation, proof_bytes, integers)) = parse_head(&head) else { return Ok(None) };
    let state_bytes = integers.checked_mul(8).filter(|_| integers == parameters && generation > 0);
    let fits = state_bytes.and_then(|bytes| bytes.checked_add(proof_bytes)) == Some(file.left());
    if !fits || proof_bytes > PROOF_BYTES_MAX {
        return Ok(None);
    }
    let mut proof = Vec::new();
    file.take(proof_bytes).read_to_end(&mut proof)?;
    Ok(Some((generation, proof)))
}
