//! Chains never fork: no two entries of one honest peer have the same sequence number, whatever faults its machine has.
//! (Crash recovery must not forget a promise: Lamport, "Paxos made simple", 2001, section 2.5.)

use std::collections::BTreeMap;

use murmur_collectives::{Hash, VersionVector};

use super::{Invariant, SwarmSnapshot};
use crate::queue::MachineIndex;

/// See the module documentation.
#[derive(Default)]
pub(super) struct ChainsNeverFork {
    /// For each honest author, the hash of every entry that another peer was seen to hold.
    chains: BTreeMap<MachineIndex, Vec<Option<Hash>>>,
    /// For each holder, the entries already checked.
    seen: BTreeMap<MachineIndex, VersionVector>,
}

impl Invariant for ChainsNeverFork {
    fn name(&self) -> &'static str {
        "chains_never_fork"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        swarm.peers.iter().flat_map(|peer| self.check_peer(swarm, peer.at)).collect()
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        self.check(swarm)
    }

    fn holdings_lost(&mut self, at: MachineIndex) {
        self.seen.remove(&at);
    }
}

impl ChainsNeverFork {
    fn check_peer(&mut self, swarm: &SwarmSnapshot<'_>, holder: MachineIndex) -> Vec<String> {
        let Some(node) = swarm.machines[holder].node.as_ref() else { return Vec::new() };
        let (log, mut violations) = (node.fold().log(), Vec::new());
        let seen = self.seen.remove(&holder).unwrap_or_default();
        for (author, machine) in swarm.machines.iter().enumerate().filter(|(_, machine)| machine.is_honest()) {
            let chain = self.chains.entry(author).or_default();
            for seq in seen.count(&machine.id)..log.version().count(&machine.id) {
                let Some(hash) = log.record(&machine.id, seq).map(|record| record.entry.hash()) else { continue };
                let index = seq as usize;
                chain.resize(chain.len().max(index + 1), None);
                // An entry that only its author holds may not be durable yet, and its author has not sent it. Losing it
                // is no fork.
                let known = if author == holder { chain[index] } else { Some(*chain[index].get_or_insert(hash)) };
                if known.is_some_and(|known| known != hash) {
                    violations.push(format!("peer {holder} holds another entry {seq} of peer {author} than others do"));
                }
            }
        }
        self.seen.insert(holder, log.version().clone());
        violations
    }
}
