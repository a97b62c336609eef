//! Liveness is participation: in every window, nearly all peers that lived through it had work of theirs folded by others.
//! (A swarm whose survivors only watch is live in name: the case against lighthouse-style liveness in DESIGN's comparisons.)

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_coordinatorless::Time;

use super::{Invariant, Sight};
use crate::{queue::Place, scenario::Checks};

/// See the file's head.
pub(super) struct Participation {
    window: Duration,
    percent: u64,
    begun: Time,
    /// Peers that have lived since the window began, with the updates of theirs that others held then.
    living: BTreeMap<Place, u32>,
}

impl Participation {
    pub(super) fn new(checks: &Checks) -> Self {
        let window = Duration::from_millis(checks.window_ms);
        Self { window, percent: checks.contributing_percent, begun: Time(0), living: BTreeMap::new() }
    }

    fn begin(&mut self, sight: &Sight<'_>) {
        self.begun = sight.now;
        let living = sight.glances.iter().filter(|glance| glance.is_caught_up && sight.machines[glance.at].is_author);
        self.living = living.map(|glance| (glance.at, folded(sight, glance.at))).collect();
    }
}

impl Invariant for Participation {
    fn name(&self) -> &'static str {
        "participation"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        if !sight.is_training {
            return Vec::new();
        }
        let live = |at: &Place| sight.glances.iter().any(|glance| glance.at == *at);
        self.living.retain(|at, _| live(at));
        if sight.now.since(self.begun) < self.window {
            return Vec::new();
        }
        let idle: Vec<Place> =
            self.living.iter().filter(|(at, before)| folded(sight, **at) <= **before).map(|(at, _)| *at).collect();
        let (all, begun) = (self.living.len() as u64, self.begun);
        self.begin(sight);
        if (all - idle.len() as u64) * 100 >= all * self.percent {
            return Vec::new();
        }
        vec![format!("of {all} peers alive since {} s, {idle:?} had nothing folded", begun.0 / 1_000_000)]
    }

    fn forgot(&mut self, at: Place) {
        self.living.remove(&at);
    }
}

/// Updates of the peer at `author` that some other live peer holds.
fn folded(sight: &Sight<'_>, author: Place) -> u32 {
    let id = sight.machines[author].id;
    let others = sight.glances.iter().filter(|glance| glance.at != author);
    let nodes = others.filter_map(|glance| sight.machines[glance.at].node.as_ref());
    let counts = nodes.filter_map(|node| node.fold().log().last_update(&id)).map(|record| record.updates_until);
    counts.max().unwrap_or(0)
}
