//! What comes into the log and what leaves it: appending, cutting forks, excluding, pruning.

use super::{Arc, BASE_AUTHORS_MAX, Entry, Gap, Kept, Ledger, Log, PeerId, Record, Row, VersionVector, Weight};
use crate::{Epochs, KeptChain};

/// Bases remembered with different authors. Newcomers change the list now and then, and not all hear of them at once.
const BASES_KEPT: usize = 16;

impl Log {
    /// Lets `entry` hold the authors of its base together with entries of late that name the same ones. Whether there are
    /// any.
    pub fn share_base(&self, entry: &mut Entry) -> bool {
        self.bases.iter().rev().any(|base| entry.share_base(base))
    }

    /// The same for an entry that is about to be appended, and lets later ones share with it.
    pub(crate) fn keep_base(&mut self, entry: &mut Entry) {
        if !self.share_base(entry) {
            self.bases.push_back(entry.base().clone());
        }
        if self.bases.len() > BASES_KEPT {
            self.bases.pop_front();
        }
    }

    /// Appends an admitted entry.
    pub(crate) fn append(&mut self, entry: Arc<Entry>, payload: Option<Arc<[u8]>>, weight: Weight, counts: bool) {
        let (author, seq) = (entry.author(), entry.seq());
        let chain = self.chains.entry(author).or_default();
        debug_assert!(chain.count() <= seq, "only an admitted entry is appended");
        let (applied, zero) = (Weight::ZERO, (0, 0, None));
        let (tokens_until, updates_until, latest_norm) = zero;
        chain.records.push(Record {
            entry,
            payload,
            weight,
            applied,
            counts,
            tokens_until,
            updates_until,
            latest_norm,
        });
        chain.total_up(chain.records.len() - 1);
        self.version.set(author, seq + 1);
    }

    /// Sets what was computed again of a record. Records before it in its chain must be right already.
    pub(crate) fn reweigh(&mut self, author: &PeerId, seq: u32, weight: Weight, counts: bool) {
        let Some(chain) = self.chains.get_mut(author) else { return };
        let at = chain.index(seq);
        if let Some(record) = chain.records.get_mut(at).filter(|record| record.entry.seq() == seq) {
            (record.weight, record.counts) = (weight, counts);
            chain.total_up(at);
        }
    }

    /// Marks whether a verdict counts.
    pub(crate) fn mark(&mut self, author: &PeerId, seq: u32, counts: bool) {
        if let Some(record) = self.record_mut(author, seq) {
            record.counts = counts;
        }
    }

    /// Closes the chain of an author that contradicted itself at position `kept`, and returns what was cut off. What is
    /// final stays, and what is about to be final if it is the branch that is held.
    pub(crate) fn close(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let kept = self.forked.get(&author).map_or(kept, |before| kept.min(*before));
        self.forked.insert(author, kept);
        let wanted = self.target.get(&author).filter(|row| self.head_at(&author, row.count) == Some(row.head));
        let kept = kept.max(self.settled.count(&author)).max(wanted.map_or(0, |row| row.count));
        if self.excluded.get(&author).is_some_and(|entry| entry.seq() >= kept) {
            self.excluded.remove(&author);
        }
        self.truncate(author, kept)
    }

    fn truncate(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let Some(chain) = self.chains.get_mut(&author) else { return Vec::new() };
        let at = chain.index(kept);
        let cut = chain.records.split_off(at);
        self.version.set(author, chain.count());
        self.severed.extend(cut.iter().cloned());
        cut
    }

    /// What forks cut off and what is about to be final names, in order. Those who decided had it when they voted, and may all
    /// have cut it since.
    pub(crate) fn take_severed(&mut self) -> Vec<Record> {
        let is_named = |row: &Row, record: &Record| {
            record.entry.author() == row.author
                && record.entry.seq() + 1 == row.count
                && record.entry.hash() == row.head
        };
        let branch = |row: &&Row| self.severed.iter().any(|record| is_named(row, record));
        let rows: Vec<Row> = self.target.values().filter(branch).copied().collect();
        let named = |record: &mut Record| {
            rows.iter().any(|row| record.entry.author() == row.author && record.entry.seq() < row.count)
        };
        let mut named: Vec<Record> = self.severed.extract_if(.., named).collect();
        named.sort_by_key(|record| (record.entry.author(), record.entry.seq()));
        named
    }

    pub(crate) fn record_mut(&mut self, author: &PeerId, seq: u32) -> Option<&mut Record> {
        let chain = self.chains.get_mut(author)?;
        let at = chain.index(seq);
        chain.records.get_mut(at).filter(|record| record.entry.seq() == seq)
    }

    /// Keeps an excluded entry as the place behind which its author goes on. False if it is not worth it.
    pub(crate) fn shelve(&mut self, entry: Arc<Entry>, by_epoch: u32) -> bool {
        let author = entry.author();
        let newer = self.excluded.get(&author).is_none_or(|held| held.seq() < entry.seq());
        let room = self.excluded.len() < BASE_AUTHORS_MAX || self.chains.contains_key(&author);
        if !newer || !room || entry.seq() < self.version.count(&author) {
            return false;
        }
        self.gaps.push(Gap { author, from: self.version.count(&author), by_epoch });
        self.excluded.insert(author, entry);
        true
    }

    /// Whether a contradiction at position `kept` or before is known.
    pub fn knows_fork(&self, author: &PeerId, kept: u32) -> bool {
        self.forked.get(author).is_some_and(|known| *known <= kept)
    }

    /// Notes a contradiction in a set that was taken in whole.
    pub(crate) fn note_fork(&mut self, author: PeerId, from: u32) {
        let known = self.forked.entry(author).or_insert(from);
        *known = from.min(*known);
    }

    /// Says that exactly what is held is final.
    pub(crate) fn settle_at(&mut self, view: &VersionVector) {
        self.settled = view.clone();
    }

    /// Says what is about to be final; empty when it is.
    pub(crate) fn set_target(&mut self, rows: &[Row]) {
        self.target = rows.iter().map(|row| (row.author, *row)).collect();
    }

    /// Whether exactly the entries that `rows` name are held at their heads.
    pub(crate) fn holds(&self, rows: &[Row]) -> bool {
        rows.iter().all(|row| self.head_at(&row.author, row.count) == Some(row.head))
    }

    /// Takes out what the newest frontier excludes, and returns it.
    pub(crate) fn exclude(&mut self, epochs: &Epochs) -> Vec<Record> {
        let authors: Vec<PeerId> = self.chains.keys().copied().collect();
        let mut out = Vec::new();
        for author in authors {
            out.extend(self.exclude_of(author, epochs));
        }
        self.settled = epochs.newest().view.clone();
        self.severed.clear();
        self.excluded.retain(|author, entry| self.settled.count(author) <= entry.seq());
        out
    }

    fn exclude_of(&mut self, author: PeerId, epochs: &Epochs) -> Vec<Record> {
        let Some(chain) = self.chains.get_mut(&author) else { return Vec::new() };
        let from = chain.index(epochs.newest().view.count(&author));
        let tail = &chain.records[from..];
        let late = tail.iter().take_while(|record| record.entry.epoch() < epochs.oldest_open()).count();
        let Some(last) = tail[..late].last().map(|record| record.entry.clone()) else { return Vec::new() };
        let first = tail[0].entry.seq();
        let out: Vec<Record> = chain.records.drain(from..from + late).collect();
        (from..chain.records.len()).for_each(|at| chain.total_up(at));
        self.version.set(author, chain.count());
        self.gaps.push(Gap { author, from: first, by_epoch: epochs.number() });
        if self.excluded.get(&author).is_none_or(|held| held.seq() < last.seq()) {
            self.excluded.insert(author, last);
        }
        out
    }

    /// Totals of every author at `view`, but for what the standing knows.
    pub(crate) fn ledgers_at(&self, view: &VersionVector) -> Vec<Ledger> {
        view.iter().filter_map(|(author, count)| self.chains.get(&author)?.ledger_at(author, count)).collect()
    }

    /// Names of all entries in `until` and not in `from`.
    pub(crate) fn kept_between(&self, from: &VersionVector, until: &VersionVector) -> Vec<KeptChain> {
        let kept = |record: &Record| Kept {
            seq: record.entry.seq(),
            hash: record.entry.hash(),
            weight_q16: record.weight.q16(),
            counts: record.counts,
        };
        let chain = |(author, count): (PeerId, u32)| {
            let records = self.from(&author, from.count(&author)).iter();
            let entries: Vec<Kept> = records.take_while(|r| r.entry.seq() < count).map(kept).collect();
            (!entries.is_empty()).then_some(KeptChain { author, entries })
        };
        until.iter().filter_map(chain).collect()
    }

    /// Replaces what the ledgers cover by them.
    pub(crate) fn prune(&mut self, ledgers: Vec<Ledger>, oldest_open: u32) {
        for ledger in ledgers {
            let chain = self.chains.entry(ledger.author).or_default();
            let at = chain.index(ledger.count);
            chain.records.drain(..at);
            if ledger.forked {
                self.forked.entry(ledger.author).or_insert(ledger.count);
            }
            self.version.raise(ledger.author, ledger.count);
            chain.ledger = Some(ledger);
        }
        self.gaps.retain(|gap| gap.by_epoch + 1 >= oldest_open);
    }
}
