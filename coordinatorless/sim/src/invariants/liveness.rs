//! Liveness: while anyone is able to train, some update is folded within the stated time. Nobody waits for anybody, so no
//! fault of others stops the survivors. (Alpern, Schneider, "Defining liveness", 1985; made a safety property by a bound.)

use core::time::Duration;

use murmur_coordinatorless::Time;

use super::{Invariant, Sight};

/// See the file's head.
pub(super) struct Liveness {
    within: Duration,
    clock: u64,
    /// When the set last grew, or there was last nobody able to train.
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

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let clock = sight.glances.iter().map(|glance| glance.clock).max().unwrap_or(0);
        let able = |glance: &super::Glance| glance.is_caught_up && sight.machines[glance.at].is_author;
        if clock > self.clock || !sight.is_training || !sight.glances.iter().any(able) {
            (self.clock, self.since) = (self.clock.max(clock), sight.now);
        }
        if sight.now.since(self.since) <= self.within {
            return Vec::new();
        }
        self.since = sight.now;
        vec![format!("nothing was folded for {:?} although somebody could train", self.within)]
    }
}
