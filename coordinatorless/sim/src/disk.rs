//! A machine's disk: which records are written, and which of them survive a power loss.

use std::sync::Arc;

use murmur_collectives::{Hash, State};
use murmur_coordinatorless::{Compacted, Fetched, PeerAddress, Stored, StoredEntry, Time};

/// One record of the log.
#[derive(Clone, Debug)]
struct LogRecord {
    record: StoredEntry,
    /// When the record survives a power loss. `None`: not before the next sync.
    safe_at: Option<Time>,
}

/// The stored state of one peer.
#[derive(Clone, Default, Debug)]
pub(crate) struct Disk {
    log: Vec<LogRecord>,
    head: Option<LogRecord>,
    head_before: Option<LogRecord>,
    carries: Vec<Arc<[u8]>>,
    /// Proof and state of the newest stored final frontier; the log begins with its records.
    compacted: Option<(Vec<u8>, Arc<State>)>,
    /// Chunks of a state under download.
    fetched: Option<Fetched>,
    signing: Option<Vec<u8>>,
    address_book: Vec<PeerAddress>,
    /// The contents before the newest replacement of a file, and the time at which that replacement is durable.
    previous: Option<(Time, Box<Self>)>,
}

/// Carries a machine keeps.
const CARRIES_MAX: usize = 2;

impl Disk {
    /// Appends a record. A durable record and all earlier ones survive a power loss from `safe_at` on.
    pub(crate) fn append(&mut self, record: StoredEntry, durable: bool, safe_at: Time) {
        let record = LogRecord { record, safe_at: durable.then_some(safe_at) };
        if durable {
            self.sync_pending(safe_at);
            self.head_before = self.head.replace(record.clone());
        }
        self.log.push(record);
    }

    /// Replaces the log by a final frontier and its records.
    pub(crate) fn compact(&mut self, compacted: Compacted, now: Time, safe_at: Time) {
        self.keep_previous(now, safe_at);
        let safe = |record| LogRecord { record, safe_at: Some(safe_at) };
        self.log = compacted.records.into_iter().map(safe).collect();
        (self.compacted, self.fetched) = (Some((compacted.proof, Arc::new(compacted.state))), None);
    }

    /// Stores a chunk of a state with `parameters` parameters. Chunks of another state are discarded.
    pub(crate) fn store_chunk(&mut self, name: (Hash, u32), bytes: &[u8], parameters: usize) {
        Fetched::keep(&mut self.fetched, name, bytes, || vec![0; parameters].into());
    }

    /// Stores the vote record and syncs all earlier log records: a peer must not forget a vote it sent.
    pub(crate) fn store_signing(&mut self, bytes: Vec<u8>, now: Time, safe_at: Time) {
        self.keep_previous(now, safe_at);
        self.sync_pending(safe_at);
        self.signing = Some(bytes);
    }

    fn sync_pending(&mut self, safe_at: Time) {
        self.log
            .iter_mut()
            .rev()
            .take_while(|record| record.safe_at.is_none())
            .for_each(|record| record.safe_at = Some(safe_at));
    }

    /// Keeps the present files until their replacements are durable: a file is replaced atomically or not at all.
    fn keep_previous(&mut self, now: Time, safe_at: Time) {
        self.previous = self.previous.take().filter(|(safe_at, _)| *safe_at > now);
        let previous = self.clone();
        self.previous = Some((safe_at, Box::new(previous)));
    }

    /// Stores the address book.
    pub(crate) fn store_address_book(&mut self, address_book: Vec<PeerAddress>) {
        self.address_book = address_book;
    }

    /// The stored address book.
    pub(crate) fn address_book(&self) -> Vec<PeerAddress> {
        self.address_book.clone()
    }

    /// Discards the log.
    pub(crate) fn reset(&mut self) {
        (self.log, self.compacted) = (Vec::new(), None);
    }

    /// Stores a carry and discards the oldest beyond [`CARRIES_MAX`].
    pub(crate) fn store_carry(&mut self, carry: Arc<[u8]>) {
        self.carries.push(carry);
        let surplus = self.carries.len().saturating_sub(CARRIES_MAX);
        self.carries.drain(..surplus);
    }

    /// Cuts the power at `now`. `keep` maps the number of records that are not durable to the number that survive.
    /// Returns whether a record or a file replacement was lost.
    pub(crate) fn lose_power(&mut self, now: Time, keep: impl FnOnce(usize) -> usize) -> bool {
        let mut replaced = false;
        while let Some((_, previous)) = self.previous.take().filter(|(safe_at, _)| *safe_at > now) {
            let carries = core::mem::take(&mut self.carries);
            *self = Self { carries, ..*previous };
            replaced = true;
        }
        let is_safe = |record: &LogRecord| record.safe_at.is_some_and(|safe_at| safe_at <= now);
        let safe = self.log.iter().rposition(is_safe).map_or(0, |last| last + 1);
        let length = self.log.len();
        self.log.truncate(safe + keep(length - safe));
        if self.head.as_ref().is_some_and(|head| !is_safe(head)) {
            // The head file is replaced atomically, so the previous own record is back.
            self.head = self.head_before.take();
            self.log.truncate(safe);
        }
        replaced || self.log.len() < length
    }

    /// Damages the end of the log: `keep` maps the number of records to the number left. The newest own record
    /// survives, because it has its own file.
    pub(crate) fn damage(&mut self, keep: impl FnOnce(usize) -> usize) {
        let left = keep(self.log.len());
        self.log.truncate(left);
    }

    /// The contents that a starting peer reads.
    pub(crate) fn stored(&self) -> Stored {
        Stored {
            entries: self.log.iter().map(|record| record.record.clone()).collect(),
            compacted: self.compacted.as_ref().map(|(proof, state)| (proof.clone(), State::clone(state))),
            fetched: self.fetched.clone(),
            signing: self.signing.clone(),
            head: self.head.as_ref().map(|record| record.record.clone()),
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
    fn durable_records_survive_a_power_loss_and_later_ones_may_not() {
        let mut disk = Disk::default();
        disk.append(record(0), false, Time(5));
        disk.append(record(1), true, Time(10));
        disk.append(record(2), false, Time(11));
        assert!(disk.lose_power(Time(10), |unsafe_ones| unsafe_ones - 1));
        assert_eq!(disk.stored().entries.len(), 2);
        assert!(disk.stored().head.is_some());
    }

    #[test]
    fn a_power_loss_during_a_write_loses_the_record_and_its_head() {
        let mut disk = Disk::default();
        disk.append(record(0), true, Time(5));
        disk.append(record(1), true, Time(20));
        assert!(disk.lose_power(Time(10), |_| 1));
        let head = disk.stored().head.map(|head| head.entry.header);
        assert_eq!((disk.stored().entries.len(), head), (1, Some(vec![0])));
    }
}
