//! What is known of a connected peer: what it holds and claims, what it was told, and what it owes.

use std::sync::Arc;

use murmur_collectives::{Hash, PeerId, VersionVector};

use super::{Context, Replication};
use crate::Time;

/// A neighbour that owes this many answers, and has given none for `OWING_TIMEOUTS` times the request timeout, announces
/// what it does not serve. One that was only stopped or cut off answers before that, or loses its connection.
const OWING_MAX: u32 = 8;
pub(super) const OWING_TIMEOUTS: u32 = 4;

/// What a peer said in its newest digest.
#[derive(Debug)]
pub(crate) struct Claims {
    /// Its set.
    pub(crate) vector: VersionVector,
    /// State root of exactly that set.
    pub(crate) root: Hash,
    /// It will author nothing more unless something new arrives.
    pub(crate) is_idle: bool,
    /// It is about to leave.
    pub(crate) is_finishing: bool,
    /// The newest epoch that is final there, and the name of its frontier.
    pub(crate) epoch: (u32, Hash),
    /// Number of the digest.
    pub(super) number: u32,
}

/// One connected peer.
#[derive(Default, Debug)]
pub(super) struct Peer {
    /// What it is known to hold, at least.
    pub(super) known: VersionVector,
    pub(super) claims: Option<Claims>,
    /// The set that the last digest told it of; none if the next has to be whole.
    pub(super) told: Option<Arc<VersionVector>>,
    /// Number of that digest.
    pub(super) said: u32,
    /// Requests that it has been sent and has not answered yet.
    pub(super) asked: u32,
    /// Requests that it left unanswered, less those that it answered since.
    pub(super) owing: u32,
    /// When it first left one unanswered, if it has answered none since.
    owing_since: Option<Time>,
}

impl Peer {
    /// It answered a request.
    pub(super) fn note_answer(&mut self) {
        self.asked = self.asked.saturating_sub(1);
        (self.owing, self.owing_since) = (self.owing / 2, None);
    }

    /// It let a request run out. True if it owes too many answers and has given none for `patience`.
    pub(super) fn note_silence(&mut self, now: Time, patience: core::time::Duration) -> bool {
        self.asked = self.asked.saturating_sub(1);
        self.note_unserved(now, patience)
    }

    /// The same without a request: it does not serve what it was said to hold.
    pub(super) fn note_unserved(&mut self, now: Time, patience: core::time::Duration) -> bool {
        self.owing += 1;
        let since = *self.owing_since.get_or_insert(now);
        let owes_too_much = self.owing >= OWING_MAX && now.since(since) >= patience;
        if owes_too_much {
            (self.owing, self.owing_since) = (self.owing / 2, None);
        }
        owes_too_much
    }

    pub(super) fn held_bytes(&self) -> usize {
        let claimed = self.claims.as_ref().map_or(0, |claims| claims.vector.held_bytes());
        size_of::<Self>() + self.known.held_bytes() + claimed
    }
}

impl Replication {
    /// What `peer` said in its newest digest, if it has sent one.
    pub(crate) fn claims(&self, peer: &PeerId) -> Option<&Claims> {
        self.peers.get(peer)?.claims.as_ref()
    }

    /// What `peer`, if it is connected, is known to hold.
    pub(crate) fn known(&self, peer: &PeerId) -> Option<&VersionVector> {
        self.peers.get(peer).map(|peer| &peer.known)
    }

    /// The newest epoch that is final at `peer`, and the name of its frontier; `(0, Hash::NONE)` before its first digest.
    pub(crate) fn epoch_at(&self, peer: &PeerId) -> (u32, Hash) {
        self.claims(peer).map_or((0, Hash::NONE), |claims| claims.epoch)
    }

    /// Requests that `peer` has been sent and has not answered yet.
    pub(crate) fn asked_of(&self, peer: &PeerId) -> u32 {
        self.peers.get(peer).map_or(0, |peer| peer.asked)
    }

    /// `peer` holds the first `count` entries of `author`. If that is more than is held here, it is to be pulled.
    pub(super) fn note(&mut self, cx: &Context<'_>, peer: &PeerId, author: PeerId, count: u32) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.known.raise(author, count);
        }
        if count > cx.set.fold.log().reach(&author) && !self.requests.contains_key(&author) {
            self.lacking.insert(author);
        }
    }

    /// The same, for tests of machines above.
    #[cfg(test)]
    pub(crate) fn note_held(&mut self, peer: &PeerId, author: PeerId, count: u32) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.known.raise(author, count);
        }
    }

    /// Notes that all entries of `vector` are held by some neighbour.
    pub(super) fn note_all(&mut self, cx: &Context<'_>, vector: &VersionVector) {
        let log = cx.set.fold.log();
        let more = vector.ahead_of(log.version()).filter(|author| vector.count(author) > log.reach(author));
        let more = more.filter(|author| !self.requests.contains_key(author));
        self.lacking.extend(more);
    }

    /// Believes of `peer` that it holds no more of `author`'s chain than this peer does: it did not serve what it was said to
    /// hold. Its next digest may say otherwise.
    pub(super) fn doubt(&mut self, cx: &Context<'_>, peer: &PeerId, author: PeerId) {
        let held = cx.set.fold.log().reach(&author);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.known.set(author, held);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn a_peer_that_answers_nothing_for_long_owes_too_much_and_one_that_answers_now_and_then_does_not() {
        let mut silent = Peer { asked: 30, ..Peer::default() };
        assert!((0..20).all(|second| !silent.note_silence(at(second), PATIENCE)), "many at once are no offence");
        assert!(silent.note_silence(at(20), PATIENCE));
        assert!(!silent.note_silence(at(21), PATIENCE), "patience begins again");
        assert_eq!(silent.asked, 8);

        let mut slow = Peer::default();
        let offends = |second: u64| {
            if second.is_multiple_of(15) {
                slow.note_answer();
            }
            slow.note_silence(at(second), PATIENCE)
        };
        assert!(!(0..1000).any(offends));
    }
}
