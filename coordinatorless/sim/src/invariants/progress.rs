//! Progress after heal: once faults and training have ended, all honest peers reach the same set and state within the
//! stated time. (Demers et al., "Epidemic algorithms for replicated database maintenance", 1987: anti-entropy reaches
//! everyone with probability one; here with a bound.)

use std::collections::BTreeMap;

use super::{Invariant, PeerSnapshot, SwarmSnapshot};
use crate::queue::MachineIndex;

/// See the module documentation.
pub(super) struct ProgressAfterHeal;

impl Invariant for ProgressAfterHeal {
    fn name(&self) -> &'static str {
        "progress_after_heal"
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        if is_settled(swarm) {
            return Vec::new();
        }
        let sets = swarm.peers.iter().fold(BTreeMap::new(), |mut sets: BTreeMap<_, usize>, peer| {
            *sets.entry((peer.set, peer.root)).or_default() += 1;
            sets
        });
        let Some((majority, count)) = sets.into_iter().max_by_key(|(_, count)| *count) else { return Vec::new() };
        let differing = swarm.peers.iter().filter(|peer| (peer.set, peer.root) != majority || !peer.is_caught_up);
        let differing: Vec<String> = differing.filter_map(|peer| describe(swarm, peer)).collect();
        let down: Vec<MachineIndex> = down(swarm).collect();
        vec![format!("{count} agree; not so: {}; not running: {down:?}", differing.join(", "))]
    }
}

fn describe(swarm: &SwarmSnapshot<'_>, peer: &PeerSnapshot) -> Option<String> {
    let node = swarm.machines[peer.at].node.as_ref()?;
    let held = entries(node.fold().log().version());
    let (at, ready, neighbours) = (peer.at, peer.is_caught_up, node.neighbours().len());
    let own = node.fold().log().version().count(&swarm.machines[at].id);
    let epoch = peer.epoch;
    Some(format!(
        "peer {at} with {held} entries ({own} own), epoch {epoch}, caught up: {ready}, {neighbours} neighbours"
    ))
}

/// Honest peers that should run and are down.
fn down<'a>(swarm: &'a SwarmSnapshot<'_>) -> impl Iterator<Item = MachineIndex> + 'a {
    let machines = swarm.machines.iter().enumerate();
    machines.filter(|(_, machine)| machine.is_honest() && !machine.is_absent && !machine.is_live()).map(|(at, _)| at)
}

/// Whether all honest peers run, have caught up, and hold the same set and state.
pub(crate) fn is_settled(swarm: &SwarmSnapshot<'_>) -> bool {
    let expected = swarm.machines.iter().filter(|machine| machine.is_honest() && !machine.is_absent).count();
    let Some(first) = swarm.peers.first() else { return expected == 0 };
    let same = |peer: &PeerSnapshot| peer.is_caught_up && peer.set == first.set && peer.root == first.root;
    swarm.peers.len() == expected && swarm.peers.iter().all(same)
}

fn entries(version: &murmur_collectives::VersionVector) -> u64 {
    version.iter().map(|(_, count)| u64::from(count)).sum()
}
