//! The log: every author's chain of entries, always causally closed.
//!
//! Contract: [`Log::admit`] says whether an entry fits; only an entry that is [`Admission::Ready`] may be appended. Every
//! entry in the log has its whole causal past in the log, so a sum over a causal past is a sum of prefix sums of chains.
//! An excluded entry leaves a gap in its chain; entries that have been final for two epochs are pruned to totals.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use murmur_kernels::Weight;

use crate::{AuthorTotals, BASE_AUTHORS_MAX, Entry, Epochs, Hash, Kept, PeerId, Row, Verdict, VersionVector};
use chain::Chain;
pub use chain::{NextPosition, Record};

mod admit;
mod chain;
mod retain;

/// The answer of [`Log::admit`].
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// The entry fits and may be appended.
    Ready,
    /// The entry is in the log already, or its author's chain is closed before its position.
    Known,
    /// Entries of its own chain or of its causal past must come first.
    Waits {
        /// For each author, how many entries are needed.
        needs: VersionVector,
    },
    /// The entry names an epoch that is not final here yet: the certificate must come first.
    Early {
        /// The epoch.
        epoch: u32,
    },
    /// A final frontier excludes the entry: its author must continue after it.
    Excluded,
    /// The log holds an entry of this author that contradicts it: a fork, and here is the other branch.
    Forks(Box<Entry>),
    /// The entry continues a branch that the log does not hold: the fork is at this position or before.
    OtherBranch {
        /// The position before the entry's own.
        seq: u32,
    },
    /// The entry can never fit, and its author signed it.
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
    /// It names an epoch without having seen it whole, or one before that of the author's previous entry, or one that would
    /// keep it in the set when the author's enrolment leaves it.
    #[error("the epoch is not one that its past knows")]
    Epoch,
    /// Steps, tokens or segment number break the rules.
    #[error("steps, tokens or segment number are not allowed")]
    Work,
    /// The rules ask for another numeric class.
    #[error("the numeric class is not the run's")]
    Class,
    /// It carries more of the parameters than the rules allow, or a number that no payload has.
    #[error("the density of the payload is not allowed")]
    Density,
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

/// A stretch of a chain that a final frontier excluded after other authors had named it.
#[derive(Clone, Copy, Debug)]
struct Gap {
    author: PeerId,
    from: u32,
    by_epoch: u32,
}

/// All chains of a run.
#[derive(Clone, Default, Debug)]
pub struct Log {
    chains: BTreeMap<PeerId, Chain>,
    /// Authors with a proven fork, and the position from which their entries contradict each other.
    forked: BTreeMap<PeerId, u32>,
    version: VersionVector,
    /// What is final.
    final_view: VersionVector,
    /// What will be final as soon as it is held.
    target: BTreeMap<PeerId, Row>,
    /// Each author's newest excluded entry, as long as no final frontier names a later one.
    excluded: BTreeMap<PeerId, Arc<Entry>>,
    gaps: Vec<Gap>,
    /// Records that proofs of forks cut off since the newest frontier became final. They are kept because a frontier that is
    /// already decided may name them, and a peer that dropped them could not follow it. Bounded: a closed chain takes in
    /// nothing but what is decided.
    cut_off: Vec<Record>,
    /// Recent bases with different lists of authors: entries share these lists, which would else fill most of the memory.
    bases: VecDeque<VersionVector>,
}

impl Log {
    /// How many positions of each author the log holds or has seen pass.
    pub fn version(&self) -> &VersionVector {
        &self.version
    }

    /// The record of entry `seq` of `author`, unless it is pruned, excluded or unknown.
    pub fn record(&self, author: &PeerId, seq: u32) -> Option<&Record> {
        self.chains.get(author)?.record(seq)
    }

    /// All records of `author` that are not pruned, in order. Positions may have gaps: see [`Log::from`].
    pub fn chain(&self, author: &PeerId) -> &[Record] {
        self.chains.get(author).map_or(&[], |chain| chain.records.as_slice())
    }

    /// Records of `author` from position `seq` on.
    pub fn from(&self, author: &PeerId, seq: u32) -> &[Record] {
        self.chains.get(author).map_or(&[], |chain| &chain.records[chain.index(seq)..])
    }

    /// Records that proofs of forks cut off, kept until the next frontier is final.
    pub fn cut_off(&self) -> &[Record] {
        &self.cut_off
    }

    /// All records that are not pruned, by author, each chain in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.chains.values().flat_map(|chain| &chain.records)
    }

    /// Hash of the newest entry of `author`, [`Hash::NONE`] without one.
    pub fn head(&self, author: &PeerId) -> Hash {
        self.head_at(author, self.version.count(author)).unwrap_or(Hash::NONE)
    }

    /// Hash of the entry at the last of the first `count` positions of `author`, if it is known.
    pub fn head_at(&self, author: &PeerId, count: u32) -> Option<Hash> {
        self.chains.get(author)?.head_at(count)
    }

    /// The position of the next entry of `author`: after its newest entry, even if that one was excluded.
    pub fn next_position(&self, author: &PeerId) -> NextPosition {
        let next = self
            .chains
            .get(author)
            .map_or(NextPosition { seq: 0, previous: Hash::NONE, epoch: 0 }, Chain::next_position);
        match self.excluded.get(author).filter(|entry| entry.seq() >= next.seq) {
            Some(entry) => NextPosition { seq: entry.seq() + 1, previous: entry.hash(), epoch: entry.epoch() },
            None => next,
        }
    }

    /// The newest excluded entry of `author`, until a final frontier names a later entry.
    pub fn excluded(&self, author: &PeerId) -> Option<&Arc<Entry>> {
        self.excluded.get(author)
    }

    /// Every author's newest excluded entry. A peer needs it to admit the entries that follow it.
    pub fn all_excluded(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.excluded.values()
    }

    /// Positions of `author` that need not be asked for: held, pruned or excluded.
    pub fn reach(&self, author: &PeerId) -> u32 {
        let excluded = self.excluded.get(author).map_or(0, |entry| entry.seq() + 1);
        self.version.count(author).max(excluded)
    }

    /// Tokens that count of all updates that `view` names: the token clock. Work on probation does not move it.
    pub fn clock(&self, view: &VersionVector) -> u64 {
        view.iter().map(|(author, count)| self.tokens(&author, count)).sum()
    }

    /// Tokens that count of all updates of `author`.
    pub fn tokens_of(&self, author: &PeerId) -> u64 {
        self.tokens(author, u32::MAX)
    }

    /// Updates that `view` names.
    pub fn update_count(&self, view: &VersionVector) -> u64 {
        view.iter().map(|(author, count)| u64::from(self.totals(&author, count).updates)).sum()
    }

    /// Updates of `author` so far: the number of its next segment.
    pub fn segments(&self, author: &PeerId) -> u32 {
        self.totals(author, u32::MAX).updates
    }

    /// Root of the carry after the newest update of `author`; nothing if its span goes on.
    pub fn carry(&self, author: &PeerId) -> Option<Hash> {
        self.chains.get(author)?.carry(u32::MAX).filter(|root| *root != Hash::NONE)
    }

    /// Whether audits can vouch for the carry after the newest update of `author`: it goes back to a fresh one, and nothing of the
    /// chain is missing since. If not, an update that goes on from it weighs nothing.
    pub fn is_founded(&self, author: &PeerId) -> bool {
        self.is_founded_at(author, self.next_position(author).seq)
    }

    /// The same of the carry before position `seq`.
    pub(crate) fn is_founded_at(&self, author: &PeerId, seq: u32) -> bool {
        self.chains.get(author).is_none_or(|chain| chain.founded_until(seq))
    }

    /// Updates of the newest span of `author` so far, if that goes on and no entry that names `epoch` may be admitted without it:
    /// what such entries depend on is never pruned.
    pub fn open_updates(&self, epochs: &Epochs, author: &PeerId, epoch: u32) -> Option<u32> {
        let mut updates = self.chain(author).iter().rev().filter_map(|record| Some((record, record.entry.update()?)));
        let mut count = 0;
        let first = loop {
            let (record, update) = updates.next().filter(|(_, update)| !update.ends_span())?;
            count += 1;
            if update.begins_span() {
                break record.entry.seq();
            }
        };
        let is_past = epochs.horizon(epoch).is_some_and(|view| view.contains(author, first));
        (!is_past && !self.is_broken(author)).then_some(count)
    }

    /// The updates of the span that begins with update `first` of `author`, in order, and whether no more can follow: the last
    /// one ends it, or the author began another.
    pub fn span(&self, author: &PeerId, first: u32) -> (Vec<&Record>, bool) {
        let mut span = Vec::new();
        let updates = self.from(author, first).iter().filter_map(|record| Some((record, record.entry.update()?)));
        for (record, update) in updates {
            if update.begins_span() != span.is_empty() {
                return (span, true);
            }
            span.push(record);
            if update.ends_span() {
                return (span, true);
            }
        }
        (span, false)
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
        self.chains.get(author)?.vrf_key()
    }

    /// Position and epoch of the enrolment of `author`, unless it is pruned.
    pub(crate) fn enrolment(&self, author: &PeerId) -> Option<(u32, u32)> {
        let chain = self.chains.get(author).filter(|chain| chain.pruned_totals.is_none())?;
        chain.records.first().map(|record| (record.entry.seq(), record.entry.epoch()))
    }

    /// The newest update of `author`, void or not, unless it is pruned.
    pub fn last_update(&self, author: &PeerId) -> Option<&Record> {
        self.chain(author).iter().rev().find(|record| record.entry.update().is_some())
    }

    /// Whether the set still holds exactly the causal past that the author of `entry` saw. Not if parts of it were excluded
    /// since, or if this set holds entries that a fork had cut off at the author: then no replay gives the author's bits.
    pub fn is_past_whole(&self, entry: &Entry) -> bool {
        self.is_whole_since(entry.base(), entry.epoch()) && !self.is_torn(entry.base())
    }

    /// Whether an entry in `base` builds on an entry of a forked chain that is held and that `base` does not name. A peer that
    /// had seen just `base` gave the former another weight.
    fn is_torn(&self, base: &VersionVector) -> bool {
        self.forked().any(|forger| {
            let Some(missing) = self.from(&forger, base.count(&forger)).first() else { return false };
            let builds_on_it = |record: &Record| {
                let (author, seq) = (record.entry.author(), record.entry.seq());
                base.contains(&author, seq) && record.entry.base().contains(&forger, missing.entry.seq())
            };
            self.records().any(builds_on_it)
        })
    }

    /// Whether no epoch after `epoch` excluded part of `base`.
    pub fn is_whole_since(&self, base: &VersionVector, epoch: u32) -> bool {
        let touched = |gap: &Gap| gap.by_epoch > epoch && base.count(&gap.author) > gap.from;
        !self.gaps.iter().any(touched)
    }

    fn has_chain(&self, author: &PeerId) -> bool {
        self.chains.get(author).is_some_and(|chain| chain.pruned_totals.is_some() || !chain.records.is_empty())
    }

    /// Whether entries are missing between the newest update of `author` and its next position.
    fn is_broken(&self, author: &PeerId) -> bool {
        self.missing(author, self.next_position(author).seq) > 0
    }

    /// How many positions are missing between the newest update of `author` and position `seq`, which follows all that is held.
    fn missing(&self, author: &PeerId, seq: u32) -> u32 {
        self.chains.get(author).map_or(seq, |chain| chain.missing_before(seq).unwrap_or(0))
    }

    /// The update that `verdict` is about, if it is in the log.
    pub(crate) fn subject(&self, verdict: &Verdict) -> Option<&Entry> {
        let subject = self.record(&verdict.author, verdict.seq).map(|record| record.entry.as_ref());
        subject.filter(|entry| entry.update().is_some() && entry.hash() == verdict.update)
    }

    /// Whether a proven fork removed entry `seq` of `author` from the set, or keeps it out. Verdicts about it stay in their
    /// authors' chains and do not count.
    pub fn is_cut(&self, author: &PeerId, seq: u32) -> bool {
        self.allowed(author).is_some_and(|allowed| seq >= allowed)
    }

    /// Whether entry `seq` of `author` was excluded.
    pub fn is_left_out(&self, author: &PeerId, seq: u32) -> bool {
        seq < self.reach(author) && seq >= self.pruned(author) && self.record(author, seq).is_none()
    }

    /// How many positions of a forked author may be held: what is final stays. `None` for an author without a fork.
    fn allowed(&self, author: &PeerId) -> Option<u32> {
        let kept = self.forked.get(author)?;
        Some((*kept).max(self.final_view.count(author)).max(self.target_count(author)))
    }

    fn target_count(&self, author: &PeerId) -> u32 {
        self.target.get(author).map_or(0, |row| row.count)
    }

    fn pruned(&self, author: &PeerId) -> u32 {
        self.chains.get(author).map_or(0, Chain::pruned)
    }

    /// Whether `auditor` has given a verdict on update `seq` of `author`.
    pub fn has_judged(&self, auditor: &PeerId, author: &PeerId, seq: u32) -> bool {
        let verdicts = self.chain(auditor).iter().filter_map(|record| record.entry.verdict());
        verdicts.into_iter().any(|verdict| verdict.author == *author && verdict.seq == seq)
    }

    /// How stale `entry` is here: tokens that count, are of others, and are in the set but not in the causal past of `entry`.
    pub fn age(&self, entry: &Entry) -> u64 {
        self.tokens_between(Some(entry.base()), &self.version, &entry.author())
    }

    /// Tokens that count and that authors other than `except` added between two views.
    pub(crate) fn tokens_between(&self, from: Option<&VersionVector>, to: &VersionVector, except: &PeerId) -> u64 {
        let added = |(author, count)| {
            let before = from.map_or(0, |view| self.tokens(&author, view.count(&author)));
            self.tokens(&author, count).saturating_sub(before)
        };
        to.iter().filter(|(author, _)| author != except).map(added).sum()
    }

    /// Median over authors of the norm of each one's newest update in `view`; the lower of two middles.
    pub(crate) fn median_norm(&self, view: &VersionVector) -> Option<u64> {
        let newest = |(author, count)| self.totals(&author, count).latest_norm;
        let mut norms: Vec<u64> = view.iter().filter_map(newest).collect();
        norms.sort_unstable();
        norms.get(norms.len().saturating_sub(1) / 2).copied()
    }

    /// Tokens that count of the first `count` positions of `author`.
    pub(crate) fn tokens(&self, author: &PeerId, count: u32) -> u64 {
        self.totals(author, count).tokens
    }

    fn totals(&self, author: &PeerId, count: u32) -> chain::Totals {
        self.chains.get(author).map(|chain| chain.totals(count)).unwrap_or_default()
    }
}
