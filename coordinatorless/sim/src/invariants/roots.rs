//! Equal sets have equal roots: strong eventual consistency (Shapiro, Preguiça, Baquero, Zawirski, "Conflict-free
//! replicated data types", 2011, section 2.2). Peers that received the same updates have the same state, in whatever
//! order they received them.

use std::collections::BTreeMap;

use murmur_collectives::{Hash, PeerId, VersionVector};
use murmur_coordinatorless::{Event, Node};

use super::{Invariant, ObservedEvent, PeerSnapshot, SwarmSnapshot};
use crate::{queue::MachineIndex, swarm::Machine};

/// See the module documentation.
pub(super) struct EqualSetEqualRoot;

impl Invariant for EqualSetEqualRoot {
    fn name(&self) -> &'static str {
        "equal_set_equal_root"
    }

    fn check(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        let mut roots: BTreeMap<Hash, (MachineIndex, Hash)> = BTreeMap::new();
        let mut violations = Vec::new();
        for peer in swarm.peers.iter().filter(|peer| peer.is_caught_up) {
            let (first, root) = *roots.entry(peer.set).or_insert((peer.at, peer.root));
            if root != peer.root {
                let why = difference(swarm.machines, first, peer.at);
                violations.push(format!("peers {first} and {} hold the same set and other states: {why}", peer.at));
            }
        }
        violations.extend(swarm.peers.windows(2).filter_map(|pair| disagreement(swarm, &pair[0], &pair[1])));
        violations
    }

    /// Nodes compare roots in their digests and report a divergence themselves.
    fn observe(&mut self, observed: &ObservedEvent<'_>) -> Vec<String> {
        let Event::Diverged { peer, .. } = observed.event else { return Vec::new() };
        if !observed.is_honest(peer) {
            return Vec::new();
        }
        let other = observed.indices[peer];
        let why = difference(observed.machines, observed.at, other);
        vec![format!("peer {} says that peer {other} diverged, and both mean well: {why}", observed.at)]
    }

    fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        self.check(swarm)
    }
}

/// Compares the states of two peers at the meet of their version vectors. The meet is causally closed, so each peer can
/// rebuild its state; a divergence shows at the next check and not only when both sets happen to be equal.
fn disagreement(swarm: &SwarmSnapshot<'_>, one: &PeerSnapshot, other: &PeerSnapshot) -> Option<String> {
    if one.epoch != other.epoch || one.set == other.set || !one.is_caught_up || !other.is_caught_up {
        return None;
    }
    let [a, b] = [one, other].map(|peer| swarm.machines[peer.at].node.as_ref().map(Node::fold));
    let (a, b) = (a?, b?);
    if a.epochs().names() != b.epochs().names() {
        return None; // after a split each side excludes entries of the other until they merge
    }
    if a.log().forked().chain(b.log().forked()).next().is_some() {
        return None; // a forked chain has no common prefix by count alone
    }
    let common = |(author, count): (PeerId, u32)| (author, count.min(b.log().version().count(&author)));
    let common: VersionVector = a.log().version().iter().map(common).collect();
    let (ours, theirs) = (a.state_at(&common).ok()?, b.state_at(&common).ok()?);
    let why = difference(swarm.machines, one.at, other.at);
    (ours != theirs).then(|| format!("peers {} and {} differ about what both hold: {why}", one.at, other.at))
}

/// The first update that two peers weigh or apply differently: where an analysis begins.
fn difference(machines: &[Machine], one: MachineIndex, other: MachineIndex) -> String {
    let (Some(a), Some(b)) = (&machines[one].node, &machines[other].node) else { return "one is down".to_owned() };
    for ours in a.fold().log().records() {
        let (author, seq) = (ours.entry.author(), ours.entry.seq());
        let Some(theirs) = b.fold().log().record(&author, seq) else { continue };
        if (ours.weight, ours.applied) != (theirs.weight, theirs.applied) {
            let weights = [ours.weight, ours.applied, theirs.weight, theirs.applied].map(|weight| weight.q16());
            return format!("entry {seq} of {author:?} weighs (weight, applied) {weights:?}");
        }
    }
    if a.fold().log().version() == b.fold().log().version() {
        let same = a.fold().state() == b.fold().state();
        return format!("every entry weighs the same; the sets are equal, and so are the states: {same}");
    }
    "all common entries weigh the same".to_owned()
}
