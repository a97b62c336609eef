//! Candidate addresses: addresses at which neighbours do not see a peer, and which reach it all the same. A local
//! address reaches it from behind the same NAT, and the outer end of a port mapping reaches it from everywhere.
//!
//! A peer sends its neighbours those of its addresses at which they do not see it; without a NAT there are none. The
//! neighbour accepts a candidate only if it fits the address at which it sees the peer:
//! - An address with the same IP address counts as a port mapping. The neighbour shares it like the address that it
//!   sees.
//! - An address of a private network counts as local. The neighbour shares it only with a peer that it sees at the
//!   same IP address, so behind the same NAT, and only in an introduction of the two.
//! - Every other address is dropped.
//!
//! These rules limit an attacker. It can make others dial its own IP address, or, if they share its IP address,
//! machines of their own network, but only at the rate that [`Message::Punch`] and [`Message::Peers`] allow every
//! peer. And only neighbours, and peers behind the same NAT, learn the local addresses of a peer.

use std::net::{IpAddr, SocketAddr};

use murmur_collectives::PeerId;

use super::{
    Connectivity, Context,
    reachability::{is_allowed, is_routable},
};
use crate::{Message, PeerAddress};

/// The number of candidates of one peer, at most: two networks with both versions of IP, or one network and a port
/// mapping.
pub(crate) const CANDIDATES_MAX: usize = 4;

/// The accepted candidates of a neighbour, and the candidates that this peer sent to it.
#[derive(Clone, Default, Debug)]
pub(crate) struct Candidates {
    mapped: Option<SocketAddr>,
    local: Vec<SocketAddr>,
    /// The candidates that this peer sent to the neighbour last.
    sent: Vec<SocketAddr>,
}

impl Candidates {
    /// Accepts those of the `claimed` addresses that fit `seen`, the address at which this peer sees the neighbour.
    fn accept(&mut self, seen: SocketAddr, claimed: &[SocketAddr]) {
        self.mapped = claimed.iter().copied().find(|address| address.ip() == seen.ip() && *address != seen);
        let local = |address: &SocketAddr| is_private(address.ip()) && address.ip() != seen.ip();
        self.local = claimed.iter().copied().filter(local).collect();
    }

    /// The outer end of the port mapping that the peer's router keeps for it, if the peer announced one.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }
}

impl Connectivity {
    /// Takes this peer's own addresses: those of the machine's interfaces, and the outer end of a port mapping.
    pub(crate) fn on_own_addresses(&mut self, cx: &mut Context<'_>, mut addresses: Vec<SocketAddr>) {
        addresses.retain(|address| is_allowed(&cx.core.config, *address) && !address.ip().is_loopback());
        addresses.truncate(CANDIDATES_MAX);
        let gained = addresses.iter().any(|address| !self.reachability.own_addresses.contains(address));
        self.reachability.own_addresses = addresses;
        let peers: Vec<PeerId> = self.reachability.paths.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.send_candidates(cx, peer));
        if gained {
            self.repeat_introductions(cx);
        }
    }

    /// Sends a neighbour those of this peer's addresses at which it does not see this peer, unless it has them
    /// already.
    pub(crate) fn send_candidates(&mut self, cx: &mut Context<'_>, to: PeerId) {
        let Some(seen) = self.reachability.direct(&to).and_then(|path| path.sees_us_at) else { return };
        let unseen: Vec<SocketAddr> =
            self.reachability.own_addresses.iter().copied().filter(|own| *own != seen).collect();
        let Some(path) = self.reachability.paths.get_mut(&to).filter(|path| path.candidates.sent != unseen) else {
            return;
        };
        path.candidates.sent.clone_from(&unseen);
        let own = cx.core.id();
        let addresses = unseen.into_iter().map(|address| PeerAddress::new(own, address)).collect();
        cx.core.send(to, &Message::Candidates { addresses });
    }

    /// A neighbour announces its candidates. An announcement about another peer is an offence.
    pub(crate) fn on_candidates(&mut self, cx: &mut Context<'_>, from: PeerId, claims: &[PeerAddress]) {
        if claims.len() > CANDIDATES_MAX || claims.iter().any(|claim| claim.peer != from) {
            return cx.strike(from, "too many candidates, or candidates of another peer".to_owned());
        }
        let claimed: Vec<SocketAddr> =
            claims.iter().map(PeerAddress::address).filter(|address| is_allowed(&cx.core.config, *address)).collect();
        let Some(path) = self.reachability.direct_mut(&from) else { return };
        path.candidates.accept(path.address, &claimed);
        if let Some(mapped) = path.candidates.mapped {
            self.learn_address(cx.core, from, mapped);
        }
    }

    /// The addresses at which `other`, a neighbour like `peer`, may dial `peer`. The address that this peer sees
    /// comes first.
    pub(crate) fn addresses_for(&self, peer: &PeerId, other: &PeerId) -> Vec<SocketAddr> {
        let (Some(path), Some(other_path)) = (self.reachability.direct(peer), self.reachability.direct(other)) else {
            return Vec::new();
        };
        let shared = path.address.ip() == other_path.address.ip();
        let local = path.candidates.local.iter().copied().filter(|_| shared);
        let all = std::iter::once(path.address).chain(path.candidates.mapped).chain(local);
        all.filter(|address| is_routable(address.ip())).collect()
    }
}

/// Whether an IP address is valid only within a private network (RFC 1918, RFC 4193).
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
    fn only_addresses_that_fit_the_seen_one_are_accepted() {
        let seen: SocketAddr = "198.51.100.2:7000".parse().unwrap();
        let mut candidates = Candidates::default();
        candidates.accept(seen, &addresses(&["198.51.100.2:7000", "203.0.113.9:1", "169.254.1.1:1", "127.0.0.1:1"]));
        assert_eq!(
            (candidates.mapped, candidates.local.len()),
            (None, 0),
            "its seen address, a foreign one, two that no other machine can dial"
        );
        let claimed = ["198.51.100.2:4001", "10.0.0.2:4001", "[fd00::2]:4001", "192.168.1.2:4001"];
        candidates.accept(seen, &addresses(&claimed));
        assert_eq!(candidates.mapped, Some(addresses(&claimed)[0]));
        assert_eq!(candidates.local, addresses(&claimed[1..]));
        candidates.accept(seen, &[]);
        assert_eq!((candidates.mapped, candidates.local.len()), (None, 0), "an empty claim withdraws both");
    }

    #[test]
    fn within_a_network_a_second_port_of_the_same_machine_is_no_other_address() {
        let mut candidates = Candidates::default();
        candidates.accept("10.0.0.2:1".parse().unwrap(), &addresses(&["10.0.0.2:2"]));
        assert_eq!((candidates.mapped, candidates.local.len()), (Some(addresses(&["10.0.0.2:2"])[0]), 0));
    }
}
