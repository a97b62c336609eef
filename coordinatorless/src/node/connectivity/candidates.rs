//! Addresses that nobody sees a peer at, and that lead to it all the same: those of its own network, at which a peer behind
//! the same translator reaches it, and the outer end of a port that its router keeps open for it.
//!
//! A peer tells its neighbours those of its addresses at which they do not see it; where there is no translator that is
//! none. The neighbour believes only what fits what it sees itself:
//! - an address with the IP address that it sees the peer at counts as mapped, and is told others like the one it sees;
//! - an address of a private network counts as local, and is told only to a peer seen at the same IP address, so behind the
//!   same translator, and only when the two are brought together;
//! - anything else is dropped.
//!
//! So a liar can have others dial its own IP address, or machines of their own network when they share its IP address, as
//! often as [`Message::Punch`] and [`Message::Peers`] allow anybody, and nobody learns a peer's local addresses but its
//! neighbours and those who share its translator.

use std::net::{IpAddr, SocketAddr};

use murmur_collectives::PeerId;

use super::{
    Connectivity, Context,
    reachability::{is_allowed, is_somewhere},
};
use crate::{Message, PeerAddress};

/// Candidates of one peer, at most: two networks, each with both versions of IP, or one with a mapped port.
pub(crate) const CANDIDATES_MAX: usize = 4;

/// What a neighbour says of itself, as far as it is believed, and what it was told.
#[derive(Clone, Default, Debug)]
pub(crate) struct Candidates {
    mapped: Option<SocketAddr>,
    local: Vec<SocketAddr>,
    /// What this peer told it last.
    told: Vec<SocketAddr>,
}

impl Candidates {
    /// Sorts what a peer seen at `seen` says of itself.
    fn believe(&mut self, seen: SocketAddr, said: &[SocketAddr]) {
        self.mapped = said.iter().copied().find(|address| address.ip() == seen.ip() && *address != seen);
        let local = |address: &SocketAddr| is_private(address.ip()) && address.ip() != seen.ip();
        self.local = said.iter().copied().filter(local).collect();
    }

    /// The outer end of a port that the peer's router keeps open, if it has said so.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }
}

impl Connectivity {
    /// The user's machine has these addresses, or a port was mapped.
    pub(crate) fn on_own_addresses(&mut self, cx: &mut Context<'_>, mut addresses: Vec<SocketAddr>) {
        addresses.retain(|address| is_allowed(&cx.core.config, *address) && !address.ip().is_loopback());
        addresses.truncate(CANDIDATES_MAX);
        let gained = addresses.iter().any(|address| !self.reachability.own.contains(address));
        self.reachability.own = addresses;
        let peers: Vec<PeerId> = self.reachability.paths.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell_candidates(cx, peer));
        if gained {
            self.meet_anew(cx);
        }
    }

    /// Tells a neighbour the addresses that it does not see, unless it knows.
    pub(crate) fn tell_candidates(&mut self, cx: &mut Context<'_>, to: PeerId) {
        let Some(seen) = self.reachability.straight(&to).and_then(|path| path.sees_us_at) else { return };
        let unseen: Vec<SocketAddr> = self.reachability.own.iter().copied().filter(|own| *own != seen).collect();
        let Some(path) = self.reachability.paths.get_mut(&to).filter(|path| path.candidates.told != unseen) else {
            return;
        };
        path.candidates.told.clone_from(&unseen);
        let own = cx.core.id();
        let addresses = unseen.into_iter().map(|address| PeerAddress::new(own, address)).collect();
        cx.send(to, &Message::Candidates { addresses });
    }

    pub(crate) fn on_candidates(&mut self, cx: &mut Context<'_>, from: PeerId, told: &[PeerAddress]) {
        if told.len() > CANDIDATES_MAX || told.iter().any(|told| told.peer != from) {
            return cx.strike(from, "named addresses too many, or of somebody else".to_owned());
        }
        let said: Vec<SocketAddr> =
            told.iter().map(PeerAddress::address).filter(|address| is_allowed(&cx.core.config, *address)).collect();
        let Some(path) = self.reachability.straight_mut(&from) else { return };
        path.candidates.believe(path.address, &said);
        if let Some(mapped) = path.candidates.mapped {
            self.hear_of(cx.core, from, mapped);
        }
    }

    /// Where `other`, a neighbour like `peer`, may try to dial `peer`: where it is seen first.
    pub(crate) fn addresses_for(&self, peer: &PeerId, other: &PeerId) -> Vec<SocketAddr> {
        let (Some(path), Some(there)) = (self.reachability.straight(peer), self.reachability.straight(other)) else {
            return Vec::new();
        };
        let shared = path.address.ip() == there.address.ip();
        let local = path.candidates.local.iter().copied().filter(|_| shared);
        let all = std::iter::once(path.address).chain(path.candidates.mapped).chain(local);
        all.filter(|address| is_somewhere(address.ip())).collect()
    }
}

/// Whether this address means something only within a network (RFC 1918, RFC 4193).
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_what_fits_what_is_seen_is_believed() {
        let seen: SocketAddr = "198.51.100.2:7000".parse().unwrap();
        let mut candidates = Candidates::default();
        candidates.believe(seen, &addresses(&["198.51.100.2:7000", "203.0.113.9:1", "169.254.1.1:1", "127.0.0.1:1"]));
        assert_eq!((candidates.mapped, candidates.local.len()), (None, 0), "seen, somebody else's, not told abroad");
        let said = ["198.51.100.2:4001", "10.0.0.2:4001", "[fd00::2]:4001", "192.168.1.2:4001"];
        candidates.believe(seen, &addresses(&said));
        assert_eq!(candidates.mapped, Some(addresses(&said)[0]));
        assert_eq!(candidates.local, addresses(&said[1..]));
        candidates.believe(seen, &[]);
        assert_eq!((candidates.mapped, candidates.local.len()), (None, 0), "taken back");
    }

    #[test]
    fn within_a_network_a_second_port_of_the_same_machine_is_no_other_address() {
        let mut candidates = Candidates::default();
        candidates.believe("10.0.0.2:1".parse().unwrap(), &addresses(&["10.0.0.2:2"]));
        assert_eq!((candidates.mapped, candidates.local.len()), (Some(addresses(&["10.0.0.2:2"])[0]), 0));
    }
}
