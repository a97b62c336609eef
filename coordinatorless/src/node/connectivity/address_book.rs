//! The addresses of other peers: several per peer, each with the results of its dials.
//!
//! An address is *verified* once a connection was made at it, and *unverified* while only other peers have sent it.
//! An unverified address displaces no verified one that worked at the last dial, so a peer that sends many invented
//! addresses cannot empty the book.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::PeerId;

use super::reachability::is_routable;
use crate::{PeerAddress, Time};

/// The number of peers in the book, at most.
const PEERS_MAX: usize = 1024;

/// The number of addresses of one peer, at most.
const ADDRESSES_MAX: usize = 4;

/// The number of addresses that the host stores, at most.
const KEPT_MAX: usize = 256;

/// An unverified address is dropped after this many failed dials in a row.
const UNVERIFIED_FAILURES_MAX: u32 = 3;

/// A connection shorter than this counts as refused: the other side closed it because it was full or did not want it.
const SHORT_CONNECTION: Duration = Duration::from_secs(10);

/// The longest delay between two dials of one address.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// An address of a peer, with the results of its dials.
#[derive(Clone, Copy, Debug)]
struct KnownAddress {
    address: SocketAddr,
    /// The rank of the last success, greater is newer; 0: unverified.
    last_success: u64,
    failures: u32,
    /// The number of short connections in a row.
    short_connections: u32,
    retry_at: Time,
}

/// The address book.
#[derive(Default, Debug)]
pub(crate) struct AddressBook {
    addresses: BTreeMap<PeerId, Vec<KnownAddress>>,
    successes: u64,
    /// Whether the list for the host has changed since [`AddressBook::take_changes`].
    changed: bool,
}

impl AddressBook {
    /// The book that the host stored, newest success first.
    pub(crate) fn restore(kept: &[PeerAddress]) -> Self {
        let mut book = Self::default();
        for known in kept.iter().take(KEPT_MAX).rev() {
            book.record_success(known.peer, known.address());
        }
        book.changed = false;
        book
    }

    /// Adds an unverified address of `peer`, if there is room.
    pub(crate) fn learn(&mut self, peer: PeerId, address: SocketAddr) {
        if !self.addresses.contains_key(&peer) && self.addresses.len() >= PEERS_MAX && !self.make_room() {
            return;
        }
        let addresses = self.addresses.entry(peer).or_default();
        if addresses.iter().any(|known| known.address == address) {
            return;
        }
        if addresses.len() >= ADDRESSES_MAX {
            let worst = (0..addresses.len())
                .filter(|at| addresses[*at].last_success == 0)
                .max_by_key(|at| addresses[*at].failures);
            let Some(worst) = worst else { return };
            addresses.swap_remove(worst);
        }
        addresses.push(KnownAddress {
            address,
            last_success: 0,
            failures: 0,
            short_connections: 0,
            retry_at: Time::default(),
        });
    }

    /// A connection to `peer` was made at `address`: the address is verified.
    pub(crate) fn record_success(&mut self, peer: PeerId, address: SocketAddr) {
        self.learn(peer, address);
        self.successes += 1;
        let addresses = self.addresses.entry(peer).or_default();
        if addresses.iter().all(|known| known.address != address) {
            // All addresses of this peer are verified: the one with the oldest success gives way.
            addresses.sort_by_key(|known| core::cmp::Reverse(known.last_success));
            addresses.truncate(ADDRESSES_MAX - 1);
            addresses.push(KnownAddress {
                address,
                last_success: 0,
                failures: 0,
                short_connections: 0,
                retry_at: Time::default(),
            });
        }
        for known in addresses.iter_mut().filter(|known| known.address == address) {
            self.changed |= known.last_success == 0;
            (known.last_success, known.failures, known.retry_at) = (self.successes, 0, Time::default());
        }
    }

    /// A dial to `address` failed. It delays the next dial, and drops an unverified address after a few failures.
    pub(crate) fn record_failure(&mut self, address: SocketAddr, now: Time) {
        for addresses in self.addresses.values_mut() {
            for known in addresses.iter_mut().filter(|known| known.address == address) {
                known.failures = known.failures.saturating_add(1);
                known.retry_at = now + retry_delay(known.failures);
            }
            addresses.retain(|known| known.last_success > 0 || known.failures < UNVERIFIED_FAILURES_MAX);
        }
        self.addresses.retain(|_, addresses| !addresses.is_empty());
    }

    /// A connection to `address` ended. After a short one the next dial is delayed, because the other side may not
    /// want it.
    pub(crate) fn record_end(&mut self, peer: &PeerId, address: SocketAddr, lasted: Duration, now: Time) {
        let addresses = self.addresses.get_mut(peer).into_iter().flatten();
        for known in addresses.filter(|known| known.address == address) {
            known.short_connections =
                if lasted < SHORT_CONNECTION { known.short_connections.saturating_add(1) } else { 0 };
            known.retry_at =
                now + if known.short_connections > 0 { retry_delay(known.short_connections) } else { Duration::ZERO };
        }
    }

    /// Drops all addresses of `peer`, because this peer must not dial it again.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.changed |= self.addresses.remove(peer).is_some();
    }

    /// The address at which to dial `peer` now: fewest failures first, then the newest success. None while all are
    /// delayed.
    pub(crate) fn best(&self, peer: &PeerId, now: Time) -> Option<SocketAddr> {
        let ready = self.addresses.get(peer)?.iter().filter(|known| known.retry_at <= now);
        ready.min_by_key(|known| (known.failures, core::cmp::Reverse(known.last_success))).map(|known| known.address)
    }

    /// The addresses of `peer`, newest success first, each with the time of its next dial: all that are verified, or
    /// else one that is not.
    pub(crate) fn addresses_of(&self, peer: &PeerId) -> Vec<(SocketAddr, Time)> {
        let mut addresses: Vec<&KnownAddress> = self.addresses.get(peer).into_iter().flatten().collect();
        addresses.sort_by_key(|known| core::cmp::Reverse(known.last_success));
        let verified = addresses.iter().take_while(|known| known.last_success > 0).count();
        addresses.into_iter().take(verified.max(1)).map(|known| (known.address, known.retry_at)).collect()
    }

    /// The peers with an address that may be dialed now, ascending.
    pub(crate) fn ready_peers(&self, now: Time) -> impl Iterator<Item = PeerId> + '_ {
        self.addresses
            .iter()
            .filter(move |(_, addresses)| addresses.iter().any(|p| p.retry_at <= now))
            .map(|(peer, _)| *peer)
    }

    /// The memory of the book, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let addresses: usize =
            self.addresses.values().map(|addresses| addresses.capacity() * size_of::<KnownAddress>()).sum();
        addresses + self.addresses.len() * size_of::<(PeerId, Vec<KnownAddress>)>()
    }

    /// The addresses for the host to store, newest success first, if they changed since the last call.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<PeerAddress>> {
        if !core::mem::take(&mut self.changed) {
            return None;
        }
        let all = self.addresses.iter().flat_map(|(peer, addresses)| addresses.iter().map(|known| (*peer, *known)));
        let mut verified: Vec<(PeerId, KnownAddress)> =
            all.filter(|(_, known)| known.last_success > 0 && is_routable(known.address.ip())).collect();
        verified.sort_by_key(|(_, known)| core::cmp::Reverse(known.last_success));
        Some(verified.into_iter().take(KEPT_MAX).map(|(peer, known)| PeerAddress::new(peer, known.address)).collect())
    }

    /// Whether [`AddressBook::take_changes`] returns anything.
    pub(crate) fn has_changes(&self) -> bool {
        self.changed
    }

    /// Makes room for one peer. A peer without verified addresses gives way, the one with most failures first; else
    /// the peer with the oldest success, if all its addresses failed since. Returns false otherwise.
    fn make_room(&mut self) -> bool {
        let worth = |addresses: &[KnownAddress]| {
            let success = addresses.iter().map(|known| known.last_success).max().unwrap_or(0);
            let failures = addresses.iter().map(|known| known.failures).min().unwrap_or(0);
            (success, core::cmp::Reverse(failures))
        };
        let worst = self.addresses.iter().map(|(peer, addresses)| (worth(addresses), *peer)).min();
        match worst {
            Some(((success, core::cmp::Reverse(failures)), peer)) if success == 0 || failures > 0 => {
                self.addresses.remove(&peer).is_some()
            }
            Some(_) | None => false,
        }
    }
}

/// The delay after `failures` in a row: one second, doubled by each failure, up to [`RETRY_DELAY_MAX`].
pub(crate) fn retry_delay(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(RETRY_DELAY_MAX)
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
        (1..=3).for_each(|n| book.record_success(peer(n), at(n as u16)));
        book.record_success(peer(1), at(9));
        book.learn(peer(7), at(7));
        let kept = book.take_changes().unwrap();
        let order: Vec<_> = kept.iter().map(|known| (known.peer, known.address())).collect();
        assert_eq!(
            order,
            [(peer(1), at(9)), (peer(3), at(3)), (peer(2), at(2)), (peer(1), at(1))],
            "no unverified address"
        );
        assert!(book.take_changes().is_none(), "nothing new");
        let mut again = AddressBook::restore(&kept);
        assert!(again.take_changes().is_none());
        assert_eq!(again.best(&peer(1), Time::default()), Some(at(9)));
    }

    #[test]
    fn failures_delay_one_address_and_another_is_tried() {
        let mut book = AddressBook::default();
        book.record_success(peer(1), at(1));
        book.learn(peer(1), at(2));
        assert_eq!(book.best(&peer(1), Time(0)), Some(at(1)));
        book.record_failure(at(1), Time(0));
        assert_eq!(book.best(&peer(1), Time(0)), Some(at(2)));
        (0..UNVERIFIED_FAILURES_MAX).for_each(|_| book.record_failure(at(2), Time(0)));
        assert_eq!(book.best(&peer(1), Time(0)), None, "an unverified address is forgotten, the other address waits");
        assert_eq!(book.best(&peer(1), Time::default() + RETRY_DELAY_MAX), Some(at(1)));
    }

    #[test]
    fn a_flood_of_unverified_addresses_displaces_no_verified_one() {
        let mut book = AddressBook::default();
        (0..100).for_each(|n| book.record_success(peer(n), at(n as u16)));
        (1000..5000).for_each(|n| book.learn(peer(n), at(3)));
        (0..20).for_each(|n| book.learn(peer(5), at(1000 + n)));
        assert_eq!(book.addresses.len(), PEERS_MAX);
        assert_eq!(book.addresses[&peer(5)].len(), ADDRESSES_MAX);
        assert!((0..100).all(|n| book.addresses_of(&peer(n)).iter().any(|(address, _)| *address == at(n as u16))));
    }
}
