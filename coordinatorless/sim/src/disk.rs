//! A machine's disk: records that are written, and how many of them a loss of power leaves.

use std::sync::Arc;

use murmur_collectives::{Hash, State};
use murmur_coordinatorless::{Compacted, Fetched, PeerAddress, Stored, StoredEntry, Time};

/// One record of the log.
#[derive(Clone, Debug)]
struct Written {
    record: StoredEntry,
    /// When it is on the platter, whatever happens. `None`: at some time.
    safe_at: Option<Time>,
}

/// What a peer has on its machine's disk.
#[derive(Clone, Default, Debug)]
pub(crate) struct Disk {
    log: Vec<Written>,
    head: Option<Written>,
    head_before: Option<Written>,
    carries: Vec<Arc<[u8]>>,
    /// Proof and state of a final frontier; the log begins with what belongs to it.
    compacted: Option<(Vec<u8>, Arc<State>)>,
    /// Chunks of a state that is being fetched.
    fetched: Option<Fetched>,
    signing: Option<Vec<u8>>,
    book: Vec<PeerAddress>,
    /// What was there before the files were last replaced, and when the new ones are safe.
    before: Option<(Time, Box<Self>)>,
}

/// Carries a machine keeps.
const CARRIES: usize = 2;

impl Disk {
    /// Appends a record. A durable one, and all before it, are safe from `safe_at` on.
    pub(crate) fn append(&mut self, record: StoredEntry, durable: bool, safe_at: Time) {
        let written = Written { record, safe_at: durable.then_some(safe_at) };
        if durable {
            self.sync(safe_at);
            self.head_before = self.head.replace(written.clone());
        }
        self.log.push(written);
    }

    /// Stores a final frontier in place of the log.
    pub(crate) fn compact(&mut self, compacted: Compacted, now: Time, safe_at: Time) {
        self.remember(now, safe_at);
        let safe = |record| Written { record, safe_at: Some(safe_at) };
        self.log = compacted.records.into_iter().map(safe).collect();
        (self.compacted, self.fetched) = (Some((compacted.proof, Arc::new(compacted.state))), None);
    }

    /// Stores a chunk of a state of so many parameters, beside others of the same one.
    pub(crate) fn keep_chunk(&mut self, name: (Hash, u32), bytes: &[u8], parameters: usize) {
        Fetched::keep(&mut self.fetched, name, bytes, || vec![0; parameters].into());
    }

    /// Stores what was voted for, and makes all records before it safe.
    pub(crate) fn sign(&mut self, bytes: Vec<u8>, now: Time, safe_at: Time) {
        self.remember(now, safe_at);
        self.sync(safe_at);
        self.signing = Some(bytes);
    }

    fn sync(&mut self, safe_at: Time) {
        self.log.iter_mut().rev().take_while(|w| w.safe_at.is_none()).for_each(|w| w.safe_at = Some(safe_at));
    }

    /// Files are replaced whole or not at all: keeps the present ones until the new ones are safe.
    fn remember(&mut self, now: Time, safe_at: Time) {
        self.before = self.before.take().filter(|(safe_at, _)| *safe_at > now);
        let before = self.clone();
        self.before = Some((safe_at, Box::new(before)));
    }

    /// Stores where others are.
    pub(crate) fn keep_book(&mut self, book: Vec<PeerAddress>) {
        self.book = book;
    }

    /// Where others were.
    pub(crate) fn book(&self) -> Vec<PeerAddress> {
        self.book.clone()
    }

    /// Sets the log aside.
    pub(crate) fn reset(&mut self) {
        (self.log, self.compacted) = (Vec::new(), None);
    }

    /// Keeps the newest carries.
    pub(crate) fn keep_carry(&mut self, carry: Arc<[u8]>) {
        self.carries.push(carry);
        let surplus = self.carries.len().saturating_sub(CARRIES);
        self.carries.drain(..surplus);
    }

    /// Power is lost at `now`. Of what is not safe, `keep` says how many records survive, given how many there are.
    /// Returns whether anything was lost.
    pub(crate) fn lose_power(&mut self, now: Time, keep: impl FnOnce(usize) -> usize) -> bool {
        let mut replaced = false;
        while let Some((_, before)) = self.before.take().filter(|(safe_at, _)| *safe_at > now) {
            let carries = core::mem::take(&mut self.carries);
            *self = Self { carries, ..*before };
            replaced = true;
        }
        let is_safe = |written: &Written| written.safe_at.is_some_and(|at| at <= now);
        let safe = self.log.iter().rposition(is_safe).map_or(0, |last| last + 1);
        let before = self.log.len();
        self.log.truncate(safe + keep(before - safe));
        if self.head.as_ref().is_some_and(|head| !is_safe(head)) {
            // The file is replaced whole or not at all.
            self.head = self.head_before.take();
            self.log.truncate(safe);
        }
        replaced || self.log.len() < before
    }

    /// The end of the log is damaged: `keep` says how many records are left, given how many there are. The newest own
    /// record is in a file of its own.
    pub(crate) fn damage(&mut self, keep: impl FnOnce(usize) -> usize) {
        let left = keep(self.log.len());
        self.log.truncate(left);
    }

    /// What a starting peer finds.
    pub(crate) fn read(&self) -> Stored {
        Stored {
            entries: self.log.iter().map(|written| written.record.clone()).collect(),
            compacted: self.compacted.as_ref().map(|(proof, state)| (proof.clone(), State::clone(state))),
            fetched: self.fetched.clone(),
            signing: self.signing.clone(),
            head: self.head.as_ref().map(|written| written.record.clone()),
            carries: self.carries.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use murmur_collectives::WireEntry;

    use super::*;

    fn record(n: u8) -> StoredEntry {
        let entry = WireEntry { header: vec![n], signature: [0; 64] };
        StoredEntry { entry, payload: None }
    }

    #[test]
    fn what_is_durable_survives_and_what_is_not_may_be_lost() {
        let mut disk = Disk::default();
        disk.append(record(0), false, Time(5));
        disk.append(record(1), true, Time(10));
        disk.append(record(2), false, Time(11));
        assert!(disk.lose_power(Time(10), |unsafe_ones| unsafe_ones - 1));
        assert_eq!(disk.read().entries.len(), 2);
        assert!(disk.read().head.is_some());
    }

    #[test]
    fn a_write_under_way_when_power_goes_is_lost_with_its_head() {
        let mut disk = Disk::default();
        disk.append(record(0), true, Time(5));
        disk.append(record(1), true, Time(20));
        assert!(disk.lose_power(Time(10), |_| 1));
        let head = disk.read().head.map(|head| head.entry.header);
        assert_eq!((disk.read().entries.len(), head), (1, Some(vec![0])));
    }
}
