//! The fold as its definition reads, slowly: sums over everything said, floats for weights, nothing remembered.

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Entry, Fold, PeerId, Rules, Verdict, VersionVector};
use murmur_kernels::{Direction, TopK, Weight, fold};

use super::{Said, genesis};

/// Everything said in a run and its rules.
pub(crate) struct Reference<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) said: &'a [Said],
}

impl Reference<'_> {
    fn entries<'v>(&'v self, view: &'v VersionVector) -> impl Iterator<Item = &'v Entry> {
        self.said.iter().map(|said| &said.entry).filter(|entry| view.contains(&entry.author(), entry.seq()))
    }

    /// Entries whose author was trusted in their own causal past: the others' tokens and norms count nowhere.
    fn counting<'v>(&'v self, view: &'v VersionVector) -> impl Iterator<Item = &'v Entry> {
        let trusted = |entry: &&Entry| entry.update().is_some() && self.is_trusted(&entry.author(), entry.base());
        self.entries(view).filter(trusted)
    }

    /// Whether `author` was a founder, or found honest, and was not voided, in `view`.
    pub(crate) fn is_trusted(&self, author: &PeerId, view: &VersionVector) -> bool {
        let vouched = self.rules.is_founder(author) || self.rulings(author, view).iter().any(|(_, passed, _)| *passed);
        vouched && self.void_from(author, view).is_none()
    }

    /// The first position of `author` that a quorum found false in `view`.
    pub(crate) fn void_from(&self, author: &PeerId, view: &VersionVector) -> Option<u32> {
        let mut accusers: BTreeMap<u32, BTreeSet<PeerId>> = BTreeMap::new();
        for (seq, passed, auditor) in self.rulings(author, view) {
            if !passed {
                accusers.entry(seq).or_default().insert(auditor);
            }
        }
        accusers.into_iter().find(|(_, by)| by.len() >= self.rules.audit_quorum as usize).map(|(seq, _)| seq)
    }

    /// Verdicts on `author` in `view` whose auditor was trusted in its own causal past, and, when the author made the update, known
    /// to it and trusted: position, result, auditor.
    fn rulings(&self, author: &PeerId, view: &VersionVector) -> Vec<(u32, bool, PeerId)> {
        let about = self.entries(view).filter_map(|entry| Some((entry, entry.verdict()?)));
        let about = about.filter(|(_, verdict)| verdict.author == *author);
        let known = |auditor: &PeerId, about: &Verdict| {
            let subject = self.said.iter().find(|said| said.entry.hash() == about.update);
            let base = subject.map(|said| said.entry.base()).filter(|base| base.contains(auditor, 0));
            self.rules.is_founder(auditor) || base.is_some_and(|base| self.is_trusted(auditor, base))
        };
        let drawn = about.filter(|(entry, verdict)| known(&entry.author(), verdict));
        let counting = drawn.filter(|(entry, _)| self.is_trusted(&entry.author(), entry.base()));
        counting.map(|(entry, verdict)| (verdict.seq, verdict.passed, entry.author())).collect()
    }

    fn tokens<'v>(entries: impl Iterator<Item = &'v Entry>) -> f64 {
        entries.filter_map(Entry::update).map(|update| update.tokens as f64).sum()
    }

    /// W(u) = α · share · clip · trust, or zero for what is no update.
    pub(crate) fn weight(&self, entry: &Entry) -> f64 {
        let Some(update) = entry.update() else { return 0.0 };
        let (author, base, tokens) = (entry.author(), entry.base(), update.tokens as f64);
        if !self.is_trusted(&author, base) {
            return 0.0;
        }
        // Nothing is final in these histories: the founders' plan holds.
        let mut newcomers: BTreeSet<PeerId> = self.counting(base).map(Entry::author).chain([author]).collect();
        newcomers.retain(|peer| !self.rules.is_founder(peer));
        let segment = self.rules.segment_tokens as f64;
        let share = tokens.min(segment) / segment / (self.rules.founders.len() + newcomers.len()) as f64;
        self.alpha(base) * share * self.clip(base, update.norm)
    }

    fn alpha(&self, base: &VersionVector) -> f64 {
        let (start, end) = (f64::from(self.rules.alpha_start_q16), f64::from(self.rules.alpha_end_q16));
        let done = (Self::tokens(self.counting(base)) / self.rules.token_budget as f64).min(1.0);
        (start + (end - start) * done) / 65536.0
    }

    fn clip(&self, base: &VersionVector, norm: u64) -> f64 {
        let mut newest: BTreeMap<PeerId, (u32, u64)> = BTreeMap::new();
        for entry in self.counting(base) {
            if let Some(update) = entry.update() {
                let slot = newest.entry(entry.author()).or_default();
                *slot = (*slot).max((entry.seq(), update.norm));
            }
        }
        let mut norms: Vec<u64> = newest.into_values().map(|(_, norm)| norm).collect();
        norms.sort_unstable();
        let Some(median) = norms.get(norms.len().saturating_sub(1) / 2) else { return 1.0 };
        (f64::from(self.rules.clip_q16) / 65536.0 * *median as f64 / norm as f64).min(1.0)
    }

    /// The state of `view`, with the integer weights that `fold` gave: θ₀ and one addition after another.
    pub(crate) fn state(&self, held: &Fold, view: &VersionVector) -> Vec<i64> {
        let void: BTreeMap<PeerId, Option<u32>> = view.iter().map(|(a, _)| (a, self.void_from(&a, view))).collect();
        let mut state = genesis();
        for said in self.said.iter().filter(|s| view.contains(&s.entry.author(), s.entry.seq())) {
            let (author, seq) = (said.entry.author(), said.entry.seq());
            let counts = void[&author].is_none_or(|from| seq < from);
            if let Some(payload) = said.payload.as_ref().filter(|_| counts) {
                let weight = held.log().record(&author, seq).map_or(Weight::ZERO, |record| record.weight);
                add(payload, weight, &mut state);
            }
        }
        state
    }
}

/// Adds one payload to a state.
pub(crate) fn add(payload: &[u8], weight: Weight, state: &mut [i64]) {
    fold(TopK::new(64).unwrap(), payload, weight, Direction::Add, state).unwrap();
}
