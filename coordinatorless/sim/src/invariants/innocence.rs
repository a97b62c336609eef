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
        let (at, places) = (told.at, told.places);
        let mut wrong = Vec::new();
        if let Event::Evicted { peer, .. } = told.event
            && told.is_honest(peer)
        {
            wrong.push(format!("peer {at} evicted peer {}, which means well", places[peer]));
        }
        if let Event::Audited { update, auditor, passed: false } = told.event
            && told.is_honest(&update.author)
            && told.is_honest(auditor)
        {
            let (author, auditor) = (places[&update.author], places[auditor]);
            wrong.push(format!("peer {auditor} found update {} of peer {author} false; both mean well", update.seq));
        }
        if let Event::BadInput { peer, reason } = told.event
            && told.is_honest(peer)
            && places[peer] != at
        {
            wrong.push(format!("peer {at} struck peer {}, which means well: {reason}", places[peer]));
        }
        if matches!(told.event, Event::IdentityInUse | Event::Usurped) {
            wrong.push(format!("peer {at} tells {:?}, and nobody else has its key", told.event));
        }
        wrong
    }
}
