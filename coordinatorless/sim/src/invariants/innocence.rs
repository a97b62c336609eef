//! Innocence: no honest peer is convicted, banned or evicted, whatever attackers claim. (Accountability must be sound:
//! Haeberlen, Kouznetsov, Druschel, "PeerReview", 2007, section 3.1: no correct node is exposed.)

use murmur_coordinatorless::Event;

use super::{Invariant, ObservedEvent};

pub(super) const NAME: &str = "innocence";

/// See the module documentation.
pub(super) struct Innocence;

impl Invariant for Innocence {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observed: &ObservedEvent<'_>) -> Vec<String> {
        let (at, indices) = (observed.at, observed.indices);
        let mut violations = Vec::new();
        if let Event::Evicted { peer, .. } = observed.event
            && observed.is_honest(peer)
        {
            violations.push(format!("peer {at} evicted peer {}, which means well", indices[peer]));
        }
        if let Event::Audited { update, auditor, passed: false } = observed.event
            && observed.is_honest(&update.author)
            && observed.is_honest(auditor)
        {
            let (author, auditor) = (indices[&update.author], indices[auditor]);
            violations
                .push(format!("peer {auditor} found update {} of peer {author} false; both mean well", update.seq));
        }
        if let Event::BadInput { peer, reason } = observed.event
            && observed.is_honest(peer)
            && indices[peer] != at
        {
            violations.push(format!("peer {at} struck peer {}, which means well: {reason}", indices[peer]));
        }
        if matches!(observed.event, Event::IdentityInUse | Event::Usurped) {
            violations.push(format!("peer {at} tells {:?}, and nobody else has its key", observed.event));
        }
        violations
    }
}
