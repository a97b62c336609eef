//! A peer's disk: the log of records, the newest own record apart from it, its last carries, and an adopted state.
//!
//! Every record carries its hash. A damaged one is set aside with the file it stood in; what it held comes again from
//! the network. The newest own record is durable before it is announced, in a file of its own that is replaced whole, so
//! that neither a crash nor a damaged log can make a peer sign a second entry for the same position.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use murmur_collectives::{Entry, Hash, PeerId, WireEntry};
use murmur_coordinatorless::{Stored, StoredEntry};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::Reporter;
use crate::error::Failure;
use crate::explain::Exit;
use crate::protocol::EventKind;

const LOG: &str = "log.bin";
const HEAD: &str = "head.bin";
const STATE: &str = "state.bin";
const CARRIES: [&str; 2] = ["carry-0.bin", "carry-1.bin"];

/// The longest record believed, in bytes.
const RECORD_BYTES_MAX: usize = 1 << 28;

const HASH_CONTEXT: &str = "murmuration disk record v1";

/// A record as it is written.
#[derive(Archive, Serialize, Deserialize)]
struct Record {
    entry: WireEntry,
    payload: Option<Vec<u8>>,
    contained: bool,
}

/// The open files of a peer.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    log: File,
}

/// Where the learner keeps its carries.
#[derive(Debug, Clone)]
pub(super) struct Carries(PathBuf);

impl Store {
    /// Opens the folder's files and reads what they hold. Damaged ones are set aside and reported.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`] when the folder cannot be read or written; [`Exit::DiskFull`].
    pub(super) fn open(dir: &Path, me: PeerId, reporter: &Reporter) -> Result<(Self, Stored), Failure> {
        let path = dir.join(LOG);
        let bytes = read(&path)?;
        let (records, damaged) = parse(&bytes);
        let log = if damaged {
            set_aside(&path, reporter)?;
            rewrite(&path, &records)?
        } else {
            open_log(&path)?
        };
        let entries = records.iter().map(stored).collect();
        let carries = CARRIES.iter().filter_map(|name| framed(&dir.join(name), reporter)).map(Arc::from).collect();
        let head = framed(&dir.join(HEAD), reporter).and_then(|bytes| decode(&bytes)).as_ref().map(stored);
        let head = head.filter(|head| Entry::check(head.entry.clone()).is_ok_and(|entry| entry.author() == me));
        let adopted = framed(&dir.join(STATE), reporter).map(|bytes| integers(&bytes));
        let stored = Stored { entries, adopted, head, carries };
        Ok((Self { dir: dir.to_owned(), log }, stored))
    }

    /// Appends a record; a durable one is on disk when this returns.
    pub(super) fn append(&mut self, record: &StoredEntry, durable: bool) -> Result<(), String> {
        let bytes = encode(record);
        let mut write = || -> io::Result<()> {
            if durable {
                replace(&self.dir.join(HEAD), &bytes)?;
            }
            self.log.write_all(&frame(&bytes))
        };
        write().map_err(|error| format!("{}: {error}", self.dir.join(LOG).display()))
    }

    /// Keeps a state that came from others.
    pub(super) fn adopt(&mut self, state: &[i64]) -> Result<(), String> {
        let bytes: Vec<u8> = state.iter().flat_map(|value| value.to_le_bytes()).collect();
        replace(&self.dir.join(STATE), &bytes).map_err(|error| format!("{}: {error}", self.dir.join(STATE).display()))
    }

    /// Sets the log and the adopted state aside and begins an empty log.
    pub(super) fn reset(&mut self) -> Result<(), String> {
        let reset = || -> io::Result<File> {
            for name in [LOG, STATE] {
                let path = self.dir.join(name);
                if path.exists() {
                    fs::rename(&path, aside(&path))?;
                }
            }
            append_to(&self.dir.join(LOG))
        };
        self.log = reset().map_err(|error| format!("{}: {error}", self.dir.display()))?;
        Ok(())
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The place for carries.
    pub(super) fn carries(&self) -> Carries {
        Carries(self.dir.clone())
    }
}

impl Carries {
    /// Keeps the sealed carry after own segment `segment`, and the one before it. To be called before the segment's
    /// update is authored: the update commits to it.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`]; [`Exit::DiskFull`].
    pub(super) fn save(&self, segment: u32, sealed: &[u8]) -> Result<(), Failure> {
        let path = self.0.join(CARRIES[segment as usize % CARRIES.len()]);
        replace(&path, sealed).map_err(|error| Failure::io(Exit::Checkpoint, "write", &path, &error))
    }
}

/// Author, position and hash of every good entry in the log of a peer's folder, for looking at it from outside. The own
/// newest entry is among them.
pub(crate) fn stored_names(dir: &Path) -> Vec<(PeerId, u32, Hash)> {
    let mut records = read(&dir.join(LOG)).map(|bytes| parse(&bytes).0).unwrap_or_default();
    let head = fs::read(dir.join(HEAD)).unwrap_or_default();
    records.extend(unframe(&head).ok().and_then(|(body, _)| decode(body)));
    let entries = records.into_iter().filter_map(|record| Entry::check(record.entry).ok());
    entries.map(|entry| (entry.author(), entry.seq(), entry.hash())).collect()
}

fn open_log(path: &Path) -> Result<File, Failure> {
    append_to(path).map_err(|error| Failure::io(Exit::Checkpoint, "open", path, &error))
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::io(Exit::Checkpoint, "read", path, &error)),
    }
}

/// Length, hash, bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("records are limited in length");
    [&length.to_le_bytes()[..], &blake3::derive_key(HASH_CONTEXT, bytes)[..], bytes].concat()
}

/// A frame's bytes and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// One frame at the start of `bytes` and the rest. `Err` holds what follows a damaged frame of a believable length.
fn unframe(bytes: &[u8]) -> Result<Split<'_>, Option<&[u8]>> {
    let (head, rest) = bytes.split_at_checked(36).ok_or(None)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let (body, rest) = rest.split_at_checked(length).filter(|_| length <= RECORD_BYTES_MAX).ok_or(None)?;
    if blake3::derive_key(HASH_CONTEXT, body) == head[4..] { Ok((body, rest)) } else { Err(Some(rest)) }
}

/// All good records, and whether anything was damaged.
fn parse(mut bytes: &[u8]) -> (Vec<Record>, bool) {
    let (mut records, mut damaged) = (Vec::new(), false);
    while !bytes.is_empty() {
        match unframe(bytes) {
            Ok((body, rest)) => {
                let record = decode(body);
                damaged |= record.is_none();
                records.extend(record);
                bytes = rest;
            }
            Err(after) => {
                damaged = true;
                bytes = after.unwrap_or(&[]);
            }
        }
    }
    (records, damaged)
}

fn encode(record: &StoredEntry) -> Vec<u8> {
    let payload = record.payload.as_ref().map(|bytes| bytes.to_vec());
    let record = Record { entry: record.entry.clone(), payload, contained: record.contained };
    rkyv::to_bytes::<rancor::Error>(&record).expect("a record serializes into memory").to_vec()
}

fn decode(bytes: &[u8]) -> Option<Record> {
    rkyv::from_bytes::<Record, rancor::Failure>(bytes).ok()
}

fn stored(record: &Record) -> StoredEntry {
    let payload = record.payload.clone().map(Arc::from);
    StoredEntry { entry: record.entry.clone(), payload, contained: record.contained }
}

fn integers(bytes: &[u8]) -> Vec<i64> {
    let value = |chunk: &[u8]| i64::from_le_bytes(chunk.try_into().unwrap_or_default());
    bytes.chunks_exact(8).map(value).collect()
}

/// Reads a file that holds one frame. A damaged one is set aside.
fn framed(path: &Path, reporter: &Reporter) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    match unframe(&bytes) {
        Ok((body, [])) => Some(body.to_vec()),
        Ok(_) | Err(_) => {
            let _ = set_aside(path, reporter);
            None
        }
    }
}

/// Replaces a file by one frame, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(&frame(bytes))?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn rewrite(path: &Path, records: &[Record]) -> Result<File, Failure> {
    let mut log = open_log(path)?;
    for record in records {
        let bytes = frame(&encode(&stored(record)));
        log.write_all(&bytes).map_err(|error| Failure::io(Exit::Checkpoint, "write", path, &error))?;
    }
    Ok(log)
}

fn set_aside(path: &Path, reporter: &Reporter) -> Result<(), Failure> {
    let to = aside(path);
    fs::rename(path, &to).map_err(|error| Failure::io(Exit::Checkpoint, "set aside", path, &error))?;
    let detail = format!("{} failed its hash, kept as {}", path.display(), to.display());
    reporter.event(EventKind::SetAside, None, detail);
    Ok(())
}

/// The first free name for a file to set aside.
fn aside(path: &Path) -> PathBuf {
    let name = |n: u32| path.with_extension(format!("damaged-{n}"));
    (0..).map(name).find(|candidate| !candidate.exists()).expect("numbers do not run out")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(n: u8) -> StoredEntry {
        let entry = WireEntry { header: vec![n; 40], signature: [n; 64] };
        StoredEntry { entry, payload: Some(Arc::from(vec![n; 9])), contained: false }
    }

    fn open(dir: &Path) -> (Store, Stored) {
        Store::open(dir, PeerId([0; 32]), &Reporter).unwrap()
    }

    #[test]
    fn what_is_appended_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, empty) = open(dir.path());
        assert!(empty.entries.is_empty());
        (0..3).for_each(|n| store.append(&record(n), false).unwrap());
        store.adopt(&[1, -2, i64::MAX]).unwrap();
        let (_, stored) = open(dir.path());
        assert_eq!(stored.entries.len(), 3);
        assert_eq!(stored.entries[2].entry, record(2).entry);
        assert_eq!(stored.adopted, Some(vec![1, -2, i64::MAX]));
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path());
        (0..3).for_each(|n| store.append(&record(n), false).unwrap());
        let path = dir.path().join(LOG);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (_, stored) = open(dir.path());
        assert_eq!(stored.entries.len(), 2);
        assert!(dir.path().join("log.damaged-0").exists());
        assert_eq!(open(dir.path()).1.entries.len(), 2, "the rewritten log is whole");
    }

    #[test]
    fn a_torn_end_costs_only_the_last_record() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path());
        (0..3).for_each(|n| store.append(&record(n), false).unwrap());
        let path = dir.path().join(LOG);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert_eq!(open(dir.path()).1.entries.len(), 2);
    }

    #[test]
    fn a_damaged_carry_is_no_carry() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        store.carries().save(0, b"zero").unwrap();
        store.carries().save(1, b"one").unwrap();
        assert_eq!(open(dir.path()).1.carries.len(), 2);
        fs::write(dir.path().join(CARRIES[0]), b"rubbish").unwrap();
        assert_eq!(open(dir.path()).1.carries, vec![Arc::from(&b"one"[..])]);
    }
}
