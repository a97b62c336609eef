//! What a peer keeps in memory, counted in bytes: so that a bound on it can be asserted.
//!
//! Counted are the contents that grow: entries, payloads, states, what waits. Small things of fixed number are not.

use core::mem::{size_of, size_of_val};

use murmur_collectives::Record;

use super::Node;

/// Bytes held, by what they are for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Footprint {
    /// The state θ.
    pub state: usize,
    /// Entries and payloads of the set, and of what forks cut off.
    pub log: usize,
    /// A final frontier's state, as long as somebody fetches it.
    pub final_state: usize,
    /// Own carries, what final frontiers stand on, and blobs being fetched.
    pub blobs: usize,
    /// Entries that wait for their past, and requests.
    pub waiting: usize,
    /// What is known of connected peers.
    pub neighbours: usize,
    /// Who is in the swarm, and where: grows with the swarm.
    pub membership: usize,
    /// Outputs not yet taken.
    pub outputs: usize,
}

impl Footprint {
    /// All of it.
    pub fn total(&self) -> usize {
        self.state + self.log + self.final_state + self.overhead()
    }

    /// What is neither the model nor the set.
    pub fn overhead(&self) -> usize {
        self.blobs + self.waiting + self.neighbours + self.membership + self.outputs
    }
}

impl Node {
    /// Counts what this peer keeps in memory. Takes time in proportion to the log.
    pub fn footprint(&self) -> Footprint {
        let (state, log) = (size_of_val(self.set.fold.state()), self.set.fold.log());
        Footprint {
            state,
            log: log.records().chain(log.cut_off()).map(record_bytes).sum(),
            final_state: self.transfer.final_state_bytes(),
            blobs: self.own_carries.held_bytes() + self.transfer.held_bytes(),
            waiting: self.replication.held_bytes(),
            neighbours: self.connectivity.neighbour_bytes()
                + self.replication.peers_held_bytes()
                + self.finality.held_bytes(),
            membership: self.membership.held_bytes() + self.connectivity.address_bytes(),
            outputs: self.core.outputs.len() * size_of::<crate::Output>(),
        }
    }
}

fn record_bytes(record: &Record) -> usize {
    let payload = record.payload.as_ref().map_or(0, |bytes| bytes.len());
    size_of::<Record>() + record.entry.held_bytes() + payload
}
