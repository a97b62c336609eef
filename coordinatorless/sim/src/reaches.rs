//! How pairs of peers reach each other: the figures that say whether holes were punched and relays found.

use std::collections::BTreeMap;

use murmur_coordinatorless::Reach;

use crate::{queue::Place, world::World};

impl World {
    /// Of all pairs of live honest peers, how many are connected in which way, as the network knows it; and how many at least
    /// one end holds to be punched, as it was told to.
    pub(crate) fn reaches(&self) -> (BTreeMap<&'static str, u64>, u64) {
        let counts = |place: &Place| self.machines[*place].is_honest() && self.machines[*place].is_live();
        let live: Vec<Place> = (0..self.machines.len()).filter(counts).collect();
        let (mut ways, mut arranged) = (BTreeMap::new(), 0);
        for (number, a) in live.iter().enumerate() {
            for b in &live[number + 1..] {
                *ways.entry(self.way_between(*a, *b)).or_default() += 1;
                let told = [self.believes(*a, *b), self.believes(*b, *a)].contains(&Some(Reach::Punched));
                arranged += u64::from(told);
            }
        }
        (ways, arranged)
    }

    fn way_between(&self, a: Place, b: Place) -> &'static str {
        match self.network.connection(a, b).filter(|connection| !connection.is_orphan) {
            None => "apart",
            Some(connection) if connection.via.is_some() => "relayed",
            Some(connection) if connection.is_punched => "punched",
            Some(_) => "direct",
        }
    }

    fn believes(&self, at: Place, other: Place) -> Option<Reach> {
        self.machines[at].node.as_ref()?.reach_of(&self.machines[other].id)
    }
}
