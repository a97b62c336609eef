//! How pairs of peers reach each other: the figure that says whether holes were punched and relays found.

use std::collections::BTreeMap;

use murmur_coordinatorless::Reach;

use crate::{swarm::Machine, world::World};

impl World {
    /// Of all pairs of live honest peers, how many are connected in which way. If the two ends differ, what took more counts:
    /// one of them may not know that the other was told to punch.
    pub(crate) fn reach(&self) -> BTreeMap<&'static str, u64> {
        let live: Vec<&Machine> = self.machines.iter().filter(|at| at.is_honest() && at.is_live()).collect();
        let mut counts = BTreeMap::new();
        for (number, a) in live.iter().enumerate() {
            for b in &live[number + 1..] {
                *counts.entry(between(a, b)).or_default() += 1;
            }
        }
        counts
    }
}

fn between(a: &Machine, b: &Machine) -> &'static str {
    let seen = |from: &Machine, to: &Machine| from.node.as_ref().and_then(|node| node.reach_of(&to.id));
    let ends = [seen(a, b), seen(b, a)];
    let is = |which: fn(Reach) -> bool| ends.into_iter().flatten().any(which);
    match ends {
        [None, None] => "apart",
        _ if is(|reach| matches!(reach, Reach::Relayed { .. })) => "relayed",
        _ if is(|reach| reach == Reach::Punched) => "punched",
        [..] => "direct",
    }
}
