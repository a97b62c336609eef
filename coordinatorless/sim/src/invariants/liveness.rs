//! Liveness: while an honest peer can train, some update is folded within the stated time. No peer waits for another,
//! so no fault of others stops the survivors. (Alpern, Schneider, "Defining liveness", 1985; made a safety property by
//! a bound.)

use core::time::Duration;

use murmur_coordinatorless::Time;

use super::{Invariant, SwarmSnapshot};

/// See the module documentation.
pub(super) struct Liveness {
    within: Duration,
    clock: u64,
    /// When the token clock last advanced, or when last no peer could train.
    since: Time,
}

impl Liveness {
    pub(super) fn new(within_ms: u64) -> Self {
        Self { within: Duration::from_millis(within_ms), clock: 0, since: Time(0) }
    }
}

impl Invariant for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let clock = swarm.peers.iter().map(|peer| peer.clock).max().unwrap_or(0);
        let able = |peer: &super::PeerSnapshot| peer.is_caught_up && swarm.machines[peer.at].is_author;
        if clock > self.clock || !swarm.is_training || !swarm.peers.iter().any(able) {
            (self.clock, self.since) = (self.clock.max(clock), swarm.now);
        }
        if swarm.now.since(self.since) <= self.within {
            return Vec::new();
        }
        self.since = swarm.now;
        vec![format!("nothing was folded for {:?} although somebody could train", self.within)]
    }
}
