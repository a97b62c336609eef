//! What a final frontier leaves on the disk beside the log: `final.bin`, which also names the log that goes with it.

use std::{fs, path::Path};

use super::whole;

/// The file.
pub(super) const FINAL: &str = "final.bin";

/// Names what the bytes are.
const MAGIC: [u8; 8] = *b"murmurF1";

/// Bytes before proof and state: magic, generation, epoch, lengths.
const HEAD_BYTES: usize = 8 + 8 + 4 + 8 + 8;

/// The longest proof believed, in bytes: 4096 certificates, rows and foundation of a few thousand authors.
const PROOF_BYTES_MAX: u64 = 1 << 30;

/// A final frontier as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Which log goes with it. Grows with each, unlike the epoch: a peer may come to another frontier of the same epoch.
    pub(super) generation: u64,
    pub(super) epoch: u32,
    pub(super) proof: Vec<u8>,
    pub(super) state: Vec<i64>,
}

/// The longest file believed for a model of so many parameters, in bytes.
pub(super) fn bytes_max(parameters: u64) -> u64 {
    PROOF_BYTES_MAX.saturating_add(parameters.saturating_mul(8)).saturating_add(HEAD_BYTES as u64)
}

/// The bytes before proof and state.
pub(super) fn head(generation: u64, epoch: u32, proof: &[u8], state: &[i64]) -> Vec<u8> {
    let lengths = [proof.len() as u64, state.len() as u64].map(u64::to_le_bytes).concat();
    [&MAGIC[..], &generation.to_le_bytes(), &epoch.to_le_bytes(), &lengths].concat()
}

/// `None` if the lengths do not fit what is there.
pub(super) fn parse(bytes: &[u8]) -> Option<Settled> {
    let rest = bytes.strip_prefix(&MAGIC[..])?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (proof_length, rest) = rest.split_first_chunk::<8>()?;
    let (state_length, rest) = rest.split_first_chunk::<8>()?;
    let (proof, state) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*proof_length)).ok()?)?;
    let state_bytes = u64::from_le_bytes(*state_length).checked_mul(8)?;
    (state.len() as u64 == state_bytes).then(|| Settled {
        generation: u64::from_le_bytes(*generation),
        epoch: u32::from_le_bytes(*epoch),
        proof: proof.to_vec(),
        state: integers(state),
    })
}

/// Little-endian.
pub(super) fn integers(bytes: &[u8]) -> Vec<i64> {
    let value = |chunk: &[u8]| i64::from_le_bytes(chunk.try_into().unwrap_or_default());
    bytes.chunks_exact(8).map(value).collect()
}

/// Little-endian.
pub(super) fn bytes_of(state: &[i64]) -> Vec<u8> {
    state.iter().flat_map(|value| value.to_le_bytes()).collect()
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

/// Reads a file that holds one, for a model of `parameters` parameters. A damaged one is set aside.
pub(super) fn read(
    dir: &Path,
    parameters: u64,
    reporter: &super::Reporter,
) -> Result<Option<Settled>, crate::error::Failure> {
    let path = dir.join(FINAL);
    let Some(bytes) = whole::read(&path, bytes_max(parameters), reporter)? else { return Ok(None) };
    let settled = parse(&bytes).filter(|settled| settled.state.len() as u64 == parameters && settled.generation > 0);
    if settled.is_none() {
        whole::set_aside(&path, reporter)?;
    }
    Ok(settled)
}
