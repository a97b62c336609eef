//! Memory is bounded: beside the state, the set and a checkpoint, a peer keeps no more than stated, whatever others send.
//! (Every queue has a limit: NASA/JPL, "The power of ten", Holzmann 2006, rules 2 and 3.)

use super::{Invariant, Sight};

/// See the file's head.
pub(super) struct MemoryBound {
    /// The bound.
    pub(super) overhead_bytes: u64,
    /// The bound of the log where work becomes final; 0: none.
    pub(super) log_bytes: u64,
}

impl Invariant for MemoryBound {
    fn name(&self) -> &'static str {
        "memory_bound"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let over = sight.glances.iter().filter(|glance| glance.footprint.overhead() as u64 > self.overhead_bytes);
        let long = |glance: &&super::Glance| {
            self.log_bytes > 0 && glance.epoch > 0 && glance.footprint.log as u64 > self.log_bytes
        };
        let over = over.chain(sight.glances.iter().filter(long));
        over.map(|glance| format!("peer {} keeps {:?}", glance.at, glance.footprint)).collect()
    }
}
