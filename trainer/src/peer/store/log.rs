//! The log: records one after the other, each with its length and its hash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use murmur_collectives::WireEntry;
use murmur_coordinatorless::StoredEntry;
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::atomic_file::sync_folder_of;
use crate::error::Exit;
use crate::error::Failure;

const HASH_CONTEXT: &str = "murmuration disk record v1";

/// A record as it is written.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) entry: WireEntry,
    payload: Option<Vec<u8>>,
}

pub(super) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The whole file; empty without one.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::io(Exit::Checkpoint, "read", path, &error)),
    }
}

/// A new log with these records in place of whatever was at `path`. When this returns, it is on disk.
pub(super) fn write<'a>(path: &Path, records: impl Iterator<Item = &'a StoredEntry>) -> io::Result<File> {
    let mut file = io::BufWriter::new(File::create(path)?);
    for record in records {
        file.write_all(&frame(&encode(record)))?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    sync_folder_of(path)?;
    append_to(path)
}

/// Bytes of a frame before what it holds. Its length is believed as far as its file goes: nothing is set aside beyond that.
pub(super) const FRAME_BYTES: usize = 36;

/// Length, hash, bytes.
pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("records are limited in length");
    [&length.to_le_bytes()[..], &blake3::derive_key(HASH_CONTEXT, bytes)[..], bytes].concat()
}

/// A frame's bytes and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// One frame at the start of `bytes` and the rest. `Err` holds what follows a damaged frame of a believable length.
fn unframe(bytes: &[u8]) -> Result<Split<'_>, Option<&[u8]>> {
    let (head, rest) = bytes.split_at_checked(FRAME_BYTES).ok_or(None)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let (body, rest) = rest.split_at_checked(length).ok_or(None)?;
    if blake3::derive_key(HASH_CONTEXT, body) == head[4..] { Ok((body, rest)) } else { Err(Some(rest)) }
}

/// Reads a frame that is at most `left` bytes long: its bytes, unless they are damaged, and how long it is. `None` if it
/// does not end.
pub(super) fn read_frame(file: &mut impl io::Read, left: u64) -> io::Result<Option<(Option<Vec<u8>>, u64)>> {
    let Some(left) = left.checked_sub(FRAME_BYTES as u64) else { return Ok(None) };
    let mut head = [0; FRAME_BYTES];
    file.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if u64::from(length) > left {
        return Ok(None);
    }
    let mut body = vec![0; length as usize];
    file.read_exact(&mut body)?;
    let sound = blake3::derive_key(HASH_CONTEXT, &body) == head[4..];
    Ok(Some((sound.then_some(body), FRAME_BYTES as u64 + u64::from(length))))
}

/// All good records, and whether anything was damaged.
pub(super) fn parse(bytes: &[u8]) -> (Vec<Record>, bool) {
    let (frames, damaged) = frames(bytes);
    let records: Vec<Record> = frames.iter().filter_map(|body| decode(body)).collect();
    let damaged = damaged || records.len() < frames.len();
    (records, damaged)
}

/// The bytes of all good frames, and whether anything was damaged.
fn frames(mut bytes: &[u8]) -> (Vec<&[u8]>, bool) {
    let (mut frames, mut damaged) = (Vec::new(), false);
    while !bytes.is_empty() {
        match unframe(bytes) {
            Ok((body, rest)) => {
                frames.push(body);
                bytes = rest;
            }
            Err(after) => {
                damaged = true;
                bytes = after.unwrap_or(&[]);
            }
        }
    }
    (frames, damaged)
}

pub(super) fn encode(record: &StoredEntry) -> Vec<u8> {
    let payload = record.payload.as_ref().map(|bytes| bytes.to_vec());
    let record = Record { entry: record.entry.clone(), payload };
    rkyv::to_bytes::<rancor::Error>(&record).expect("a record serializes into memory").to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
    rkyv::from_bytes::<Record, rancor::Failure>(bytes).ok()
}

pub(super) fn stored(record: Record) -> StoredEntry {
    StoredEntry { entry: record.entry, payload: record.payload.map(Arc::from) }
}
