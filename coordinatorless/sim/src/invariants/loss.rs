//! No update is lost that two live peers held: when the swarm has come to rest, everyone holds it, as long as one of those
//! who held it neither lost its disk nor left. (Durability by replication; van Renesse, Minsky, Hayden, "A gossip-style
//! failure detection service", 1998, has the epidemic argument why one holder is enough.) What came too late for a final
//! frontier is excepted: that is what final means.

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Fold, PeerId};

use super::{Invariant, Sight};
use crate::queue::Place;

/// See the file's head.
#[derive(Default)]
pub(super) struct NoUpdateLost {
    /// For each author: how many of its entries two peers held at once, and who they were.
    owed: BTreeMap<PeerId, BTreeMap<u32, BTreeSet<Place>>>,
    /// The epoch that each entry seen knows.
    knows: BTreeMap<PeerId, BTreeMap<u32, u32>>,
}

impl Invariant for NoUpdateLost {
    fn name(&self) -> &'static str {
        "no_update_lost"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut held: BTreeMap<PeerId, Vec<(u32, Place)>> = BTreeMap::new();
        for glance in sight.glances {
            for (author, count) in sight.version(glance.at).into_iter().flat_map(|version| version.iter()) {
                held.entry(author).or_default().push((count, glance.at));
            }
        }
        for (author, mut holders) in held {
            holders.sort_unstable_by(|a, b| b.cmp(a));
            let Some((count, _)) = holders.get(1).copied() else { continue };
            let everyone = holders.len() == sight.machines.len() && holders.iter().all(|(held, _)| *held >= count);
            let who = holders.iter().filter(|(held, _)| *held >= count).map(|(_, at)| *at);
            let knows = holders.iter().find_map(|(_, at)| sight.epoch_of(*at, &author, count - 1));
            knows.into_iter().for_each(|epoch| {
                self.knows.entry(author).or_default().insert(count - 1, epoch);
            });
            let owed = self.owed.entry(author).or_default();
            if everyone {
                *owed = owed.split_off(&count); // nothing before it can be lost any more
            }
            owed.entry(count).or_default().extend(who);
        }
        Vec::new()
    }

    fn forgot(&mut self, at: Place) {
        self.owed.values_mut().flat_map(BTreeMap::values_mut).for_each(|holders| {
            holders.remove(&at);
        });
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (author, owed) in &self.owed {
            let promised = owed.iter().rev().find(|(_, holders)| !holders.is_empty());
            let Some((count, holders)) = promised else { continue };
            for glance in sight.glances {
                let node = sight.machines[glance.at].node.as_ref();
                let log = node.map(|node| node.fold().log());
                let lacks = log.is_some_and(|log| log.version().count(author) < *count && !log.is_forked(author));
                let lacks = lacks && node.is_some_and(|node| !self.is_excluded(node.fold(), author, *count - 1));
                if lacks {
                    wrong.push(format!(
                        "peer {} lacks entry {} of {author:?}, which peers {holders:?} held at once",
                        glance.at,
                        count - 1
                    ));
                }
            }
        }
        wrong
    }
}

impl NoUpdateLost {
    /// Whether entry `seq` came too late for what is final there: it, or what comes before it in its chain, knows only an
    /// epoch before the last but one.
    fn is_excluded(&self, held: &Fold, author: &PeerId, seq: u32) -> bool {
        let epochs = held.epochs();
        let first = epochs.newest().view.count(author);
        let Some(knows) = self.knows.get(author) else { return false };
        knows.range(first..=seq).next().is_some_and(|(_, epoch)| *epoch < epochs.oldest_open())
    }
}
