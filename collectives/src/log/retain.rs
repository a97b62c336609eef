//! Changes of the log: append, cut off a fork, exclude, prune.

use super::{Arc, AuthorTotals, BASE_AUTHORS_MAX, Entry, Gap, Kept, Log, PeerId, Record, Row, VersionVector, Weight};
use crate::{Epochs, KeptChain};

/// Recent bases remembered. Several, because peers hear of a newcomer at different times and then name different lists.
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
            founded: false,
        });
        chain.total_up(chain.records.len() - 1);
        self.version.set(author, seq + 1);
    }

    /// Sets the weight of a record that was computed again. Records before it in its chain must be done already, because its
    /// prefix sums are computed from theirs.
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

    /// Closes the chain of an author that forked at position `kept`, and returns the records cut off. Final entries stay, and
    /// entries that a decided frontier names, if they are the branch that is held.
    pub(crate) fn close(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let kept = self.forked.get(&author).map_or(kept, |before| kept.min(*before));
        self.forked.insert(author, kept);
        let wanted = self.target.get(&author).filter(|row| self.head_at(&author, row.count) == Some(row.head));
        let kept = kept.max(self.final_view.count(&author)).max(wanted.map_or(0, |row| row.count));
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
        self.cut_off.extend(cut.iter().cloned());
        cut
    }

    /// Takes the cut-off records that a decided frontier names, in order of position. The voters held them when they voted; by
    /// now all of them may have cut them off, so no peer would serve them.
    pub(crate) fn take_cut_off(&mut self) -> Vec<Record> {
        let is_named = |row: &Row, record: &Record| {
            record.entry.author() == row.author
                && record.entry.seq() + 1 == row.count
                && record.entry.hash() == row.head
        };
        let branch = |row: &&Row| self.cut_off.iter().any(|record| is_named(row, record));
        let rows: Vec<Row> = self.target.values().filter(branch).copied().collect();
        let named = |record: &mut Record| {
            rows.iter().any(|row| record.entry.author() == row.author && record.entry.seq() < row.count)
        };
        let mut named: Vec<Record> = self.cut_off.extract_if(.., named).collect();
        named.sort_by_key(|record| (record.entry.author(), record.entry.seq()));
        named
    }

    pub(crate) fn record_mut(&mut self, author: &PeerId, seq: u32) -> Option<&mut Record> {
        let chain = self.chains.get_mut(author)?;
        let at = chain.index(seq);
        chain.records.get_mut(at).filter(|record| record.entry.seq() == seq)
    }

    /// Keeps an excluded entry as the position after which its author continues. False if a newer one is known or there are
    /// too many.
    pub(crate) fn keep_excluded(&mut self, entry: Arc<Entry>, by_epoch: u32) -> bool {
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

    /// Notes a fork in a set that was resumed from a final frontier.
    pub(crate) fn note_fork(&mut self, author: PeerId, from: u32) {
        let known = self.forked.entry(author).or_insert(from);
        *known = from.min(*known);
    }

    /// Makes `view`, which is exactly the set held, final.
    pub(crate) fn set_final(&mut self, view: &VersionVector) {
        self.final_view = view.clone();
    }

    /// Sets the rows of a decided frontier that is not final here yet; empty if there is none.
    pub(crate) fn set_target(&mut self, rows: &[Row]) {
        self.target = rows.iter().map(|row| (row.author, *row)).collect();
    }

    /// Whether exactly the entries that `rows` name are held at their heads.
    pub(crate) fn holds(&self, rows: &[Row]) -> bool {
        rows.iter().all(|row| self.head_at(&row.author, row.count) == Some(row.head))
    }

    /// Removes the entries that the newest frontier excludes, and returns them.
    pub(crate) fn exclude(&mut self, epochs: &Epochs) -> Vec<Record> {
        let authors: Vec<PeerId> = self.chains.keys().copied().collect();
        let mut out = Vec::new();
        for author in authors {
            out.extend(self.exclude_of(author, epochs));
        }
        self.final_view = epochs.newest().view.clone();
        self.cut_off.clear();
        self.excluded.retain(|author, entry| self.final_view.count(author) <= entry.seq());
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

    /// Totals of every author at `view`. What verdicts and proofs say of them is filled in by the standing.
    pub(crate) fn author_totals_at(&self, view: &VersionVector) -> Vec<AuthorTotals> {
        view.iter().filter_map(|(author, count)| self.chains.get(&author)?.author_totals_at(author, count)).collect()
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

    /// Replaces what the totals cover by them.
    pub(crate) fn prune(&mut self, author_totals: Vec<AuthorTotals>, oldest_open: u32) {
        for totals in author_totals {
            let chain = self.chains.entry(totals.author).or_default();
            let at = chain.index(totals.count);
            chain.records.drain(..at);
            if totals.forked {
                self.forked.entry(totals.author).or_insert(totals.count);
            }
            self.version.raise(totals.author, totals.count);
            chain.pruned_totals = Some(totals);
        }
        self.gaps.retain(|gap| gap.by_epoch + 1 >= oldest_open);
    }
}
