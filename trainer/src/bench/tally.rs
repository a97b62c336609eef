//! Counts which peer folded which update at which time, and which entries final frontiers left out. No input or output.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{Excluded, Folded};

/// An update: its author in hex and its position.
pub(super) type Name = (String, u32);

/// An update that some process folded, and the earliest time, in microseconds since 1970, by process.
type Folds = BTreeMap<usize, u64>;

/// All folds and exclusions that processes reported, the dead ones included.
#[derive(Debug, Default)]
pub(super) struct Tally {
    folds: BTreeMap<Name, Folds>,
    /// Which process announced an update.
    authors: BTreeMap<Name, usize>,
    /// Of each author how many entries may be missing because they came too late for a final frontier.
    excluded: BTreeMap<String, u32>,
}

impl Tally {
    /// The process `index`, whose peer is `peer_id`, folded an update.
    pub(super) fn folded(&mut self, index: usize, peer_id: &str, folded: &Folded) {
        let name = (folded.author.clone(), folded.seq);
        if folded.author == peer_id {
            self.authors.insert(name.clone(), index);
        }
        self.folds.entry(name).or_default().entry(index).or_insert(folded.at_us);
    }

    /// A process reported entries that came too late for a final frontier. Processes that begin at a later one never see them,
    /// so the report counts even if its sender is dead now.
    pub(super) fn excluded(&mut self, excluded: &Excluded) {
        for (author, count) in &excluded.counts {
            let most = self.excluded.entry(author.clone()).or_default();
            *most = (*most).max(*count);
        }
    }

    /// Authors of whom something came too late.
    pub(super) fn authors_excluded(&self) -> usize {
        self.excluded.len()
    }

    /// Updates that `processes` different processes have folded.
    pub(super) fn folded_by(&self, processes: usize) -> usize {
        self.folds.values().filter(|folds| folds.len() >= processes).count()
    }

    /// Seconds from announcing to the last of `processes` folds, of those that were folded by that many, grouped by the
    /// position in the chain.
    pub(super) fn latencies(&self, processes: usize) -> BTreeMap<u32, Vec<f64>> {
        let mut latencies: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (name, folds) in self.folds.iter().filter(|(_, folds)| folds.len() >= processes) {
            let announced = self.authors.get(name).and_then(|author| folds.get(author));
            let last = folds.values().max();
            if let (Some(announced), Some(last)) = (announced, last) {
                latencies.entry(name.1).or_default().push((last - announced) as f64 / 1e6);
            }
        }
        latencies
    }

    /// Updates that two processes held while both lived and that are not in a set with `chains` entries of each author.
    /// `ended` says when each process was killed. What some process knew to be excluded is not lost: by the rules what came
    /// too late for a final frontier is void.
    pub(super) fn lost(&self, ended: &BTreeMap<usize, u64>, chains: &BTreeMap<String, u32>) -> BTreeSet<Name> {
        let below = |counts: &BTreeMap<String, u32>, (author, seq): &Name| counts.get(author).is_some_and(|n| seq < n);
        let kept = |name: &Name| below(chains, name) || below(&self.excluded, name);
        let held = self.folds.iter().filter(|(_, folds)| held_by_two(folds, ended));
        held.map(|(name, _)| name).filter(|name| !kept(name)).cloned().collect()
    }
}

/// Whether at some moment two processes held it and lived.
fn held_by_two(folds: &Folds, ended: &BTreeMap<usize, u64>) -> bool {
    let end = |process: &usize| ended.get(process).copied().unwrap_or(u64::MAX);
    let lives: Vec<(u64, u64)> = folds.iter().map(|(process, at)| (*at, end(process))).collect();
    let overlap = |one: (u64, u64), other: (u64, u64)| one.0.max(other.0) < one.1.min(other.1);
    lives.iter().enumerate().any(|(at, one)| lives[at + 1..].iter().any(|other| overlap(*one, *other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(folds: &[(usize, &str, u32, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (index, author, seq, at_us) in folds {
            let folded = Folded { author: (*author).to_owned(), seq: *seq, at_us: *at_us };
            tally.folded(*index, ["a", "b", "c"][*index], &folded);
        }
        tally
    }

    #[test]
    fn latency_runs_from_the_author_s_fold_to_the_last() {
        let tally = tally(&[(0, "a", 3, 1_000_000), (1, "a", 3, 1_500_000), (2, "a", 3, 3_000_000), (1, "b", 3, 9)]);
        assert_eq!(tally.latencies(3), BTreeMap::from([(3, vec![2.0])]));
        assert_eq!((tally.folded_by(3), tally.folded_by(1)), (1, 2));
    }

    #[test]
    fn an_update_is_lost_only_if_two_held_it_at_one_time() {
        let folds = [(0, "a", 0, 10), (1, "a", 0, 20), (0, "a", 1, 30), (1, "a", 1, 50)];
        let tally = tally(&folds);
        let ended = BTreeMap::from([(0, 40)]);
        let (none, none_ended) = (BTreeMap::new(), BTreeMap::new());
        assert_eq!(tally.lost(&ended, &none), BTreeSet::from([("a".to_owned(), 0)]));
        assert_eq!(tally.lost(&none_ended, &none).len(), 2);
        assert!(tally.lost(&none_ended, &BTreeMap::from([("a".to_owned(), 2)])).is_empty());
    }

    #[test]
    fn what_a_dead_process_knew_to_be_excluded_is_not_lost_and_all_else_still_is() {
        let folds =
            [(0, "a", 0, 10), (1, "a", 0, 20), (0, "a", 1, 10), (1, "a", 1, 20), (0, "b", 0, 10), (1, "b", 0, 20)];
        let mut tally = tally(&folds);
        let (ended, none) = (BTreeMap::from([(0, 40), (1, 50)]), BTreeMap::new());
        let name = |author: &str, seq| (author.to_owned(), seq);
        let knew = |count| Excluded { counts: [("a".to_owned(), count)].into() };
        assert_eq!(tally.lost(&ended, &none).len(), 3);
        tally.excluded(&knew(1));
        assert_eq!(tally.lost(&ended, &none), BTreeSet::from([name("a", 1), name("b", 0)]));
        tally.excluded(&knew(2));
        tally.excluded(&knew(1)); // another process knew of less
        assert_eq!(tally.lost(&ended, &none), BTreeSet::from([name("b", 0)]));
        assert_eq!(tally.authors_excluded(), 1);
    }
}
