//! A peer's disk: the log of records, the newest own record apart from it, its last carries and votes, and the newest
//! final frontier.
//!
//! Everything carries its hash. A damaged record is set aside with the file it stood in; the peer pulls what it held
//! from the network again. The newest own record and the own votes are durable before they are sent, in files of their own
//! that are replaced whole, so that neither a crash nor a damaged log can make a peer sign two things where it may sign one.
//!
//! A final frontier begins a new log. Its file names that log, so the moment it takes its name is the moment from which
//! both count; before, the old pair does. Whatever a crash leaves of the pair that does not count is removed at the next
//! start.

mod atomic_file;
mod fetched;
mod final_file;
mod log;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use murmur_collectives::{Entry, Hash, PeerId};
use murmur_coordinatorless::{Compacted, Stored, StoredEntry};
use murmur_verification::audit::carry_bytes_max;

use super::{Reporter, StateStorage};
use crate::error::Exit;
use crate::error::Failure;
use crate::run::checkpoint::little_endian;
use fetched::FetchFile;
use final_file::{FINAL, FinalFile, log_name};

const HEAD: &str = "head.bin";
const VOTE: &str = "vote.bin";
const CARRIES: [&str; 2] = ["carry-0.bin", "carry-1.bin"];

/// The longest file of votes believed, in bytes.
const VOTES_BYTES_MAX: u64 = 1 << 28;

/// The longest file of the newest own record.
const HEAD_BYTES_MAX: u64 = 1 << 32;

/// The open files of a peer.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    log: File,
    /// Which log that is.
    generation: u64,
    fetch: FetchFile,
}

/// Where the learner keeps its carries.
#[derive(Debug, Clone)]
pub(super) struct Carries {
    dir: PathBuf,
    /// Which of the two files is written next.
    next: usize,
}

impl Store {
    /// Opens the folder's files and reads what they hold, states into `storage`. Damaged ones are set aside and reported.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`] when the folder cannot be read or written, or when the own votes are damaged;
    /// [`Exit::DiskFull`].
    pub(super) fn open(
        dir: &Path,
        me: PeerId,
        storage: &StateStorage,
        reporter: &Reporter,
    ) -> Result<(Self, Stored), Failure> {
        let final_file = final_file::read(dir, storage, reporter)?;
        let generation = final_file.as_ref().map_or(0, |file| file.generation);
        drop_leftovers(dir, generation)?;
        let path = dir.join(log_name(generation));
        let (records, damaged) = log::parse(&log::read(&path)?);
        let entries: Vec<StoredEntry> = records.into_iter().map(log::stored).collect();
        let log = if damaged {
            atomic_file::set_aside(&path, reporter)?;
            log::write(&path, entries.iter())
        } else {
            log::append_to(&path)
        };
        let log = log.map_err(|error| Failure::io(Exit::Checkpoint, "open", &path, &error))?;
        let read = |name: &str, most| atomic_file::read(&dir.join(name), most, reporter);
        let head = read(HEAD, HEAD_BYTES_MAX)?.and_then(|bytes| log::decode(&bytes)).map(log::stored);
        let head = head.filter(|head| Entry::check(head.entry.clone()).is_ok_and(|entry| entry.author() == me));
        let carry_bytes_max = carry_bytes_max(storage.parameters() as u64);
        let carries = CARRIES.iter().filter_map(|name| read(name, carry_bytes_max).transpose());
        let fetched = fetched::read(dir, storage)?;
        let fetch = FetchFile::of(fetched.as_ref());
        let stored = Stored {
            entries,
            compacted: final_file.map(|FinalFile { proof, state, .. }| (proof, state)),
            fetched,
            signing: votes(dir)?,
            head,
            carries: carries.map(|carry| carry.map(Arc::from)).collect::<Result<_, _>>()?,
        };
        Ok((Self { dir: dir.to_owned(), log, generation, fetch }, stored))
    }

    /// Appends a record; a durable one, and all before it, are on disk when this returns.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`]; [`Exit::DiskFull`].
    pub(super) fn append(&mut self, record: &StoredEntry, durable: bool) -> Result<(), Failure> {
        let bytes = log::encode(record);
        let flush = |log: &File| if durable { log.sync_data() } else { Ok(()) };
        let appended = self.log.write_all(&log::frame(&bytes)).and_then(|()| flush(&self.log));
        appended.map_err(|error| unwritten(&self.log_path(), &error))?;
        if durable { replace(&self.dir.join(HEAD), &[&bytes]) } else { Ok(()) }
    }

    /// Keeps a final frontier and begins a log with the records after it, in place of all that was there.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`]; [`Exit::DiskFull`].
    pub(super) fn compact(&mut self, compacted: &Compacted) -> Result<(), Failure> {
        let log = self.begin_log(compacted)?;
        self.settle(compacted)?;
        self.log = log;
        self.generation += 1;
        self.fetch.drop_file(&self.dir);
        // It counts from here on. What is left of the old does no harm, and goes at the next start at the latest.
        let _ = drop_leftovers(&self.dir, self.generation);
        Ok(())
    }

    /// Writes the log that is to come.
    fn begin_log(&self, compacted: &Compacted) -> Result<File, Failure> {
        let next = self.dir.join(log_name(self.generation + 1));
        log::write(&next, compacted.records.iter()).map_err(|error| unwritten(&next, &error))
    }

    /// Makes it the log.
    fn settle(&self, compacted: &Compacted) -> Result<(), Failure> {
        let Compacted { epoch, proof, state, records: _ } = compacted;
        let head = final_file::head(self.generation + 1, *epoch, proof, state);
        replace(&self.dir.join(FINAL), &[&head, proof, &little_endian(state)])
    }

    /// Keeps a chunk of a state that is being fetched.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn keep_chunk(&mut self, root: Hash, index: u32, bytes: &[u8]) -> io::Result<()> {
        self.fetch.keep(&self.dir, root, index, bytes)
    }

    /// Keeps what this peer signed, in place of what it signed before; on disk when this returns, as are all records before
    /// it: it may have promised to hold them.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`]; [`Exit::DiskFull`].
    pub(super) fn signing(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.log.sync_data().map_err(|error| unwritten(&self.log_path(), &error))?;
        replace(&self.dir.join(VOTE), &[bytes])
    }

    /// Sets the log and the final frontier aside and begins an empty log. What this peer signed stays.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`]; [`Exit::DiskFull`].
    pub(super) fn reset(&mut self) -> Result<(), Failure> {
        // In this order each name that is gone leaves something that can be begun with: a log without its final frontier
        // does not count.
        for path in [self.dir.join(FINAL), self.log_path()].into_iter().filter(|path| path.exists()) {
            let set_aside =
                fs::rename(&path, atomic_file::aside(&path)).and_then(|()| atomic_file::sync_folder_of(&path));
            set_aside.map_err(|error| Failure::io(Exit::Checkpoint, "set aside", &path, &error))?;
        }
        self.generation = 0;
        self.log = log::append_to(&self.log_path()).map_err(|error| unwritten(&self.log_path(), &error))?;
        Ok(())
    }

    /// The log in use.
    fn log_path(&self) -> PathBuf {
        self.dir.join(log_name(self.generation))
    }

    /// The folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The place for carries.
    pub(super) fn carries(&self) -> Carries {
        Carries { dir: self.dir.clone(), next: 0 }
    }
}

impl Carries {
    /// Keeps a sealed carry, and the one before it. To be called before the segment's update is authored: the update commits
    /// to it.
    ///
    /// # Errors
    /// [`Exit::Checkpoint`]; [`Exit::DiskFull`].
    pub(super) fn save(&mut self, sealed: &[u8]) -> Result<(), Failure> {
        let path = self.dir.join(CARRIES[self.next]);
        self.next = (self.next + 1) % CARRIES.len();
        replace(&path, &[sealed])
    }
}

/// Author, position and hash of every good entry in the logs of a peer's folder, for looking at it from outside: the log
/// in use, one that a crash left behind, and the own newest entry.
pub(crate) fn stored_names(dir: &Path) -> Vec<(PeerId, u32, Hash)> {
    let of_log = |name: String| log::read(&dir.join(name)).map(|bytes| log::parse(&bytes).0).unwrap_or_default();
    let head =
        atomic_file::read_at_most(&dir.join(HEAD), HEAD_BYTES_MAX).ok().flatten().and_then(atomic_file::unsealed);
    let head = head.and_then(|body| log::decode(&body));
    let records = final_file::logs(dir).into_iter().flat_map(of_log).chain(head);
    let entries = records.filter_map(|record| Entry::check(record.entry).ok());
    entries.map(|entry| (entry.author(), entry.seq(), entry.hash())).collect()
}

/// Removes logs of other generations.
fn drop_leftovers(dir: &Path, generation: u64) -> Result<(), Failure> {
    let others = final_file::logs(dir).into_iter().filter(|name| *name != log_name(generation));
    for path in others.map(|name| dir.join(name)).filter(|path| path.exists()) {
        fs::remove_file(&path).map_err(|error| Failure::io(Exit::Checkpoint, "remove", &path, &error))?;
    }
    Ok(())
}

/// What this peer signed. Without it a peer might vote twice, which is why a damaged file is not passed over.
fn votes(dir: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let path = dir.join(VOTE);
    let bytes = match atomic_file::read_at_most(&path, VOTES_BYTES_MAX) {
        Ok(bytes) => bytes.and_then(atomic_file::unsealed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io(Exit::Checkpoint, "read", &path, &error)),
    };
    let lost = || {
        Failure::new(Exit::Checkpoint, format!("{} failed its hash: this peer's votes are lost", path.display()))
            .hint("Take part with a new identity: start with another folder. With this one the peer might vote twice.")
    };
    bytes.map(Some).ok_or_else(lost)
}

/// Replaces a file whole; an error names it.
fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), Failure> {
    atomic_file::replace(path, parts).map_err(|error| unwritten(path, &error))
}

/// The error of a write, which a full disk turns into its own exit code.
fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::io(Exit::Checkpoint, "write", path, error)
}

#[cfg(test)]
mod tests;
