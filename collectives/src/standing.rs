//! Standing: which authors are trusted and which updates are void, as functions of the verdicts in a set.
//!
//! A verdict counts if its auditor was trusted in the verdict's causal past and selected for the audit; a confirming verdict,
//! only if a failed verdict that counts is in that past. Only verdicts that count are kept here. The condition is evaluated
//! when a verdict is appended and again when a proven fork removes entries, never when an entry is admitted: so standing in
//! a view is a pure function of the entries that the view names, and peers with equal sets agree on it. Pruned verdicts
//! leave their result only; every view that can still be asked about contains them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{AuthorTotals, PeerId, Rules, VersionVector};

/// One verdict that counts.
#[derive(Clone, Copy, Debug)]
struct Ruling {
    target_seq: u32,
    auditor: PeerId,
    auditor_seq: u32,
    passed: bool,
}

/// The result of pruned verdicts and proofs about one author.
#[derive(Clone, Copy, Default, Debug)]
struct Past {
    vouched: bool,
    void_from: Option<u32>,
    forked: bool,
}

/// An entry that proves a fork.
#[derive(Clone, Copy, Debug)]
struct Proof {
    accused: PeerId,
    /// The first position of the accused that does not count.
    from: u32,
    by: PeerId,
    by_seq: u32,
}

/// All verdicts that count, by audited author, and all proofs of forks.
#[derive(Clone, Default, Debug)]
pub(crate) struct Standing {
    rulings: BTreeMap<PeerId, Vec<Ruling>>,
    proofs: Vec<Proof>,
    past: BTreeMap<PeerId, Past>,
    /// Verdicts that counted and are pruned: passed, failed.
    past_tally: (u64, u64),
}

impl Standing {
    /// Records a verdict of `auditor` (its entry number `auditor_seq`) on update `target_seq` of `target`.
    pub(crate) fn record(&mut self, target: PeerId, target_seq: u32, auditor: PeerId, auditor_seq: u32, passed: bool) {
        let ruling = Ruling { target_seq, auditor, auditor_seq, passed };
        self.rulings.entry(target).or_default().push(ruling);
    }

    /// Records an entry of `by` (its number `by_seq`) that proves a fork of `accused` at position `from`.
    pub(crate) fn record_proof(&mut self, accused: PeerId, from: u32, by: PeerId, by_seq: u32) {
        self.proofs.push(Proof { accused, from, by, by_seq });
    }

    /// Whether a proof against `author` is in `view`.
    pub(crate) fn is_forked(&self, author: &PeerId, view: &VersionVector) -> bool {
        self.is_cut_at(author, u32::MAX, view)
    }

    /// Whether `view` contains the proof that nothing of `author` from position `count` on is in it.
    pub(crate) fn is_cut_at(&self, author: &PeerId, count: u32, view: &VersionVector) -> bool {
        let seen = |p: &Proof| p.accused == *author && p.from <= count && view.contains(&p.by, p.by_seq);
        self.past(author).forked || self.proofs.iter().any(seen)
    }

    /// Forgets verdicts and proofs outside `view`.
    pub(crate) fn keep_within(&mut self, view: &VersionVector) {
        self.rulings.values_mut().for_each(|all| all.retain(|r| view.contains(&r.auditor, r.auditor_seq)));
        self.proofs.retain(|proof| view.contains(&proof.by, proof.by_seq));
    }

    /// Completes totals at `view` with what is known here of their authors.
    pub(crate) fn complete(&self, rules: &Rules, author_totals: &mut [AuthorTotals], view: &VersionVector) {
        for totals in author_totals {
            totals.vouched = self.is_vouched(&totals.author, view);
            totals.void_from = self.void_from(rules, &totals.author, view);
            totals.forked = self.is_forked(&totals.author, view);
        }
    }

    /// Keeps only what verdicts and proofs in `view` came to, which the totals say.
    pub(crate) fn prune(&mut self, author_totals: &[AuthorTotals], view: &VersionVector) {
        let (passed, failed) = self.tally(view);
        self.past_tally = (passed, failed);
        for totals in author_totals {
            let AuthorTotals { vouched, void_from, forked, .. } = *totals;
            self.past.insert(totals.author, Past { vouched, void_from, forked });
        }
        self.rulings.values_mut().for_each(|all| all.retain(|r| !view.contains(&r.auditor, r.auditor_seq)));
        self.rulings.retain(|_, all| !all.is_empty());
        self.proofs.retain(|proof| !view.contains(&proof.by, proof.by_seq));
    }

    fn past(&self, author: &PeerId) -> Past {
        self.past.get(author).copied().unwrap_or_default()
    }

    fn is_vouched(&self, author: &PeerId, view: &VersionVector) -> bool {
        self.past(author).vouched || self.seen(author, view).any(|ruling| ruling.passed)
    }

    /// Whether `author` was trusted in `view`: a founder or audited and passed, and not found cheating.
    pub(crate) fn is_trusted(&self, rules: &Rules, author: &PeerId, view: &VersionVector) -> bool {
        let vouched = rules.is_founder(author) || self.is_vouched(author, view);
        vouched && self.void_from(rules, author, view).is_none()
    }

    /// The first update of `author` that a quorum in `view` found false; it and all later ones are void.
    pub(crate) fn void_from(&self, rules: &Rules, author: &PeerId, view: &VersionVector) -> Option<u32> {
        let mut accusers: BTreeMap<u32, BTreeSet<PeerId>> = BTreeMap::new();
        for ruling in self.seen(author, view).filter(|ruling| !ruling.passed) {
            accusers.entry(ruling.target_seq).or_default().insert(ruling.auditor);
        }
        let quorum = usize::try_from(rules.audit_quorum).unwrap_or(usize::MAX);
        let found = accusers.into_iter().find(|(_, auditors)| auditors.len() >= quorum).map(|(seq, _)| seq);
        self.past(author).void_from.into_iter().chain(found).min()
    }

    /// Verdicts that count in `view`: (passed, failed).
    pub(crate) fn tally(&self, view: &VersionVector) -> (u64, u64) {
        let all = self.rulings.keys().flat_map(|author| self.seen(author, view));
        all.fold(
            self.past_tally,
            |(passed, failed), r| if r.passed { (passed + 1, failed) } else { (passed, failed + 1) },
        )
    }

    /// Whether anyone in `view` whose verdict counts found update `seq` of `author` false.
    pub(crate) fn is_disputed(&self, author: &PeerId, seq: u32, view: &VersionVector) -> bool {
        self.seen(author, view).any(|ruling| ruling.target_seq == seq && !ruling.passed)
    }

    fn seen<'a>(&'a self, author: &PeerId, view: &'a VersionVector) -> impl Iterator<Item = &'a Ruling> {
        let rulings = self.rulings.get(author).map_or(&[][..], Vec::as_slice);
        rulings.iter().filter(|ruling| view.contains(&ruling.auditor, ruling.auditor_seq))
    }
}
