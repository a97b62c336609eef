//! Equal set ⇒ equal root: strong eventual consistency (Shapiro, Preguiça, Baquero, Zawirski, "Conflict-free replicated
//! data types", 2011, section 2.2): who has received the same updates has the same state, whatever the order.

use std::collections::BTreeMap;

use murmur_collectives::{Hash, PeerId, VersionVector};
use murmur_coordinatorless::{Event, Node};

use super::{Glance, Invariant, Sight, Told};
use crate::{queue::Place, swarm::Machine};

/// See the file's head.
pub(super) struct EqualSetEqualRoot;

impl Invariant for EqualSetEqualRoot {
    fn name(&self) -> &'static str {
        "equal_set_equal_root"
    }

    fn look(&mut self, sight: &Sight<'_>) -> Vec<String> {
        let mut roots: BTreeMap<Hash, (Place, Hash)> = BTreeMap::new();
        let mut wrong = Vec::new();
        for glance in sight.glances.iter().filter(|glance| glance.is_caught_up) {
            let (first, root) = *roots.entry(glance.set).or_insert((glance.at, glance.root));
            if root != glance.root {
                let why = difference(sight.machines, first, glance.at);
                wrong.push(format!("peers {first} and {} hold the same set and other states: {why}", glance.at));
            }
        }
        wrong.extend(sight.glances.windows(2).filter_map(|pair| disagreement(sight, &pair[0], &pair[1])));
        wrong
    }

    /// Peers notice it themselves, too.
    fn heed(&mut self, told: &Told<'_>) -> Vec<String> {
        let Event::Diverged { peer, .. } = told.event else { return Vec::new() };
        if !told.is_honest(peer) {
            return Vec::new();
        }
        let other = told.places[peer];
        let why = difference(told.machines, told.at, other);
        vec![format!("peer {} says that peer {other} diverged, and both mean well: {why}", told.at)]
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        self.look(sight)
    }
}

/// Two peers whose sets differ still agree on what both hold: the part is causally closed, too, and its state can be
/// rebuilt from either. So a difference shows at once, and not only when the sets happen to be equal.
fn disagreement(sight: &Sight<'_>, one: &Glance, other: &Glance) -> Option<String> {
    if one.epoch != other.epoch || one.set == other.set || !one.is_caught_up || !other.is_caught_up {
        return None;
    }
    let [a, b] = [one, other].map(|glance| sight.machines[glance.at].node.as_ref().map(Node::fold));
    let (a, b) = (a?, b?);
    if a.epochs().names() != b.epochs().names() {
        return None; // two histories that have yet to meet: each leaves out what belongs to the other
    }
    if a.log().forked().chain(b.log().forked()).next().is_some() {
        return None; // what counts as common depends on which branch each holds
    }
    let common = |(author, count): (PeerId, u32)| (author, count.min(b.log().version().count(&author)));
    let common: VersionVector = a.log().version().iter().map(common).collect();
    let (ours, theirs) = (a.state_at(&common).ok()?, b.state_at(&common).ok()?);
    let why = difference(sight.machines, one.at, other.at);
    (ours != theirs).then(|| format!("peers {} and {} differ about what both hold: {why}", one.at, other.at))
}

/// The first update that one of two peers weighs or applies otherwise than the other: where to begin to look.
fn difference(machines: &[Machine], one: Place, other: Place) -> String {
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
