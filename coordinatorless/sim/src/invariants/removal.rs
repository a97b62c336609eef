//! Exact removal: the state equals that of a swarm that never held the void updates. The check folds the whole log
//! again in another order and compares states; and no void update may be in the sum. (ARCHITECTURE.md, "The idea": the root is a function
//! of the set and its tombstones alone.)

use murmur_collectives::{Fold, Record};

use super::{Invariant, SwarmSnapshot};

/// See the module documentation.
pub(super) struct ExactRemoval;

impl Invariant for ExactRemoval {
    fn name(&self) -> &'static str {
        "exact_removal"
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let complete = |fold: &&Fold| fold.log().records().all(|r| r.entry.update().is_none() || r.payload.is_some());
        let Some(held) = swarm.folds().find(complete) else { return Vec::new() };
        if held.epochs().number() > 0 || held.log().forked().next().is_some() {
            // Past a final frontier the log is pruned, and peers may exclude entries. An eviction by proof leaves
            // entries whose bases name removed ones: only an order that folds the proof first admits them, and
            // `collectives` tests that order.
            return Vec::new();
        }
        let Some(again) = refold(held) else { return vec!["the log is not causally closed".to_owned()] };
        let mut violations = Vec::new();
        if again.state() != held.state() {
            violations.push("the same entries folded in another order give another state".to_owned());
        }
        for record in held.log().records().filter(|record| is_void(held, record) && record.applied.q16() != 0) {
            violations.push(format!("void update {} of {:?} is in the sum", record.entry.seq(), record.entry.author()));
        }
        violations
    }
}

/// Whether a conviction voids this update.
fn is_void(held: &Fold, record: &Record) -> bool {
    record.applied != record.weight && held.is_evicted(&record.entry.author())
}

/// Folds all entries of `held` again: authors in descending order, each chain as far as its bases allow, until none is
/// left.
fn refold(held: &Fold) -> Option<Fold> {
    let genesis = murmur_kernels::from_f32(&vec![0.5; held.state().len()]).ok()?;
    let mut again = Fold::new(held.run(), held.rules().clone(), genesis);
    let mut left: Vec<&Record> = held.log().records().collect();
    left.reverse();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|record| {
            let _ = again.insert(record.entry.as_ref().clone(), record.payload.clone());
            !again.log().version().contains(&record.entry.author(), record.entry.seq())
        });
        if left.len() == before {
            return None;
        }
    }
    Some(again)
}
