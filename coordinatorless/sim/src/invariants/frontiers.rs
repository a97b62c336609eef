//! Final frontiers never conflict: a frontier that is final at one honest peer is final at all, with the same name, for
//! ever. (Agreement of a consensus: Dwork, Lynch, Stockmeyer, "Consensus in the presence of partial synchrony", 1988.)
//! The exception is the rules' own: a frontier that comes so long after the previous one that the voters' weights had
//! faded.

use std::collections::BTreeMap;

use murmur_collectives::{Fold, Hash};

use super::{Invariant, SwarmSnapshot};
use crate::queue::MachineIndex;

/// Epochs of work without a final frontier after which voting weights fade; see `collectives::Frontier`.
const FADES_AFTER_EPOCHS: u64 = 4;

/// A final frontier when it was first seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    by: MachineIndex,
    name: Hash,
    faded: bool,
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct FrontiersNeverConflict {
    /// By epoch.
    seen: BTreeMap<u32, Seen>,
    clocks: BTreeMap<Hash, u64>,
}

impl Invariant for FrontiersNeverConflict {
    fn name(&self) -> &'static str {
        "frontiers_never_conflict"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let folds = swarm.peers.iter().filter_map(|peer| Some((peer.at, swarm.machines[peer.at].node.as_ref()?)));
        folds.flat_map(|(at, node)| self.check_peer(at, node.fold())).collect()
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        self.check(swarm)
    }
}

impl FrontiersNeverConflict {
    fn check_peer(&mut self, by: MachineIndex, held: &Fold) -> Vec<String> {
        let (epochs, mut violations) = (held.epochs(), Vec::new());
        self.clocks.insert(epochs.newest().frontier.name(), epochs.newest().frontier.clock);
        for epoch in 1..=epochs.number() {
            let Some(name) = epochs.name(epoch) else { continue };
            let faded = self.is_faded(held, epoch);
            let first = *self.seen.entry(epoch).or_insert(Seen { by, name, faded });
            if first.name != name && !first.faded && !faded {
                violations.push(format!(
                    "epoch {epoch} is {name:?} at peer {by} and was {:?} at peer {}",
                    first.name, first.by
                ));
            }
        }
        violations
    }

    /// Whether faded weights decided this frontier or an earlier one. A conflict continues in all later epochs, because
    /// each builds on the one before.
    fn is_faded(&self, held: &Fold, epoch: u32) -> bool {
        let clock = |epoch| held.epochs().name(epoch).and_then(|name| self.clocks.get(&name)).copied();
        let limit = FADES_AFTER_EPOCHS * held.rules().frontier_every_tokens;
        (1..=epoch).any(|epoch| {
            let before = if epoch == 1 { Some(0) } else { clock(epoch - 1) };
            clock(epoch).zip(before).is_some_and(|(now, before)| now >= before + limit)
        })
    }
}
