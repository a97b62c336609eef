//! Final frontiers never conflict: what is final on one honest peer is final on all, under the same name, for ever. (Agreement
//! of a consensus: Dwork, Lynch, Stockmeyer, "Consensus in the presence of partial synchrony", 1988.) Excepted is what the
//! rules except: a frontier so long after the one before it that the voters' weights had faded.

use std::collections::BTreeMap;

use murmur_collectives::{Fold, Hash};

use super::{Invariant, Sight};
use crate::queue::Place;

/// After so many epochs' work without a final frontier the weights fade; see `collectives::Frontier`.
const FADES_AFTER_EPOCHS: u64 = 4;

/// A final frontier as it was first seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    by: Place,
    name: Hash,
    faded: bool,
}

/// See the file's head.
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

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let folds =
            sight.glances.iter().filter_map(|glance| Some((glance.at, sight.machines[glance.at].node.as_ref()?)));
        folds.flat_map(|(at, node)| self.look_at(at, node.fold())).collect()
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        self.look(sight)
    }
}

impl FrontiersNeverConflict {
    fn look_at(&mut self, by: Place, held: &Fold) -> Vec<String> {
        let (epochs, mut wrong) = (held.epochs(), Vec::new());
        self.clocks.insert(epochs.newest().frontier.name(), epochs.newest().frontier.clock);
        for epoch in 1..=epochs.number() {
            let Some(name) = epochs.name(epoch) else { continue };
            let faded = self.is_faded(held, epoch);
            let first = *self.seen.entry(epoch).or_insert(Seen { by, name, faded });
            if first.name != name && !first.faded && !faded {
                wrong.push(format!(
                    "epoch {epoch} is {name:?} at peer {by} and was {:?} at peer {}",
                    first.name, first.by
                ));
            }
        }
        wrong
    }

    /// Whether this frontier, or one before it that is the reason, was decided by faded weights.
    fn is_faded(&self, held: &Fold, epoch: u32) -> bool {
        let clock = |epoch| held.epochs().name(epoch).and_then(|name| self.clocks.get(&name)).copied();
        let limit = FADES_AFTER_EPOCHS * held.rules().frontier_every_tokens;
        (1..=epoch).any(|epoch| {
            let before = if epoch == 1 { Some(0) } else { clock(epoch - 1) };
            clock(epoch).zip(before).is_some_and(|(now, before)| now >= before + limit)
        })
    }
}
