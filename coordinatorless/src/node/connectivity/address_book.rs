//! Where peers are, as far as this peer knows: several places for each, and how dialing them went.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::PeerId;

use super::reachability::is_somewhere;
use crate::{PeerAddress, Time};

/// Peers remembered, at most.
const PEERS_MAX: usize = 1024;

/// Places remembered of one peer, at most.
const PLACES_MAX: usize = 4;

/// Places told to the host to keep, at most.
const KEPT_MAX: usize = 256;

/// A place that only others told of is forgotten after this many failed dials in a row.
const HEARSAY_FAILURES_MAX: u32 = 3;

/// A connection that ends sooner than this was not wanted.
const BRIEF: Duration = Duration::from_secs(10);

/// The longest pause between dials of one place.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A place where a peer was or is said to be.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: SocketAddr,
    /// Rank of the newest success, greater is newer; 0: only hearsay.
    success: u64,
    failures: u32,
    /// Connections in a row that ended soon after they began.
    brief: u32,
    retry_at: Time,
}

/// The book.
#[derive(Default, Debug)]
pub(crate) struct AddressBook {
    places: BTreeMap<PeerId, Vec<Place>>,
    successes: u64,
    /// Whether what is worth keeping has changed since it was last listed.
    changed: bool,
}

impl AddressBook {
    /// What was kept from last time, newest success first.
    pub(crate) fn restore(kept: &[PeerAddress]) -> Self {
        let mut book = Self::default();
        for known in kept.iter().take(KEPT_MAX).rev() {
            book.succeed(known.peer, known.address());
        }
        book.changed = false;
        book
    }

    /// Somebody says that `peer` is at `address`.
    pub(crate) fn hear(&mut self, peer: PeerId, address: SocketAddr) {
        if !self.places.contains_key(&peer) && self.places.len() >= PEERS_MAX && !self.evict() {
            return;
        }
        let places = self.places.entry(peer).or_default();
        if places.iter().any(|place| place.address == address) {
            return;
        }
        if places.len() >= PLACES_MAX {
            let worst = (0..places.len()).filter(|at| places[*at].success == 0).max_by_key(|at| places[*at].failures);
            let Some(worst) = worst else { return };
            places.swap_remove(worst);
        }
        places.push(Place { address, success: 0, failures: 0, brief: 0, retry_at: Time::default() });
    }

    /// A connection with `peer` came about at `address`.
    pub(crate) fn succeed(&mut self, peer: PeerId, address: SocketAddr) {
        self.hear(peer, address);
        self.successes += 1;
        let places = self.places.entry(peer).or_default();
        if places.iter().all(|place| place.address != address) {
            // Full of places that were right once: the one right longest ago gives way.
            places.sort_by_key(|place| core::cmp::Reverse(place.success));
            places.truncate(PLACES_MAX - 1);
            places.push(Place { address, success: 0, failures: 0, brief: 0, retry_at: Time::default() });
        }
        for place in places.iter_mut().filter(|place| place.address == address) {
            self.changed |= place.success == 0;
            (place.success, place.failures, place.retry_at) = (self.successes, 0, Time::default());
        }
    }

    /// A dial to `address` led to nobody.
    pub(crate) fn fail(&mut self, address: SocketAddr, now: Time) {
        for places in self.places.values_mut() {
            for place in places.iter_mut().filter(|place| place.address == address) {
                place.failures = place.failures.saturating_add(1);
                place.retry_at = now + pause(place.failures);
            }
            places.retain(|place| place.success > 0 || place.failures < HEARSAY_FAILURES_MAX);
        }
        self.places.retain(|_, places| !places.is_empty());
    }

    /// A connection to `address` ended. One that did not last is not tried again at once: the other side may not want it.
    pub(crate) fn ended(&mut self, peer: &PeerId, address: SocketAddr, lasted: Duration, now: Time) {
        let places = self.places.get_mut(peer).into_iter().flatten();
        for place in places.filter(|place| place.address == address) {
            place.brief = if lasted < BRIEF { place.brief.saturating_add(1) } else { 0 };
            place.retry_at = now + if place.brief > 0 { pause(place.brief) } else { Duration::ZERO };
        }
    }

    /// Nothing more is to be had from `peer`.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.changed |= self.places.remove(peer).is_some();
    }

    /// Where to dial `peer` now: the place with the fewest failures, then the newest success. None while all pause.
    pub(crate) fn best(&self, peer: &PeerId, now: Time) -> Option<SocketAddr> {
        let ready = self.places.get(peer)?.iter().filter(|place| place.retry_at <= now);
        ready.min_by_key(|place| (place.failures, core::cmp::Reverse(place.success))).map(|place| place.address)
    }

    /// Where `peer` was, the newest place first, and until when each pauses; where it is said to be, if it never was anywhere.
    pub(crate) fn places(&self, peer: &PeerId) -> Vec<(SocketAddr, Time)> {
        let mut places: Vec<&Place> = self.places.get(peer).into_iter().flatten().collect();
        places.sort_by_key(|place| core::cmp::Reverse(place.success));
        let proven = places.iter().take_while(|place| place.success > 0).count();
        places.into_iter().take(proven.max(1)).map(|place| (place.address, place.retry_at)).collect()
    }

    /// Peers that may be dialed now, ascending.
    pub(crate) fn ready(&self, now: Time) -> impl Iterator<Item = PeerId> + '_ {
        self.places.iter().filter(move |(_, places)| places.iter().any(|p| p.retry_at <= now)).map(|(peer, _)| *peer)
    }

    /// Bytes of it.
    pub(crate) fn held_bytes(&self) -> usize {
        let places: usize = self.places.values().map(|places| places.capacity() * size_of::<Place>()).sum();
        places + self.places.len() * size_of::<(PeerId, Vec<Place>)>()
    }

    /// What to keep, newest success first, if it has changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<PeerAddress>> {
        if !core::mem::take(&mut self.changed) {
            return None;
        }
        let all = self.places.iter().flat_map(|(peer, places)| places.iter().map(|place| (*peer, *place)));
        let mut proven: Vec<(PeerId, Place)> =
            all.filter(|(_, place)| place.success > 0 && is_somewhere(place.address.ip())).collect();
        proven.sort_by_key(|(_, place)| core::cmp::Reverse(place.success));
        Some(proven.into_iter().take(KEPT_MAX).map(|(peer, place)| PeerAddress::new(peer, place.address)).collect())
    }

    /// Whether [`AddressBook::take_changes`] has something to say.
    pub(crate) fn has_changes(&self) -> bool {
        self.changed
    }

    /// Makes room for one peer: of those that only others told of, the one with most failures goes; failing that, of
    /// those not reached the last time, the one reached longest ago.
    fn evict(&mut self) -> bool {
        let worth = |places: &[Place]| {
            let success = places.iter().map(|place| place.success).max().unwrap_or(0);
            let failures = places.iter().map(|place| place.failures).min().unwrap_or(0);
            (success, core::cmp::Reverse(failures))
        };
        let worst = self.places.iter().map(|(peer, places)| (worth(places), *peer)).min();
        match worst {
            Some(((success, core::cmp::Reverse(failures)), peer)) if success == 0 || failures > 0 => {
                self.places.remove(&peer).is_some()
            }
            Some(_) | None => false,
        }
    }
}

/// How long to wait after so many failures in a row: twice as long each time, up to [`PAUSE_MAX`].
pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(PAUSE_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(n: u32) -> PeerId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn the_newest_success_comes_first_and_comes_back() {
        let mut book = AddressBook::default();
        (1..=3).for_each(|n| book.succeed(peer(n), at(n as u16)));
        book.succeed(peer(1), at(9));
        book.hear(peer(7), at(7));
        let kept = book.take_changes().unwrap();
        let order: Vec<_> = kept.iter().map(|known| (known.peer, known.address())).collect();
        assert_eq!(order, [(peer(1), at(9)), (peer(3), at(3)), (peer(2), at(2)), (peer(1), at(1))], "no hearsay");
        assert!(book.take_changes().is_none(), "nothing new");
        let mut again = AddressBook::restore(&kept);
        assert!(again.take_changes().is_none());
        assert_eq!(again.best(&peer(1), Time::default()), Some(at(9)));
    }

    #[test]
    fn failures_pause_a_place_and_let_another_be_tried() {
        let mut book = AddressBook::default();
        book.succeed(peer(1), at(1));
        book.hear(peer(1), at(2));
        assert_eq!(book.best(&peer(1), Time(0)), Some(at(1)));
        book.fail(at(1), Time(0));
        assert_eq!(book.best(&peer(1), Time(0)), Some(at(2)));
        (0..HEARSAY_FAILURES_MAX).for_each(|_| book.fail(at(2), Time(0)));
        assert_eq!(book.best(&peer(1), Time(0)), None, "hearsay is forgotten, the other place waits");
        assert_eq!(book.best(&peer(1), Time::default() + PAUSE_MAX), Some(at(1)));
    }

    #[test]
    fn a_flood_of_hearsay_never_displaces_what_was_right() {
        let mut book = AddressBook::default();
        (0..100).for_each(|n| book.succeed(peer(n), at(n as u16)));
        (1000..5000).for_each(|n| book.hear(peer(n), at(3)));
        (0..20).for_each(|n| book.hear(peer(5), at(1000 + n)));
        assert_eq!(book.places.len(), PEERS_MAX);
        assert_eq!(book.places[&peer(5)].len(), PLACES_MAX);
        assert!((0..100).all(|n| book.places(&peer(n)).iter().any(|(place, _)| *place == at(n as u16))));
    }
}
