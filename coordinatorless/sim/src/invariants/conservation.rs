//! Conservation: the state equals θ₀ minus the sum of the applied updates, to the last bit; each update is applied with
//! its weight or not at all; and no weight exceeds the rules' maximum. (ARCHITECTURE.md, "The idea".)

use murmur_collectives::{Fold, ONE_Q16, State};
use murmur_kernels::{Direction, Weight, fold};

use super::{Invariant, SwarmSnapshot};

/// See the module documentation.
pub(super) struct Conservation;

impl Invariant for Conservation {
    fn name(&self) -> &'static str {
        "conservation"
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        // Equal sets have equal roots, so one peer that holds every payload stands for all.
        let complete = |fold: &&Fold| fold.log().records().all(|r| r.entry.update().is_none() || r.payload.is_some());
        let Some(held) = swarm.folds().find(complete) else { return Vec::new() };
        let mut violations: Vec<String> = weights_out_of_bounds(held);
        if sum(held).as_deref() != Some(held.state()) {
            violations.push("the state is not θ₀ minus the sum of what is applied".to_owned());
        }
        violations
    }
}

fn weights_out_of_bounds(held: &Fold) -> Vec<String> {
    let most = held.rules().alpha_start_q16.max(held.rules().alpha_end_q16).min(4 * ONE_Q16);
    let bad = |record: &&murmur_collectives::Record| {
        record.weight.q16() > most || (record.applied != record.weight && record.applied != Weight::ZERO)
    };
    let bad = held.log().records().filter(bad);
    bad.map(|r| format!("update {} of {:?}: weight {}", r.entry.seq(), r.entry.author(), r.weight.q16())).collect()
}

/// θ₀, or the state the log was pruned to, minus every applied update. Uses only the codec, so that an error in the
/// fold cannot hide itself.
fn sum(held: &Fold) -> Option<State> {
    let epochs = held.epochs();
    let mut state = match epochs.view(epochs.number().saturating_sub(2)).filter(|view| !view.is_empty()) {
        Some(pruned) => held.state_at(pruned).ok()?,
        None => murmur_kernels::from_f32(&vec![0.5; held.state().len()]).ok()?.into(),
    };
    for record in held.log().records().filter(|record| record.applied != Weight::ZERO) {
        let payload = record.payload.as_deref()?;
        let top = record.entry.update()?.top_k()?;
        fold(top, payload, record.applied, Direction::Add, &mut state).ok()?;
    }
    Some(state)
}
