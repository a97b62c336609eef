//! Equal set ⇒ equal root: strong eventual consistency (Shapiro, Preguiça, Baquero, Zawirski, "Conflict-free replicated
//! data types", 2011, section 2.2): who has received the same updates has the same state, whatever the order.

use std::collections::BTreeMap;

use murmur_collectives::Hash;

use super::{Invariant, Sight, Told};
use crate::queue::Place;
use murmur_coordinatorless::Event;

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
                wrong.push(format!("peers {first} and {} hold the same set and other states", glance.at));
            }
        }
        wrong
    }

    /// Peers notice it themselves, too.
    fn heed(&mut self, told: &Told<'_>) -> Vec<String> {
        match told.event {
            Event::Diverged { peer, .. } if told.is_honest(peer) => {
                vec![format!("peer {} says that peer {} diverged, and both mean well", told.at, told.places[peer])]
            }
            _ => Vec::new(),
        }
    }

    fn conclude(&mut self, sight: &Sight<'_>) -> Vec<String> {
        self.look(sight)
    }
}
