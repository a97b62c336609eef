//! The log: every author's chain of entries, always causally closed.
//!
//! Contract: [`Log::admit`] says whether an entry fits; only an entry that is [`Admission::Ready`] may be appended. What
//! is in the log has its whole causal past in the log, so sums over the past are prefix sums over chains.

use std::{collections::BTreeMap, sync::Arc};

use murmur_kernels::Weight;

use crate::{Body, Entry, Equivocation, Hash, PeerId, Rules, Update, Verdict, VersionVector};

/// One accepted entry and what follows from its place in the chain.
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
    /// Tokens of this chain up to and including this entry.
    pub tokens_until: u64,
    /// Updates in this chain up to and including this entry.
    pub updates_until: u32,
    /// Norm of the chain's newest update up to here.
    pub latest_norm: Option<u64>,
}

/// What the log says of an entry before it is appended.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// It fits: append it.
    Ready,
    /// It is in the log already, or its author's chain is closed before it.
    Known,
    /// Something must come first: entries of its own chain, or of its causal past.
    Waits {
        /// For each author, how many entries are needed.
        needs: VersionVector,
    },
    /// The log holds another entry of this author at this position: a fork, and here is the other branch.
    Forks(Box<Entry>),
    /// It continues a branch that the log does not hold: the fork is at this position or before.
    OtherBranch {
        /// The position before the entry's own.
        seq: u32,
    },
    /// It can never fit, and its author signed it.
    Invalid(Invalid),
}

/// Why a signed entry can never be part of this run's log. The author's fault.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    /// Signed for another run.
    #[error("belongs to another run")]
    Run,
    /// The first entry of a chain must enroll, and only the first may.
    #[error("a chain starts with its enrolment, and only there")]
    Enrolment,
    /// An update's base is smaller than that of the author's previous update, or a base names entries of its own that do not exist yet.
    #[error("the base goes backwards or into the future")]
    Base,
    /// Steps, tokens or segment number break the rules.
    #[error("steps, tokens or segment number are not allowed")]
    Work,
    /// The payload's claimed length is impossible.
    #[error("payload length is not allowed")]
    PayloadLength,
    /// The verdict's subject is not an update in its causal past, or is the auditor's own, or was judged before.
    #[error("the verdict's subject is not one it may judge")]
    Subject,
    /// The carry does not continue the author's chain.
    #[error("the carry does not continue the chain")]
    Carry,
    /// The evidence of a fork does not hold, is about its own author, or its base lacks what stays of the forked chain.
    #[error("the evidence does not hold")]
    Evidence,
}

/// All chains of a run.
#[derive(Clone, Default, Debug)]
pub struct Log {
    chains: BTreeMap<PeerId, Vec<Record>>,
    /// Authors with a proven fork, and how many of their entries stay.
    forked: BTreeMap<PeerId, u32>,
    version: VersionVector,
}

impl Log {
    /// How many entries of each author the log holds.
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// The record of entry `seq` of `author`.
    pub fn record(&self, author: &PeerId, seq: u32) -> Option<&Record> {
        self.chain(author).get(seq as usize)
    }

    /// All records of `author`, in order.
    pub fn chain(&self, author: &PeerId) -> &[Record] {
        self.chains.get(author).map_or(&[], Vec::as_slice)
    }

    /// All records, by author, each chain in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.chains.values().flatten()
    }

    /// Hash of the newest entry of `author`, [`Hash::NONE`] without one.
    pub fn head(&self, author: &PeerId) -> Hash {
        self.chain(author).last().map_or(Hash::NONE, |record| record.entry.hash())
    }

    /// Tokens of all updates that `view` names: the token clock.
    pub fn clock(&self, view: &VersionVector) -> u64 {
        view.iter().map(|(author, count)| self.tokens(&author, count)).sum()
    }

    /// Updates that `view` names.
    pub fn update_count(&self, view: &VersionVector) -> u64 {
        view.iter()
            .filter_map(|(author, count)| self.last_within(&author, count))
            .map(|r| u64::from(r.updates_until))
            .sum()
    }

    /// Whether a fork by `author` is proven.
    pub fn is_forked(&self, author: &PeerId) -> bool {
        self.forked.contains_key(author)
    }

    /// Authors with a proven fork.
    pub fn forked(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.forked.keys().copied()
    }

    /// The sortition key `author` enrolled.
    pub fn vrf_key(&self, author: &PeerId) -> Option<[u8; 32]> {
        match &self.record(author, 0)?.entry.header().body {
            Body::Enroll(enroll) => Some(enroll.vrf_key),
            Body::Equivocation(_) | Body::Update(_) | Body::Verdict(_) => None,
        }
    }

    /// The newest update of `author`, void or not.
    pub fn last_update(&self, author: &PeerId) -> Option<&Record> {
        self.chain(author).iter().rev().find(|record| record.entry.update().is_some())
    }

    /// Says whether `entry` fits. Looks at the chain, the causal past and the rules; not at payload or lottery.
    pub fn admit(&self, run: Hash, rules: &Rules, entry: &Entry) -> Admission {
        if entry.header().run != run {
            return Admission::Invalid(Invalid::Run);
        }
        let (author, seq) = (entry.author(), entry.seq());
        if self.is_cut(&author, seq) {
            return Admission::Known;
        }
        if entry.base().count(&author) > seq {
            return Admission::Invalid(Invalid::Base);
        }
        if let Some(record) = self.record(&author, seq) {
            return self.compare(&record.entry, entry);
        }
        let length = self.version.count(&author);
        if seq > length {
            return Admission::Waits { needs: [(author, seq)].into_iter().collect() };
        }
        if entry.header().previous != self.head(&author) {
            return Self::fork_before(seq);
        }
        if !self.has_past(entry.base()) {
            return Admission::Waits { needs: entry.base().clone() };
        }
        if let Some(needs) = self.subject_on_other_branch(entry) {
            return Admission::Waits { needs };
        }
        match self.check(rules, entry) {
            Ok(()) => Admission::Ready,
            Err(invalid) => Admission::Invalid(invalid),
        }
    }

    fn compare(&self, held: &Arc<Entry>, entry: &Entry) -> Admission {
        if held.hash() == entry.hash() { Admission::Known } else { Admission::Forks(Box::new(held.as_ref().clone())) }
    }

    /// `entry` continues a branch we do not hold: the fork is at some earlier position, so that one is asked for.
    fn fork_before(seq: u32) -> Admission {
        match seq.checked_sub(1) {
            Some(before) => Admission::OtherBranch { seq: before },
            None => Admission::Invalid(Invalid::Enrolment),
        }
    }

    fn has_past(&self, base: &VersionVector) -> bool {
        let wanted = |author: &PeerId, count: u32| self.forked.get(author).map_or(count, |kept| count.min(*kept));
        base.iter().all(|(author, count)| self.version.count(&author) >= wanted(&author, count))
    }

    /// A verdict on an entry of which the log holds another branch waits until the fork is proven.
    fn subject_on_other_branch(&self, entry: &Entry) -> Option<VersionVector> {
        let verdict = entry.verdict().filter(|verdict| entry.base().contains(&verdict.author, verdict.seq))?;
        let held = self.record(&verdict.author, verdict.seq)?;
        (held.entry.hash() != verdict.update).then(|| [(verdict.author, verdict.seq + 1)].into_iter().collect())
    }

    fn check(&self, rules: &Rules, entry: &Entry) -> Result<(), Invalid> {
        let first = entry.seq() == 0;
        match &entry.header().body {
            Body::Enroll(_) if first => Ok(()),
            Body::Enroll(_) => Err(Invalid::Enrolment),
            Body::Equivocation(_) | Body::Update(_) | Body::Verdict(_) if first => Err(Invalid::Enrolment),
            Body::Equivocation(evidence) => Self::check_evidence(entry, evidence),
            Body::Update(update) => self.check_update(rules, entry, update),
            Body::Verdict(_) => self.check_verdict(entry),
        }
    }

    /// The base must hold what stays of the forked chain: who has the evidence no longer asks for more of that chain.
    /// Evidence against its own author would cut itself off.
    fn check_evidence(entry: &Entry, evidence: &Equivocation) -> Result<(), Invalid> {
        let (accused, kept) = evidence.accused(entry.header().run).map_err(|_| Invalid::Evidence)?;
        let allowed = accused != entry.author() && entry.base().count(&accused) >= kept;
        if allowed { Ok(()) } else { Err(Invalid::Evidence) }
    }

    fn check_update(&self, rules: &Rules, entry: &Entry, update: &Update) -> Result<(), Invalid> {
        let chain = self.chain(&entry.author());
        let segment = chain.last().map_or(0, |record| record.updates_until);
        let tokens = u64::from(update.steps) * u64::from(rules.tokens_per_step);
        if update.steps == 0 || update.steps > rules.steps_max || update.tokens != tokens || update.segment != segment {
            return Err(Invalid::Work);
        }
        let most = murmur_kernels::payload_bytes_max(rules.top_k(), rules.parameter_count());
        if update.payload_bytes as usize > most {
            return Err(Invalid::PayloadLength);
        }
        let last = self.last_update(&entry.author());
        if last.is_some_and(|record| !entry.base().includes(record.entry.base())) {
            return Err(Invalid::Base);
        }
        let carried = last.and_then(|record| record.entry.update()).map(|update| update.carry_after);
        if update.carry_before != Hash::NONE && Some(update.carry_before) != carried {
            return Err(Invalid::Carry);
        }
        Ok(())
    }

    fn check_verdict(&self, entry: &Entry) -> Result<(), Invalid> {
        let Some(verdict) = entry.verdict() else { return Err(Invalid::Subject) };
        let known = entry.base().contains(&verdict.author, verdict.seq);
        let same = self.holds_subject(verdict) || self.is_cut(&verdict.author, verdict.seq);
        let again = self.has_judged(&entry.author(), &verdict.author, verdict.seq);
        if !known || !same || again || verdict.author == entry.author() {
            return Err(Invalid::Subject);
        }
        Ok(())
    }

    /// Whether the update that `verdict` is about is in the log.
    pub(crate) fn holds_subject(&self, verdict: &Verdict) -> bool {
        let subject = self.record(&verdict.author, verdict.seq).filter(|record| record.entry.update().is_some());
        subject.is_some_and(|record| record.entry.hash() == verdict.update)
    }

    /// Whether entry `seq` of `author` left the set, or can never enter it, because of a proven fork. What others said
    /// about it when they held it stays in their chains, and counts for nothing.
    pub fn is_cut(&self, author: &PeerId, seq: u32) -> bool {
        self.forked.get(author).is_some_and(|kept| seq >= *kept)
    }

    /// Whether `auditor` has given a verdict on update `seq` of `author`.
    pub fn has_judged(&self, auditor: &PeerId, author: &PeerId, seq: u32) -> bool {
        let verdicts = self.chain(auditor).iter().filter_map(|record| record.entry.verdict());
        verdicts.into_iter().any(|verdict| verdict.author == *author && verdict.seq == seq)
    }

    /// Appends an admitted entry.
    pub(crate) fn append(&mut self, entry: Arc<Entry>, payload: Option<Arc<[u8]>>, weight: Weight) {
        let (author, seq) = (entry.author(), entry.seq());
        let chain = self.chains.entry(author).or_default();
        debug_assert_eq!(chain.len(), seq as usize, "only an admitted entry is appended");
        let last = chain.last();
        let (tokens, updates) = last.map_or((0, 0), |record| (record.tokens_until, record.updates_until));
        let update = entry.update();
        chain.push(Record {
            payload,
            weight,
            applied: Weight::ZERO,
            tokens_until: tokens + update.map_or(0, |u| u.tokens),
            updates_until: updates + u32::from(update.is_some()),
            latest_norm: update.map(|u| u.norm).or(last.and_then(|record| record.latest_norm)),
            entry,
        });
        self.version.set(author, seq + 1);
    }

    /// Closes the chain of a forked author after its first `kept` entries and returns what was cut off.
    pub(crate) fn close(&mut self, author: PeerId, kept: u32) -> Vec<Record> {
        let kept = self.forked.get(&author).map_or(kept, |before| kept.min(*before));
        self.forked.insert(author, kept);
        let Some(chain) = self.chains.get_mut(&author) else { return Vec::new() };
        let cut = chain.split_off(chain.len().min(kept as usize));
        self.version.set(author, u32::try_from(chain.len()).unwrap_or(u32::MAX));
        cut
    }

    pub(crate) fn record_mut(&mut self, author: &PeerId, seq: u32) -> Option<&mut Record> {
        self.chains.get_mut(author)?.get_mut(seq as usize)
    }

    /// The base of the author's update before segment `segment`.
    pub(crate) fn base_of_last_update(&self, author: &PeerId, segment: u32) -> Option<VersionVector> {
        let chain = self.chain(author);
        let before = chain.partition_point(|record| record.updates_until < segment);
        let record = chain.get(before).filter(|record| segment > 0 && record.entry.update().is_some())?;
        Some(record.entry.base().clone())
    }

    /// Tokens that authors other than `except` added between two views.
    pub(crate) fn tokens_between(&self, from: Option<&VersionVector>, to: &VersionVector, except: &PeerId) -> u64 {
        let added = |(author, count)| {
            let before = from.map_or(0, |view| self.tokens(&author, view.count(&author)));
            self.tokens(&author, count).saturating_sub(before)
        };
        to.iter().filter(|(author, _)| author != except).map(added).sum()
    }

    /// Median over authors of the norm of each one's newest update in `view`; the lower of two middles.
    pub(crate) fn median_norm(&self, view: &VersionVector) -> Option<u64> {
        let newest = |(author, count)| self.last_within(&author, count)?.latest_norm;
        let mut norms: Vec<u64> = view.iter().filter_map(newest).collect();
        norms.sort_unstable();
        norms.get(norms.len().saturating_sub(1) / 2).copied()
    }

    fn tokens(&self, author: &PeerId, count: u32) -> u64 {
        self.last_within(author, count).map_or(0, |record| record.tokens_until)
    }

    fn last_within(&self, author: &PeerId, count: u32) -> Option<&Record> {
        let chain = self.chain(author);
        chain.get(..chain.len().min(count as usize))?.last()
    }
}
