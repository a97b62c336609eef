//! Applying entries to the state: an entry is appended, its weight is computed, and the state is moved to that weight.
//!
//! Three things can change a weight later: a quorum of failed verdicts voids updates, a proven fork cuts off the end of a
//! chain, and a final frontier excludes entries. Each ends with [`Fold::apply_author`] or [`Fold::apply_all`], which compare
//! what the state holds of every record with what it should hold. So there is one way to move the state, and the order of
//! the changes does not matter.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use murmur_kernels::Weight;

use super::{Fold, move_weight};
use crate::{Body, Entry, Hash, PeerId, Record, Stage, Update, Verdict, VersionVector, weigh::weigh};

/// Why a payload cannot be missing here: [`Fold::insert`] returned [`super::Insertion::NeedsPayloads`] before any change.
pub(super) const PAYLOADS_HELD: &str = "payloads were checked to be held";

/// What an appended entry does to other authors.
pub(super) enum Effect {
    None,
    /// Updates of this author became void.
    Voided(PeerId),
    /// A fork of this author is proven: its chain was closed, and these records were cut off.
    Closed(PeerId, Vec<Record>),
}

impl Fold {
    /// Appends an admitted entry and moves the state. Returns the author whose updates became void by it, if any.
    pub(super) fn append(&mut self, entry: &Arc<Entry>, payload: Option<Arc<[u8]>>) -> Option<PeerId> {
        let (author, seq) = (entry.author(), entry.seq());
        match self.append_header(entry, payload) {
            Effect::None => {
                self.apply_one(&author, seq);
                None
            }
            Effect::Voided(author) => {
                self.apply_author(&author);
                Some(author)
            }
            Effect::Closed(author, cut) => {
                self.apply_all(&cut);
                Some(author)
            }
        }
    }

    /// Closes the chain of an author whose fork `entry` proves, although `entry` itself still waits for its causal past.
    /// Returns the author and the records cut off, unless the fork is known.
    ///
    /// Waiting would never end otherwise: the causal past may name entries of a branch that no peer serves any more, because
    /// every peer that has the proof has dropped that branch.
    pub(super) fn close_on_evidence(&mut self, entry: &Entry) -> Option<(PeerId, Vec<Record>)> {
        let Body::Equivocation(evidence) = &entry.header().body else { return None };
        let (accused, kept) = evidence.accused(self.run).ok()?;
        let known = accused == entry.author() || self.log.knows_fork(&accused, kept);
        (!known).then(|| (accused, self.close(accused, kept)))
    }

    /// Removes the records in `cut` from the state and applies every author's weights again.
    pub(super) fn apply_all(&mut self, cut: &[Record]) {
        self.take_out(cut);
        let authors: Vec<PeerId> = self.log.version().iter().map(|(author, _)| author).collect();
        authors.iter().for_each(|author| self.apply_author(author));
    }

    /// Appends to the log and to the standing, without moving the state.
    pub(super) fn append_header(&mut self, entry: &Arc<Entry>, payload: Option<Arc<[u8]>>) -> Effect {
        let (weight, counts) = self.weight_of(entry);
        self.order.push((entry.author(), entry.seq()));
        self.log.append(entry.clone(), payload, weight, counts);
        match &entry.header().body {
            Body::Verdict(_) => self.count_verdict(entry).map_or(Effect::None, Effect::Voided),
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

    /// The weight of `entry`, and whether its tokens count: both are functions of its causal past and of what is final.
    fn weight_of(&self, entry: &Entry) -> (Weight, bool) {
        let continues = |update: &Update| update.carry_before != Hash::NONE;
        // Else its author could have made up what it goes on from, and no audit would notice.
        let founded = !entry.update().is_some_and(continues) || self.log.is_founded_at(&entry.author(), entry.seq());
        if !founded || !self.standing.is_trusted(&self.rules, &entry.author(), entry.base()) {
            return (Weight::ZERO, false);
        }
        let pace = self.epochs.pace(entry.epoch()).unwrap_or(self.epochs.newest().frontier.pace);
        let nothing = VersionVector::default();
        let since = self.epochs.view(entry.epoch()).unwrap_or(&nothing);
        let weight = |u| weigh(&self.rules, &self.log, &self.standing, (pace, since), entry, u);
        (entry.update().map_or(Weight::ZERO, weight), true)
    }

    /// Counts a verdict if its auditor was trusted in the verdict's causal past and selected for the audit, and the audited
    /// update is in the set. Returns the audited author if this voids updates, or makes void ones valid again.
    pub(super) fn count_verdict(&mut self, entry: &Entry) -> Option<PeerId> {
        let trusted = self.standing.is_trusted(&self.rules, &entry.author(), entry.base());
        let counting = entry.verdict().filter(|verdict| trusted && self.is_drawn_for(entry, verdict));
        self.log.mark(&entry.author(), entry.seq(), counting.is_some());
        let verdict = counting?;
        let before = self.standing.void_from(&self.rules, &verdict.author, self.log.version());
        self.standing.record(verdict.author, verdict.seq, entry.author(), entry.seq(), verdict.passed);
        let after = self.standing.void_from(&self.rules, &verdict.author, self.log.version());
        (before != after).then_some(verdict.author)
    }

    /// Whether the audited update is in the set and the author of `entry` was selected to audit it. A confirming audit needs,
    /// besides, a failed verdict that counts in the causal past of `entry`: else anyone could call for it.
    fn is_drawn_for(&self, entry: &Entry, verdict: &Verdict) -> bool {
        let Some(subject) = self.log.subject(verdict) else { return false };
        let disputed = || self.standing.is_disputed(&verdict.author, verdict.seq, entry.base());
        self.is_eligible(&entry.author(), subject, entry.epoch())
            && self.chance(subject, verdict.stage, entry.epoch()).draws(Verdict::sortition_value(&verdict.draw))
            && (verdict.stage == Stage::First || disputed())
    }

    /// Moves the state to the present weight of every update of `author`.
    fn apply_author(&mut self, author: &PeerId) {
        let held: Vec<u32> = self.log.chain(author).iter().map(|record| record.entry.seq()).collect();
        held.into_iter().for_each(|seq| self.apply_one(author, seq));
    }

    /// Moves the state to the present weight of one update.
    fn apply_one(&mut self, author: &PeerId, seq: u32) {
        let target = self.target_weight(author, seq, self.log.version());
        let Some(record) = self.log.record_mut(author, seq) else { return };
        move_weight(record, [record.applied, target], &mut self.state).expect(PAYLOADS_HELD);
        record.applied = target;
    }

    /// The weight of update `seq` of `author` in the state of `view`: zero if it is void there.
    pub(super) fn target_weight(&self, author: &PeerId, seq: u32, view: &VersionVector) -> Weight {
        let void = || self.standing.void_from(&self.rules, author, view).is_some_and(|from| seq >= from);
        match self.log.record(author, seq) {
            Some(record) if view.contains(author, seq) && !void() => record.weight,
            Some(_) | None => Weight::ZERO,
        }
    }

    /// Cuts off the chain of `author` from position `kept` on and returns the records. Other entries may have counted the
    /// removed ones in their causal past, so all weights that are not final are computed again. Forks are rare: this is
    /// simple rather than fast.
    fn close(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let cut = self.log.close(author, kept);
        self.forget_order();
        self.replay(&self.epochs.newest().view.clone());
        cut
    }

    /// Whether the set holds entries whose causal past names `entry`, which is not in the set yet. This happens only where the
    /// author's chain was closed or excluded before `entry`: then entries that name it were admitted, and weighed without it.
    pub(super) fn is_built_on(&self, entry: &Entry) -> bool {
        let (author, seq) = (entry.author(), entry.seq());
        let may_be = self.log.is_forked(&author) || self.log.excluded(&author).is_some();
        may_be && self.log.records().any(|record| record.entry.base().contains(&author, seq))
    }

    /// Computes all weights that are not final again, after an entry came later than entries that build on it. The order is
    /// restored first, so that the result equals that of a peer which held the entry all along.
    pub(super) fn weigh_again(&mut self) {
        self.restore_order();
        self.replay(&self.epochs.newest().view.clone());
        self.apply_all(&[]);
    }

    /// Sorts the order of insertion so that every entry follows its causal past.
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

    /// Removes entries that left the set from the order of insertion.
    pub(super) fn forget_order(&mut self) {
        let log = &self.log;
        self.order.retain(|(author, seq)| log.record(author, *seq).is_some());
    }

    /// Computes weights and standing of every entry outside `final_view` again, in the order of insertion.
    pub(super) fn replay(&mut self, final_view: &VersionVector) {
        self.standing.keep_within(final_view);
        let open: Vec<(PeerId, u32)> =
            self.order.iter().copied().filter(|(author, seq)| !final_view.contains(author, *seq)).collect();
        open.iter().for_each(|(author, seq)| self.recompute(author, *seq));
    }

    fn recompute(&mut self, author: &PeerId, seq: u32) {
        let Some(entry) = self.log.record(author, seq).map(|record| record.entry.clone()) else { return };
        let (weight, counts) = self.weight_of(&entry);
        self.log.reweigh(author, seq, weight, counts);
        if let Body::Equivocation(evidence) = &entry.header().body {
            self.standing.record_proof(evidence.author, evidence.first.seq, *author, seq);
        }
        if entry.verdict().is_some() {
            self.count_verdict(&entry);
        }
    }
}
