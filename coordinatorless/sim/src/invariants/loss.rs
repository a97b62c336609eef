//! No update is lost: an update that two live peers held at once is held by all when the swarm is at rest, unless every
//! holder left or lost its disk. (Durability by replication; van Renesse, Minsky, Hayden, "A gossip-style failure
//! detection service", 1998, has the epidemic argument why one holder is enough.) An update that came too late for a
//! final frontier is excluded by design.

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Fold, PeerId};

use super::{Invariant, SwarmSnapshot};
use crate::queue::MachineIndex;

/// See the module documentation.
#[derive(Default)]
pub(super) struct NoUpdateLost {
    /// For each author and chain length: the peers that held a chain of this length at once.
    owed: BTreeMap<PeerId, BTreeMap<u32, BTreeSet<MachineIndex>>>,
    /// For each author and sequence number: the newest final epoch that the entry knows.
    knows: BTreeMap<PeerId, BTreeMap<u32, u32>>,
}

impl Invariant for NoUpdateLost {
    fn name(&self) -> &'static str {
        "no_update_lost"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let mut held: BTreeMap<PeerId, Vec<(u32, MachineIndex)>> = BTreeMap::new();
        for peer in swarm.peers {
            for (author, count) in swarm.version(peer.at).into_iter().flat_map(|version| version.iter()) {
                held.entry(author).or_default().push((count, peer.at));
            }
        }
        for (author, mut holders) in held {
            holders.sort_unstable_by(|a, b| b.cmp(a));
            let Some((count, _)) = holders.get(1).copied() else { continue };
            let held_by_all = holders.len() == swarm.machines.len() && holders.iter().all(|(held, _)| *held >= count);
            let current = holders.iter().filter(|(held, _)| *held >= count).map(|(_, at)| *at);
            let knows = holders.iter().find_map(|(_, at)| swarm.epoch_of(*at, &author, count - 1));
            knows.into_iter().for_each(|epoch| {
                self.knows.entry(author).or_default().insert(count - 1, epoch);
            });
            let owed = self.owed.entry(author).or_default();
            if held_by_all {
                *owed = owed.split_off(&count); // all hold the earlier entries, so none of them can be lost
            }
            owed.entry(count).or_default().extend(current);
        }
        Vec::new()
    }

    fn holdings_lost(&mut self, at: MachineIndex) {
        self.owed.values_mut().flat_map(BTreeMap::values_mut).for_each(|holders| {
            holders.remove(&at);
        });
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let mut violations = Vec::new();
        for (author, owed) in &self.owed {
            let longest = owed.iter().rev().find(|(_, holders)| !holders.is_empty());
            let Some((count, holders)) = longest else { continue };
            for peer in swarm.peers {
                let node = swarm.machines[peer.at].node.as_ref();
                let log = node.map(|node| node.fold().log());
                let lacks = log.is_some_and(|log| log.version().count(author) < *count && !log.is_forked(author));
                let lacks = lacks && node.is_some_and(|node| !self.is_excluded(node.fold(), author, *count - 1));
                if lacks {
                    violations.push(format!(
                        "peer {} lacks entry {} of {author:?}, which peers {holders:?} held at once",
                        peer.at,
                        count - 1
                    ));
                }
            }
        }
        violations
    }
}

impl NoUpdateLost {
    /// Whether entry `seq` came too late for the frontiers that are final at this peer: it, or an earlier open entry of
    /// its chain, knows no epoch that is still open.
    fn is_excluded(&self, held: &Fold, author: &PeerId, seq: u32) -> bool {
        let epochs = held.epochs();
        let first = epochs.newest().view.count(author);
        let Some(knows) = self.knows.get(author) else { return false };
        knows.range(first..=seq).next().is_some_and(|(_, epoch)| *epoch < epochs.oldest_open())
    }
}
