//! Bringing the state in line with the set: what each entry weighs, what is void, what left.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use murmur_kernels::Weight;

use super::{Fold, move_weight};
use crate::{Body, Entry, PeerId, Record, Stage, Verdict, VersionVector, weigh::weigh};

/// Why a payload that is needed is there: [`Fold::insert`] asked for it before it changed anything.
pub(super) const PAYLOADS_HELD: &str = "payloads were checked to be held";

/// What an entry did to the standing of others.
pub(super) enum Effect {
    None,
    /// Updates of this author became void.
    Voided(PeerId),
    /// This author's chain was closed, and this was cut off.
    Closed(PeerId, Vec<Record>),
}

impl Fold {
    pub(super) fn append(&mut self, entry: &Arc<Entry>, payload: Option<Arc<[u8]>>) -> Option<PeerId> {
        let (author, seq) = (entry.author(), entry.seq());
        match self.append_header(entry, payload) {
            Effect::None => {
                self.settle_one(&author, seq);
                None
            }
            Effect::Voided(author) => {
                self.settle(&author);
                Some(author)
            }
            Effect::Closed(author, cut) => {
                self.settle_all(&cut);
                Some(author)
            }
        }
    }

    /// Proof of a fork holds whoever brings it and whenever: it closes the chain although the entry that carries it must
    /// still wait. What honest peers said before the proof may name entries of the branches that nobody serves any
    /// more, and the proof stands behind what they said.
    pub(super) fn heed_evidence(&mut self, entry: &Entry) -> Option<(PeerId, Vec<Record>)> {
        let Body::Equivocation(evidence) = &entry.header().body else { return None };
        let (accused, kept) = evidence.accused(self.run).ok()?;
        let known = accused == entry.author() || self.log.knows_fork(&accused, kept);
        (!known).then(|| (accused, self.close(accused, kept)))
    }

    /// Takes what was cut off out of the state, and brings the rest in line with its weights.
    pub(super) fn settle_all(&mut self, cut: &[Record]) {
        self.take_out(cut);
        let authors: Vec<PeerId> = self.log.version().iter().map(|(author, _)| author).collect();
        authors.iter().for_each(|author| self.settle(author));
    }

    /// Appends to the log and to the standing; leaves the state alone.
    pub(super) fn append_header(&mut self, entry: &Arc<Entry>, payload: Option<Arc<[u8]>>) -> Effect {
        let (weight, counts) = self.value(entry);
        self.order.push((entry.author(), entry.seq()));
        self.log.append(entry.clone(), payload, weight, counts);
        match &entry.header().body {
            Body::Verdict(_) => self.rule(entry).map_or(Effect::None, Effect::Voided),
            Body::Equivocation(evidence) => match evidence.accused(self.run) {
                Ok((accused, kept)) => {
                    self.standing.record_proof(accused, kept, entry.author(), entry.seq());
                    if self.log.knows_fork(&accused, kept) {
                        Effect::None
                    } else {
                        Effect::Closed(accused, self.close(accused, kept))
                    }
                }
                Err(_) => Effect::None,
            },
            Body::Enroll(_) | Body::Update(_) => Effect::None,
        }
    }

    /// What `entry` weighs, and whether it counts, by its causal past.
    fn value(&self, entry: &Entry) -> (Weight, bool) {
        let trusted = self.standing.is_trusted(&self.rules, &entry.author(), entry.base());
        let nothing = VersionVector::default();
        let horizon = self.epochs.horizon(entry.epoch()).unwrap_or(&nothing);
        let weight = |u| weigh(&self.rules, &self.log, &self.standing, horizon, entry, u);
        (entry.update().map_or(Weight::ZERO, weight), trusted)
    }

    /// Counts a verdict if its auditor was trusted in its past and drawn, and its subject is in the set. Names the judged
    /// author if that voided something.
    pub(super) fn rule(&mut self, entry: &Entry) -> Option<PeerId> {
        let trusted = self.standing.is_trusted(&self.rules, &entry.author(), entry.base());
        let counting = entry.verdict().filter(|verdict| trusted && self.was_called_for(entry, verdict));
        self.log.mark(&entry.author(), entry.seq(), counting.is_some());
        let verdict = counting?;
        let before = self.standing.void_from(&self.rules, &verdict.author, self.log.version());
        self.standing.record(verdict.author, verdict.seq, entry.author(), entry.seq(), verdict.passed);
        let after = self.standing.void_from(&self.rules, &verdict.author, self.log.version());
        (before != after).then_some(verdict.author)
    }

    /// Whether the subject is in the set and `entry`'s author was drawn to audit it; to confirm, if in its past somebody
    /// whose verdict counts disputed it.
    fn was_called_for(&self, entry: &Entry, verdict: &Verdict) -> bool {
        let Some(subject) = self.log.subject(verdict) else { return false };
        let disputed = || self.standing.is_disputed(&verdict.author, verdict.seq, entry.base());
        self.is_eligible(&entry.author(), subject, entry.epoch())
            && self.chance(subject, verdict.stage, entry.epoch()).draws(Verdict::ticket(&verdict.draw))
            && (verdict.stage == Stage::First || disputed())
    }

    /// Brings the state in line with what each update of `author` should weigh now.
    fn settle(&mut self, author: &PeerId) {
        let held: Vec<u32> = self.log.chain(author).iter().map(|record| record.entry.seq()).collect();
        held.into_iter().for_each(|seq| self.settle_one(author, seq));
    }

    fn settle_one(&mut self, author: &PeerId, seq: u32) {
        let target = self.target_weight(author, seq, self.log.version());
        let Some(record) = self.log.record_mut(author, seq) else { return };
        move_weight(&self.rules, record, target, &mut self.state).expect(PAYLOADS_HELD);
        record.applied = target;
    }

    /// What update `seq` of `author` weighs in the state of `view`.
    pub(super) fn target_weight(&self, author: &PeerId, seq: u32, view: &VersionVector) -> Weight {
        let void = || self.standing.void_from(&self.rules, author, view).is_some_and(|from| seq >= from);
        match self.log.record(author, seq) {
            Some(record) if view.contains(author, seq) && !void() => record.weight,
            Some(_) | None => Weight::ZERO,
        }
    }

    /// A proven fork: everything of the author from that position on leaves the set and is returned, and as others may
    /// have counted those entries in their past, all weights that are not final are computed again. Rare, so simple
    /// rather than fast.
    fn close(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let cut = self.log.close(author, kept);
        self.forget_order();
        self.replay(&self.epochs.newest().view.clone());
        cut
    }

    /// Whether the set holds entries that name `entry` already. They came while its author's chain was closed before it, or
    /// behind what was excluded of that chain, and were weighed without it.
    pub(super) fn is_built_on(&self, entry: &Entry) -> bool {
        let (author, seq) = (entry.author(), entry.seq());
        let may_be = self.log.is_forked(&author) || self.log.excluded(&author).is_some();
        may_be && self.log.records().any(|record| record.entry.base().contains(&author, seq))
    }

    /// An entry came after others that build on it: all weights that are not final are computed again, in an order in which it
    /// comes first, as where it was held all along.
    pub(super) fn weigh_again(&mut self) {
        self.restore_order();
        self.replay(&self.epochs.newest().view.clone());
        self.settle_all(&[]);
    }

    /// Puts every entry after all that it names.
    fn restore_order(&mut self) {
        let mut waiting = core::mem::take(&mut self.order);
        let mut open: BTreeMap<PeerId, VecDeque<u32>> = BTreeMap::new();
        waiting.iter().for_each(|(author, seq)| open.entry(*author).or_default().push_back(*seq));
        open.values_mut().for_each(|seqs| seqs.make_contiguous().sort_unstable());
        loop {
            let before = waiting.len();
            waiting.retain(|(author, seq)| {
                let Some(record) = self.log.record(author, *seq) else { return false };
                let is_past_placed = open
                    .iter()
                    .all(|(other, seqs)| seqs.front().is_none_or(|first| !record.entry.base().contains(other, *first)));
                let is_next = is_past_placed && open.get(author).and_then(VecDeque::front) == Some(seq);
                if is_next {
                    self.order.push((*author, *seq));
                    open.get_mut(author).map(VecDeque::pop_front);
                }
                !is_next
            });
            if waiting.len() == before {
                break;
            }
        }
        self.order.append(&mut waiting);
    }

    /// Drops from the order of insertion what is no longer held.
    pub(super) fn forget_order(&mut self) {
        let log = &self.log;
        self.order.retain(|(author, seq)| log.record(author, *seq).is_some());
    }

    /// Computes everything outside `settled` again, in the order in which it came.
    pub(super) fn replay(&mut self, settled: &VersionVector) {
        self.standing.keep_within(settled);
        let open: Vec<(PeerId, u32)> =
            self.order.iter().copied().filter(|(author, seq)| !settled.contains(author, *seq)).collect();
        open.iter().for_each(|(author, seq)| self.recompute(author, *seq));
    }

    fn recompute(&mut self, author: &PeerId, seq: u32) {
        let Some(entry) = self.log.record(author, seq).map(|record| record.entry.clone()) else { return };
        let (weight, counts) = self.value(&entry);
        self.log.reweigh(author, seq, weight, counts);
        if let Body::Equivocation(evidence) = &entry.header().body {
            self.standing.record_proof(evidence.author, evidence.first.seq, *author, seq);
        }
        if entry.verdict().is_some() {
            self.rule(&entry);
        }
    }
}
