//! Exact removal: the model equals one that never held what is void. The whole log is folded again from nothing, in another
//! order; and the sum is made again of only those updates that are not void, each with the weight its past gives it.
//! (DESIGN §1: the root is a function of the set and its tombstones alone.)

use murmur_collectives::{Fold, Record};

use super::{Invariant, Sight};

/// See the file's head.
pub(super) struct ExactRemoval;

impl Invariant for ExactRemoval {
    fn name(&self) -> &'static str {
        "exact_removal"
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let complete = |fold: &&Fold| fold.log().records().all(|r| r.entry.update().is_none() || r.payload.is_some());
        let folds = sight.glances.iter().filter_map(|glance| sight.machines[glance.at].node.as_ref());
        let Some(held) = folds.map(murmur_coordinatorless::Node::fold).find(complete) else { return Vec::new() };
        if held.epochs().number() > 0 || held.log().forked().next().is_some() {
            // Where work became final, a part of the log is pruned, or was left out by those who hold it.
            // A chain closed by a proof leaves entries whose past names what is gone: no order but the one with the
            // proof first admits them, and `collectives` tests that one.
            return Vec::new();
        }
        let Some(again) = refold(held) else { return vec!["the log is not causally closed".to_owned()] };
        let mut wrong = Vec::new();
        if again.state() != held.state() {
            wrong.push("the same entries folded in another order give another state".to_owned());
        }
        for record in held.log().records().filter(|record| is_void(held, record) && record.applied.q16() != 0) {
            wrong.push(format!("void update {} of {:?} is in the sum", record.entry.seq(), record.entry.author()));
        }
        wrong
    }
}

/// Whether somebody's conviction voids this update.
fn is_void(held: &Fold, record: &Record) -> bool {
    record.applied != record.weight && held.is_evicted(&record.entry.author())
}

/// Folds all entries of `held` again: authors in descending order, each chain as far as it goes, until nothing is left.
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
