//! Evictions: reporting this peer's own, and hearings for other evicted peers.
//!
//! A peer accepts that it is evicted only when its own fold proves it, because any peer can close a connection with
//! any code. So the connection of an evicted peer is not closed at once. The peer gets a *hearing*: it receives a
//! digest and may request the entries that it lacks, among them the proof. Its other messages are ignored. A hearing
//! is short, and the next one starts only after a pause, so that a hostile peer gains little by an eviction.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::PeerId;

use super::{context::Core, set::Set};
use crate::{Event, Time};

/// The longest duration of a hearing: recent entries take a few round trips.
const HEARING: Duration = Duration::from_secs(10);

/// The time between the starts of two hearings of one peer.
const HEARING_EVERY: Duration = Duration::from_secs(60);

/// The number of hearings stored, at most. If all are taken, a further evicted peer is disconnected without a
/// hearing.
const HEARINGS_MAX: usize = 1024;

/// A hearing of one peer, under way or ended lately.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    ends_at: Time,
    open: bool,
}

/// The hearings of evicted peers, and whether this peer is evicted itself.
#[derive(Default, Debug)]
pub(crate) struct Evictions {
    hearings: BTreeMap<PeerId, Hearing>,
    /// The change count of the set that [`Evictions::check_own`] examined last.
    checked_at: Option<u64>,
    /// Whether this peer's own eviction was reported.
    reported: bool,
}

impl Evictions {
    /// The time at which [`Evictions::end`] has work.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.hearings.values().filter(|hearing| hearing.open).map(|hearing| hearing.ends_at).min()
    }

    /// Whether `peer` has a hearing now.
    pub(crate) fn hears(&self, peer: &PeerId) -> bool {
        self.hearings.get(peer).is_some_and(|hearing| hearing.open)
    }

    /// Whether the evicted `peer` may stay connected at `now`, for the hearing under way or for a new one.
    pub(crate) fn admits(&mut self, peer: PeerId, now: Time) -> bool {
        self.hearings.retain(|_, hearing| hearing.open || now < hearing.ends_at + (HEARING_EVERY - HEARING));
        if !self.hearings.contains_key(&peer) && self.hearings.len() < HEARINGS_MAX {
            self.hearings.insert(peer, Hearing { ends_at: now + HEARING, open: true });
        }
        self.hears(&peer)
    }

    /// Ends the hearings that have timed out, and returns their peers.
    pub(crate) fn end(&mut self, now: Time) -> Vec<PeerId> {
        let over = self.hearings.iter_mut().filter(|(_, hearing)| hearing.open && hearing.ends_at <= now);
        over.map(|(peer, hearing)| {
            hearing.open = false;
            *peer
        })
        .collect()
    }

    /// Reports this peer's own eviction as soon as its fold proves it. The proof may come from a neighbour, a final
    /// frontier, or the disk, so this is checked after every change of the set.
    pub(crate) fn check_own(&mut self, core: &mut Core, set: &Set) {
        if self.reported || self.checked_at.replace(set.changes()) == Some(set.changes()) {
            return;
        }
        let peer = core.id();
        let why = set.fold.voided(&peer);
        self.reported = why.is_some();
        why.into_iter().for_each(|why| core.tell(Event::Evicted { peer, why }));
    }
}

#[cfg(test)]
mod tests {
    use murmur_collectives::{Body, Enroll, Entry, Equivocation, Header, Insertion, Voided};

    use super::*;
    use crate::node::bench::{ME, RUN, core, identity, peer, set, take_events};

    const PEER: PeerId = PeerId([1; 32]);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn a_hearing_ends_and_the_next_one_begins_after_a_pause() {
        let mut evictions = Evictions::default();
        assert!(evictions.admits(PEER, at(0)) && evictions.admits(PEER, at(9)), "it comes back within its hearing");
        assert_eq!((evictions.next_deadline(), evictions.end(at(9))), (Some(at(10)), vec![]));
        assert_eq!((evictions.end(at(10)), evictions.next_deadline()), (vec![PEER], None));
        assert!(!evictions.admits(PEER, at(59)));
        assert!(evictions.admits(PEER, at(60)));
    }

    #[test]
    fn a_crowd_of_evicted_peers_is_not_remembered_without_end() {
        let mut evictions = Evictions::default();
        let crowd = (0..5000u32).map(|n| {
            let mut id = [9; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            PeerId(id)
        });
        assert_eq!(crowd.filter(|peer| evictions.admits(*peer, at(0))).count(), HEARINGS_MAX);
    }

    /// A set in which the peer 2 proves that [`ME`] signed two entries for one position.
    fn forked_set() -> Set {
        let mut set = set();
        let sign = |set: &Set, n: u8, body: Body| {
            let (place, epochs) = (set.fold.log().place(&peer(n)), set.fold.epochs());
            let header = Header {
                run: RUN,
                author: peer(n),
                seq: place.seq,
                previous: place.previous,
                epoch: epochs.number(),
                frontier: epochs.newest().frontier.name(),
                base: set.fold.log().version().to_components(),
                body,
            };
            Entry::sign(&identity(n), header)
        };
        let enroll = |key| Body::Enroll(Enroll { vrf_key: [key; 32] });
        let twins = [0, 1].map(|key| sign(&set, ME, enroll(key)));
        for entry in [sign(&set, 2, enroll(2)), twins[0].clone()] {
            assert!(matches!(set.fold.insert(entry, None), Insertion::Applied { .. }));
        }
        let evidence = sign(&set, 2, Body::Equivocation(Equivocation::of(&twins[0], &twins[1])));
        assert!(matches!(set.fold.insert(evidence, None), Insertion::Applied { .. }));
        set
    }

    #[test]
    fn the_own_eviction_is_reported_once_and_only_with_a_proof() {
        let (mut evictions, mut core, innocent) = (Evictions::default(), core(), set());
        evictions.check_own(&mut core, &innocent);
        assert_eq!(take_events(&mut core), []);
        let mut forked = forked_set();
        evictions.check_own(&mut core, &forked);
        assert_eq!(take_events(&mut core), [], "a set is examined only after a change");
        forked.changed();
        (0..2).for_each(|_| evictions.check_own(&mut core, &forked));
        assert_eq!(take_events(&mut core), [Event::Evicted { peer: peer(ME), why: Voided::Fork }]);
        forked.changed();
        evictions.check_own(&mut core, &forked);
        assert_eq!(take_events(&mut core), [], "once");
    }
}
