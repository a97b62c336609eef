//! Participation: in every window, nearly all peers that were live throughout it have an update folded by others. (A
//! swarm in which most survivors only watch would still satisfy `liveness`.)

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_coordinatorless::Time;

use super::{Invariant, SwarmSnapshot};
use crate::{queue::MachineIndex, scenario::Checks};

/// See the module documentation.
pub(super) struct Participation {
    window: Duration,
    percent: u64,
    begun: Time,
    /// Peers live since the window began, with the count of their updates that others then held.
    living: BTreeMap<MachineIndex, u32>,
}

impl Participation {
    pub(super) fn new(checks: &Checks) -> Self {
        let window = Duration::from_millis(checks.window_ms);
        Self { window, percent: checks.contributing_percent, begun: Time(0), living: BTreeMap::new() }
    }

    fn begin(&mut self, swarm: &SwarmSnapshot<'_>) {
        self.begun = swarm.now;
        let living = swarm.peers.iter().filter(|peer| peer.is_caught_up && swarm.machines[peer.at].is_author);
        self.living = living.map(|peer| (peer.at, folded(swarm, peer.at))).collect();
    }
}

impl Invariant for Participation {
    fn name(&self) -> &'static str {
        "participation"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        if !swarm.is_training {
            return Vec::new();
        }
        let live = |at: &MachineIndex| swarm.peers.iter().any(|peer| peer.at == *at);
        self.living.retain(|at, _| live(at));
        if swarm.now.since(self.begun) < self.window {
            return Vec::new();
        }
        let idle: Vec<MachineIndex> =
            self.living.iter().filter(|(at, before)| folded(swarm, **at) <= **before).map(|(at, _)| *at).collect();
        let (all, begun) = (self.living.len() as u64, self.begun);
        self.begin(swarm);
        if (all - idle.len() as u64) * 100 >= all * self.percent {
            return Vec::new();
        }
        vec![format!("of {all} peers alive since {} s, {idle:?} had nothing folded", begun.0 / 1_000_000)]
    }

    fn holdings_lost(&mut self, at: MachineIndex) {
        self.living.remove(&at);
    }
}

/// Updates of `author` that another live peer holds.
fn folded(swarm: &SwarmSnapshot<'_>, author: MachineIndex) -> u32 {
    let id = swarm.machines[author].id;
    let others = swarm.peers.iter().filter(|peer| peer.at != author);
    let nodes = others.filter_map(|peer| swarm.machines[peer.at].node.as_ref());
    let counts = nodes.filter_map(|node| node.fold().log().last_update(&id)).map(|record| record.updates_until);
    counts.max().unwrap_or(0)
}
