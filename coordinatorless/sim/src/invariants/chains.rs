//! Chains never fork: whatever happens to an honest peer's machine, nobody ever sees two entries of it for one place in
//! its chain. (Crash recovery must not forget a promise: Lamport, "Paxos made simple", 2001, section 2.5.)

use std::collections::BTreeMap;

use murmur_collectives::{Hash, VersionVector};

use super::{Invariant, Sight};
use crate::queue::Place;

/// See the file's head.
#[derive(Default)]
pub(super) struct ChainsNeverFork {
    /// For each honest author, the hash of each entry anyone else was seen to hold.
    chains: BTreeMap<Place, Vec<Option<Hash>>>,
    /// What was looked at already, by who holds it.
    seen: BTreeMap<Place, VersionVector>,
}

impl Invariant for ChainsNeverFork {
    fn name(&self) -> &'static str {
        "chains_never_fork"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        sight.glances.iter().flat_map(|glance| self.look_at(sight, glance.at)).collect()
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        self.look(sight)
    }

    fn forgot(&mut self, at: Place) {
        self.seen.remove(&at);
    }
}

impl ChainsNeverFork {
    fn look_at(&mut self, sight: &Sight<'_>, holder: Place) -> Vec<String> {
        let Some(node) = sight.machines[holder].node.as_ref() else { return Vec::new() };
        let (log, mut wrong) = (node.fold().log(), Vec::new());
        let seen = self.seen.remove(&holder).unwrap_or_default();
        for (author, machine) in sight.machines.iter().enumerate().filter(|(_, machine)| machine.is_honest()) {
            let chain = self.chains.entry(author).or_default();
            for seq in seen.count(&machine.id)..log.version().count(&machine.id) {
                let Some(hash) = log.record(&machine.id, seq).map(|record| record.entry.hash()) else { continue };
                let place = seq as usize;
                chain.resize(chain.len().max(place + 1), None);
                // What only its author holds may not be durable yet, and then nobody is told of it.
                let known = if author == holder { chain[place] } else { Some(*chain[place].get_or_insert(hash)) };
                if known.is_some_and(|known| known != hash) {
                    wrong.push(format!("peer {holder} holds another entry {seq} of peer {author} than others do"));
                }
            }
        }
        self.seen.insert(holder, log.version().clone());
        wrong
    }
}
