//! Standing: which authors are trusted and which updates are void, as functions of the verdicts in a set.
//!
//! Only verdicts that count are kept: their auditor was itself trusted in the verdict's own causal past. So standing
//! in any view is a pure function of the entries the view names.

use std::collections::{BTreeMap, BTreeSet};

use crate::{PeerId, Rules, VersionVector};

/// One verdict that counts.
#[derive(Clone, Copy, Debug)]
struct Ruling {
    target_seq: u32,
    auditor: PeerId,
    auditor_seq: u32,
    passed: bool,
}

/// All verdicts that count, by audited author.
#[derive(Clone, Default, Debug)]
pub(crate) struct Standing {
    rulings: BTreeMap<PeerId, Vec<Ruling>>,
}

impl Standing {
    /// Records a verdict of `auditor` (its entry number `auditor_seq`) on update `target_seq` of `target`.
    pub(crate) fn record(&mut self, target: PeerId, target_seq: u32, auditor: PeerId, auditor_seq: u32, passed: bool) {
        let ruling = Ruling { target_seq, auditor, auditor_seq, passed };
        self.rulings.entry(target).or_default().push(ruling);
    }

    /// Whether `author` was trusted in `view`: a founder or audited and passed, and not found cheating.
    pub(crate) fn is_trusted(&self, rules: &Rules, author: &PeerId, view: &VersionVector) -> bool {
        let vouched = rules.is_founder(author) || self.seen(author, view).any(|ruling| ruling.passed);
        vouched && self.void_from(rules, author, view).is_none()
    }

    /// The first update of `author` that a quorum in `view` found false; it and all later ones are void.
    pub(crate) fn void_from(&self, rules: &Rules, author: &PeerId, view: &VersionVector) -> Option<u32> {
        let mut accusers: BTreeMap<u32, BTreeSet<PeerId>> = BTreeMap::new();
        for ruling in self.seen(author, view).filter(|ruling| !ruling.passed) {
            accusers.entry(ruling.target_seq).or_default().insert(ruling.auditor);
        }
        let quorum = usize::try_from(rules.audit_quorum).unwrap_or(usize::MAX);
        accusers.into_iter().find(|(_, auditors)| auditors.len() >= quorum).map(|(seq, _)| seq)
    }

    /// Verdicts that count in `view`: (passed, failed).
    pub(crate) fn tally(&self, view: &VersionVector) -> (u64, u64) {
        let all = self.rulings.keys().flat_map(|author| self.seen(author, view));
        all.fold((0, 0), |(passed, failed), r| if r.passed { (passed + 1, failed) } else { (passed, failed + 1) })
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
