//! Who means well is never convicted and never sent away, whatever hostile peers say of it. (Accountability must be sound:
//! Haeberlen, Kouznetsov, Druschel, "PeerReview", 2007, section 3.1: no correct node is exposed.)

use murmur_coordinatorless::Event;

use super::{Invariant, Told};

pub(super) const NAME: &str = "innocence";

/// See the file's head.
pub(super) struct Innocence;

impl Invariant for Innocence {
    fn name(&self) -> &'static str {
        NAME
    }

    fn heed(&mut self, told: &Told<'_>) -> Vec<String> {
        match told.event {
            Event::Evicted { peer } if told.is_honest(peer) => {
                vec![format!("peer {} evicted peer {}, which means well", told.at, told.places[peer])]
            }
            Event::Audited { update, auditor, passed: false }
                if told.is_honest(&update.author) && told.is_honest(auditor) =>
            {
                let (author, auditor) = (told.places[&update.author], told.places[auditor]);
                vec![format!("peer {auditor} found update {} of peer {author} false; both mean well", update.seq)]
            }
            Event::BadInput { peer, reason } if told.is_honest(peer) && told.places[peer] != told.at => {
                vec![format!("peer {} struck peer {}, which means well: {reason}", told.at, told.places[peer])]
            }
            _ => Vec::new(),
        }
    }
}
