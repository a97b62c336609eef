//! Earned weight: no update weighs more than α times the part of a round that its tokens are, by the pace of the epoch that it
//! names. So a token weighs the same for everyone of one epoch, and an author gains nothing by cutting its work or by naming an
//! old base. (ARCHITECTURE.md, "Weights".)

use murmur_collectives::Fold;

use super::{Invariant, SwarmSnapshot};

/// See the module documentation.
pub(super) struct EarnedWeight;

impl Invariant for EarnedWeight {
    fn name(&self) -> &'static str {
        "earned_weight"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        // What differs between peers is found at the end.
        swarm.folds().take(1).flat_map(unearned).collect()
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        swarm.folds().flat_map(unearned).collect()
    }
}

/// Updates of epochs whose pace is known that weigh more than they may.
fn unearned(held: &Fold) -> Vec<String> {
    let (rules, number) = (held.rules(), held.epochs().number());
    let alpha = u64::from(rules.alpha_start_q16.max(rules.alpha_end_q16));
    let open = held.log().records().filter(|record| record.entry.epoch() + 1 >= number);
    let of_more = open.filter_map(|record| {
        let (entry, update) = (&record.entry, record.entry.update()?);
        let share = held.epochs().pace(entry.epoch())?.share_q16(update.tokens, 0);
        let most = (alpha * u64::from(share)) >> 16;
        let weight = u64::from(record.weight.q16());
        (weight > most).then(|| format!("update {} of {:?} weighs {weight}, not {most}", entry.seq(), entry.author()))
    });
    of_more.collect()
}
