//! Memory is bounded: beyond state, set and checkpoint, a peer keeps no more than the stated bytes, whatever others
//! send. (Every queue has a limit: NASA/JPL, "The power of ten", Holzmann 2006, rules 2 and 3.)

use super::{Invariant, SwarmSnapshot};

/// See the module documentation.
pub(super) struct MemoryBound {
    /// Bound of everything but state and log.
    pub(super) overhead_bytes: u64,
    /// Bound of the log once an epoch is final; 0: unchecked.
    pub(super) log_bytes: u64,
}

impl Invariant for MemoryBound {
    fn name(&self) -> &'static str {
        "memory_bound"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let over = swarm.peers.iter().filter(|peer| peer.footprint.overhead() as u64 > self.overhead_bytes);
        let long = |peer: &&super::PeerSnapshot| {
            self.log_bytes > 0 && peer.epoch > 0 && peer.footprint.log as u64 > self.log_bytes
        };
        let over = over.chain(swarm.peers.iter().filter(long));
        over.map(|peer| format!("peer {} keeps {:?}", peer.at, peer.footprint)).collect()
    }
}
