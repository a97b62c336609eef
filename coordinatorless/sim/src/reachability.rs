//! Reachability figures: how many pairs of peers are connected directly, by hole punching, or through a relay.

use std::collections::BTreeMap;

use murmur_coordinatorless::Reach;

use crate::{queue::MachineIndex, simulation::Simulation};

impl Simulation {
    /// Counts the pairs of live honest peers by connection kind, as the network knows it. The second number counts the
    /// pairs of which at least one node reports [`Reach::Punched`]: it dialed because a neighbour arranged the punch.
    pub(crate) fn reach_figures(&self) -> (BTreeMap<&'static str, u64>, u64) {
        let counts = |index: &MachineIndex| self.machines[*index].is_honest() && self.machines[*index].is_live();
        let live: Vec<MachineIndex> = (0..self.machines.len()).filter(counts).collect();
        let (mut kinds, mut arranged) = (BTreeMap::new(), 0);
        for (number, a) in live.iter().enumerate() {
            for b in &live[number + 1..] {
                *kinds.entry(self.connection_kind(*a, *b)).or_default() += 1;
                let is_arranged =
                    [self.reported_reach(*a, *b), self.reported_reach(*b, *a)].contains(&Some(Reach::Punched));
                arranged += u64::from(is_arranged);
            }
        }
        (kinds, arranged)
    }

    fn connection_kind(&self, a: MachineIndex, b: MachineIndex) -> &'static str {
        match self.network.connection(a, b).filter(|connection| !connection.is_half_open) {
            None => "apart",
            Some(connection) if connection.relay.is_some() => "relayed",
            Some(connection) if connection.is_punched => "punched",
            Some(_) => "direct",
        }
    }

    fn reported_reach(&self, at: MachineIndex, other: MachineIndex) -> Option<Reach> {
        self.machines[at].node.as_ref()?.reach_of(&self.machines[other].id)
    }
}
