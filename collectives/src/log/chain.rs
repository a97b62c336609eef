//! One author's chain: totals of the pruned part, then records, with gaps where entries were excluded.

use std::sync::Arc;

use murmur_kernels::Weight;

use crate::{AuthorTotals, Body, Entry, Hash};

/// One accepted entry and what follows from its position in the chain.
#[derive(Clone, Debug)]
pub struct Record {
    /// The entry.
    pub entry: Arc<Entry>,
    /// The payload, for updates whose payload is held.
    pub payload: Option<Arc<[u8]>>,
    /// W(u) for updates, zero for the rest.
    pub weight: Weight,
    /// What the state holds of it now: `weight`, or zero when void.
    pub applied: Weight,
    /// Whether its author was trusted in its causal past: the tokens and norm of an update count, or a verdict does.
    pub counts: bool,
    /// Tokens that count of this chain up to and including this entry.
    pub tokens_until: u64,
    /// Updates in this chain up to and including this entry.
    pub updates_until: u32,
    /// Norm of the chain's newest update that counts up to here.
    pub latest_norm: Option<u64>,
    /// Whether an update's carry goes back to a fresh one without a gap in the chain, so that audits can vouch for it.
    pub founded: bool,
}

/// Totals of a chain up to some position.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Totals {
    pub(super) tokens: u64,
    pub(super) updates: u32,
    pub(super) latest_norm: Option<u64>,
}

/// What the next entry of a chain must name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextPosition {
    /// Its position.
    pub seq: u32,
    /// Hash of the entry before.
    pub previous: Hash,
    /// The epoch that the entry before names: the next entry may not name an earlier one.
    pub epoch: u32,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Chain {
    pub(super) pruned_totals: Option<AuthorTotals>,
    pub(super) records: Vec<Record>,
}

impl Chain {
    /// Positions in all: pruned, held or excluded.
    pub(super) fn count(&self) -> u32 {
        self.records.last().map_or(self.pruned(), |record| record.entry.seq() + 1)
    }

    pub(super) fn pruned(&self) -> u32 {
        self.pruned_totals.as_ref().map_or(0, |totals| totals.count)
    }

    /// Index of the first record at position `seq` or after.
    pub(super) fn index(&self, seq: u32) -> usize {
        self.records.partition_point(|record| record.entry.seq() < seq)
    }

    pub(super) fn record(&self, seq: u32) -> Option<&Record> {
        self.records.get(self.index(seq)).filter(|record| record.entry.seq() == seq)
    }

    /// The last record before position `count`.
    pub(super) fn last_within(&self, count: u32) -> Option<&Record> {
        self.records.get(self.index(count).checked_sub(1)?)
    }

    pub(super) fn totals(&self, count: u32) -> Totals {
        if let Some(record) = self.last_within(count) {
            let (tokens, updates) = (record.tokens_until, record.updates_until);
            return Totals { tokens, updates, latest_norm: record.latest_norm };
        }
        let pruned = self.pruned_totals.as_ref().filter(|totals| totals.count <= count);
        let total = |l: &AuthorTotals| Totals { tokens: l.tokens, updates: l.updates, latest_norm: l.latest_norm };
        pruned.map(total).unwrap_or_default()
    }

    /// Hash of the entry at the last position before `count`, if that is held or the last pruned one.
    pub(super) fn head_at(&self, count: u32) -> Option<Hash> {
        let seq = count.checked_sub(1)?;
        let pruned = self.pruned_totals.as_ref().filter(|totals| totals.count == count).map(|totals| totals.head);
        self.record(seq).map(|record| record.entry.hash()).or(pruned)
    }

    pub(super) fn next_position(&self) -> NextPosition {
        match (self.records.last(), &self.pruned_totals) {
            (Some(Record { entry, .. }), _) => {
                NextPosition { seq: entry.seq() + 1, previous: entry.hash(), epoch: entry.epoch() }
            }
            (None, Some(totals)) => NextPosition { seq: totals.count, previous: totals.head, epoch: totals.epoch },
            (None, None) => NextPosition { seq: 0, previous: Hash::NONE, epoch: 0 },
        }
    }

    pub(super) fn vrf_key(&self) -> Option<[u8; 32]> {
        if let Some(totals) = &self.pruned_totals {
            return Some(totals.vrf_key);
        }
        match &self.records.first()?.entry.header().body {
            Body::Enroll(enroll) => Some(enroll.vrf_key),
            Body::Equivocation(_) | Body::Update(_) | Body::Verdict(_) => None,
        }
    }

    /// The carry after the newest update.
    pub(super) fn carry(&self, count: u32) -> Option<Hash> {
        let records = &self.records[..self.index(count)];
        let held = records.iter().rev().find_map(|record| record.entry.update()).map(|update| update.carry_after);
        held.or_else(|| self.pruned_totals.as_ref().filter(|totals| totals.updates > 0).map(|totals| totals.carry))
    }

    /// Index of the last update before position `count`, among the records.
    fn last_update_before(&self, count: u32) -> Option<usize> {
        self.records[..self.index(count)].iter().rposition(|record| record.entry.update().is_some())
    }

    /// How many positions are missing between the last update before position `count` and that position. Nothing if it is pruned.
    pub(super) fn missing_before(&self, count: u32) -> Option<u32> {
        let last = self.last_update_before(count);
        let (from, begin) = match last {
            Some(last) => (self.records[last].entry.seq() + 1, last + 1),
            None => (self.pruned(), 0),
        };
        let held = u32::try_from(self.index(count) - begin).unwrap_or(u32::MAX);
        Some(count.checked_sub(from)?.saturating_sub(held))
    }

    /// Whether an update at position `count` that goes on from the carry before it can be audited: the carry goes back to a fresh
    /// one, and no position of the chain is missing in between.
    pub(super) fn founded_until(&self, count: u32) -> bool {
        let founded = match self.last_update_before(count) {
            Some(last) => self.records[last].founded,
            None => self.pruned_totals.as_ref().is_none_or(|totals| totals.founded),
        };
        founded && self.missing_before(count) == Some(0)
    }

    /// Computes the prefix sums of the record at index `at` from the record before it.
    pub(super) fn total_up(&mut self, at: usize) {
        let Some(seq) = self.records.get(at).map(|record| record.entry.seq()) else { return };
        let (before, founded) = (self.totals(seq), self.founded_until(seq));
        let Some(record) = self.records.get_mut(at) else { return };
        record.founded = founded || record.entry.update().is_some_and(|update| update.carry_before == Hash::NONE);
        let counting = record.entry.update().filter(|_| record.counts);
        record.tokens_until = before.tokens + counting.map_or(0, |update| update.tokens);
        record.updates_until = record.entry.update().map_or(before.updates, |u| u.segment.saturating_add(1));
        record.latest_norm = counting.map(|update| update.norm).or(before.latest_norm);
    }

    /// The totals up to position `count`. What verdicts and proofs say of the author is filled in by the standing.
    pub(super) fn author_totals_at(&self, author: crate::PeerId, count: u32) -> Option<AuthorTotals> {
        let totals = self.totals(count);
        let (head, epoch) = match self.last_within(count) {
            Some(record) => (record.entry.hash(), record.entry.epoch()),
            None => self.pruned_totals.as_ref().map(|totals| (totals.head, totals.epoch))?,
        };
        Some(AuthorTotals {
            author,
            count,
            head,
            epoch,
            tokens: totals.tokens,
            updates: totals.updates,
            latest_norm: totals.latest_norm,
            carry: self.carry(count).unwrap_or(Hash::NONE),
            founded: self.founded_until(count),
            vrf_key: self.vrf_key().unwrap_or_default(),
            vouched: false,
            void_from: None,
            forked: false,
        })
    }
}
