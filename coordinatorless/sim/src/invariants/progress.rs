//! Progress after heal: when the faults have ended and nothing new is authored, every honest peer comes to hold the same set
//! and the same state within the stated time, and nobody is left behind. (Demers et al., "Epidemic algorithms for replicated
//! database maintenance", 1987: anti-entropy reaches everyone with probability one; here with a bound.)

use std::collections::BTreeMap;

use super::{Glance, Invariant, Sight};
use crate::queue::Place;

/// See the file's head.
pub(super) struct ProgressAfterHeal;

impl Invariant for ProgressAfterHeal {
    fn name(&self) -> &'static str {
        "progress_after_heal"
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        if is_settled(sight) {
            return Vec::new();
        }
        let sets = sight.glances.iter().fold(BTreeMap::new(), |mut sets: BTreeMap<_, usize>, glance| {
            *sets.entry((glance.set, glance.root)).or_default() += 1;
            sets
        });
        let Some((usual, count)) = sets.into_iter().max_by_key(|(_, count)| *count) else { return Vec::new() };
        let odd = sight.glances.iter().filter(|glance| (glance.set, glance.root) != usual || !glance.is_caught_up);
        let odd: Vec<String> = odd.filter_map(|glance| describe(sight, glance)).collect();
        let down: Vec<Place> = down(sight).collect();
        vec![format!("{count} agree; not so: {}; not running: {down:?}", odd.join(", "))]
    }
}

fn describe(sight: &Sight<'_>, glance: &Glance) -> Option<String> {
    let node = sight.machines[glance.at].node.as_ref()?;
    let held = entries(node.fold().log().version());
    let (at, ready, neighbours) = (glance.at, glance.is_caught_up, node.neighbours().len());
    let own = node.fold().log().version().count(&sight.machines[at].id);
    let epoch = glance.epoch;
    Some(format!(
        "peer {at} with {held} entries ({own} own), epoch {epoch}, caught up: {ready}, {neighbours} neighbours"
    ))
}

/// Honest peers that should run and do not.
fn down<'a>(sight: &'a Sight<'_>) -> impl Iterator<Item = Place> + 'a {
    let machines = sight.machines.iter().enumerate();
    machines.filter(|(_, machine)| machine.is_honest() && !machine.is_gone && !machine.is_live()).map(|(at, _)| at)
}

/// Whether every honest peer runs, has caught up and holds what all others do.
pub(crate) fn is_settled(sight: &Sight<'_>) -> bool {
    let expected = sight.machines.iter().filter(|machine| machine.is_honest() && !machine.is_gone).count();
    let Some(first) = sight.glances.first() else { return expected == 0 };
    let same = |glance: &Glance| glance.is_caught_up && glance.set == first.set && glance.root == first.root;
    sight.glances.len() == expected && sight.glances.iter().all(same)
}

fn entries(version: &murmur_collectives::VersionVector) -> u64 {
    version.iter().map(|(_, count)| u64::from(count)).sum()
}
