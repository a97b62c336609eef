//! NATs (network address translation): the address a NAT shows for a machine, and the packets it admits.
//!
//! The kinds follow RFC 4787 and bear the names of RFC 3489. Full-cone and port-restricted NATs map a machine to one
//! port (endpoint-independent mapping) and differ in filtering; a symmetric NAT maps each remote endpoint to a port of
//! its own. An outgoing packet creates a mapping, which expires [`MAPPING_LIFETIME`] after the last one. Each machine
//! has its own NAT and public address.

use core::time::Duration;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use murmur_coordinatorless::Time;
use serde::{Deserialize, Serialize};

use crate::{queue::MachineIndex, rng::SeededRng};

/// Lifetime of a mapping after the last outgoing packet. Most home routers use this for UDP; RFC 4787 requires at least
/// two minutes, so this is the harder case.
const MAPPING_LIFETIME: Duration = Duration::from_secs(30);

/// The port every peer listens on. All NATs but symmetric ones show it.
const PORT: u16 = 7000;

/// First port that a symmetric NAT assigns.
const SYMMETRIC_PORT_MIN: u16 = 20_000;

/// The kind of NAT in front of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// No NAT: every peer can dial the machine.
    Open,
    /// Endpoint-independent filtering: after the first outgoing packet every peer can dial the machine.
    FullCone,
    /// Endpoint-dependent filtering: only endpoints the machine has sent to can dial it.
    PortRestricted,
    /// Endpoint-dependent filtering and mapping: each remote endpoint sees another port and only it can use that port.
    Symmetric,
}

/// A NAT mapping to one remote endpoint.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    /// The port this endpoint sees.
    port: u16,
    expires_at: Time,
}

/// A machine's NAT, with its mappings by remote endpoint.
#[derive(Clone, Debug)]
struct Nat {
    kind: NatKind,
    ip: Ipv4Addr,
    mappings: BTreeMap<SocketAddr, Mapping>,
    /// Ports assigned so far.
    assigned: u16,
}

/// The NATs of all machines.
#[derive(Debug)]
pub(crate) struct Nats {
    all: Vec<Nat>,
    relays: bool,
}

impl Nats {
    /// Assigns the kinds to `count` machines. Each run of `kinds.len()` machines has every kind once, in random order:
    /// so the first `kinds.len()` founders always include an open one. With `relays`, open machines relay for others.
    pub(crate) fn new(kinds: &[NatKind], relays: bool, seed: u64, count: usize) -> Self {
        let mut rng = SeededRng::new(seed, "translators");
        let mut remaining: Vec<NatKind> = Vec::new();
        // A swarm without NATs uses loopback addresses. With NATs it uses the benchmarking range of RFC 2544: a node
        // treats a loopback address as reachable and would not punch a hole to it.
        let first_address =
            if kinds.iter().all(|kind| *kind == NatKind::Open) { [127, 0, 0, 1] } else { [198, 18, 0, 1] };
        let nat = |index: usize| {
            if remaining.is_empty() {
                remaining = kinds.to_vec();
            }
            let kind =
                if remaining.is_empty() { NatKind::Open } else { remaining.swap_remove(rng.index(remaining.len())) };
            let ip = Ipv4Addr::from(
                u32::from_be_bytes(first_address).saturating_add(u32::try_from(index).unwrap_or(u32::MAX)),
            );
            Nat { kind, ip, mappings: BTreeMap::new(), assigned: 0 }
        };
        Self { all: (0..count).map(nat).collect(), relays }
    }

    /// The address the peer listens on. Only an open machine can be dialed there before it sends.
    pub(crate) fn address(&self, index: MachineIndex) -> SocketAddr {
        SocketAddr::from((self.all[index].ip, PORT))
    }

    /// The machine behind this listening or mapped address.
    pub(crate) fn index_of(&self, address: SocketAddr) -> Option<MachineIndex> {
        self.all.binary_search_by_key(&address.ip(), |nat| nat.ip.into()).ok()
    }

    /// Whether this machine has no NAT.
    pub(crate) fn is_open(&self, index: MachineIndex) -> bool {
        self.all[index].kind == NatKind::Open
    }

    /// Whether no machine has a NAT.
    pub(crate) fn are_all_open(&self) -> bool {
        self.all.iter().all(|nat| nat.kind == NatKind::Open)
    }

    /// Whether the scenario allows relays.
    pub(crate) fn relays_enabled(&self) -> bool {
        self.relays
    }

    /// Whether this machine relays for others.
    pub(crate) fn is_relay(&self, index: MachineIndex) -> bool {
        self.relays && self.is_open(index)
    }

    /// Whether the NAT filters by sender, so that a dial to it needs a punched hole.
    pub(crate) fn filters_senders(&self, index: MachineIndex) -> bool {
        matches!(self.all[index].kind, NatKind::PortRestricted | NatKind::Symmetric)
    }

    /// A packet leaves `from` for `receiver` and creates or refreshes a mapping. Returns the source address the
    /// receiver sees.
    pub(crate) fn map_outbound(&mut self, from: MachineIndex, receiver: SocketAddr, now: Time) -> SocketAddr {
        let nat = &mut self.all[from];
        let port = match nat.kind {
            NatKind::Open => PORT,
            NatKind::FullCone | NatKind::PortRestricted | NatKind::Symmetric => nat.map(receiver, now),
        };
        SocketAddr::from((nat.ip, port))
    }

    /// Pins a mapping for the lifetime of a connection, whose keep-alives would refresh it.
    pub(crate) fn pin_mapping(&mut self, from: MachineIndex, receiver: SocketAddr) {
        if let Some(mapping) = self.all[from].mappings.get_mut(&receiver) {
            mapping.expires_at = Time(u64::MAX);
        }
    }

    /// Unpins a mapping when its connection ends; it expires after [`MAPPING_LIFETIME`].
    pub(crate) fn unpin_mapping(&mut self, from: MachineIndex, receiver: SocketAddr, now: Time) {
        if let Some(mapping) = self.all[from].mappings.get_mut(&receiver) {
            mapping.expires_at = now + MAPPING_LIFETIME;
        }
    }

    /// Whether the NAT of `to` admits a packet for `dialed` that arrives from the mapped address `sender`.
    pub(crate) fn admits(&self, to: MachineIndex, dialed: SocketAddr, sender: SocketAddr, now: Time) -> bool {
        let nat = &self.all[to];
        let mut map =
            nat.mappings.iter().filter(|(_, mapping)| mapping.expires_at > now && mapping.port == dialed.port());
        match nat.kind {
            NatKind::Open => dialed.port() == PORT,
            NatKind::FullCone => map.next().is_some(),
            NatKind::PortRestricted | NatKind::Symmetric => map.any(|(receiver, _)| *receiver == sender),
        }
    }
}

impl Nat {
    /// Creates or refreshes the mapping to a receiver and returns its port.
    fn map(&mut self, receiver: SocketAddr, now: Time) -> u16 {
        self.mappings.retain(|_, mapping| mapping.expires_at > now);
        let fresh = match self.kind {
            NatKind::Open | NatKind::FullCone | NatKind::PortRestricted => PORT,
            NatKind::Symmetric => SYMMETRIC_PORT_MIN + self.assigned % (u16::MAX - SYMMETRIC_PORT_MIN),
        };
        let assigned = &mut self.assigned;
        let mapping = self.mappings.entry(receiver).or_insert_with(|| {
            *assigned = assigned.wrapping_add(1);
            Mapping { port: fresh, expires_at: now }
        });
        mapping.expires_at = mapping.expires_at.max(now + MAPPING_LIFETIME);
        mapping.port
    }
}

/// The address that one end of a relayed connection shows for the other. It lies in the reserved range 240.0.0.0/4, as
/// in the real transport, so that nobody can dial it.
pub(crate) fn relayed_address(relay: MachineIndex, peer: MachineIndex) -> SocketAddr {
    let ip = u32::from_be_bytes([240, 0, 0, 1]).saturating_add(u32::try_from(relay).unwrap_or(u32::MAX));
    SocketAddr::from((Ipv4Addr::from(ip), u16::try_from(1 + peer).unwrap_or(u16::MAX)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use NatKind::{FullCone, Open, PortRestricted, Symmetric};

    use super::*;

    /// One machine for each kind, in order.
    fn nats_of(kinds: &[NatKind]) -> Nats {
        let mut nats = Nats::new(&[Symmetric], false, 1, kinds.len());
        for (nat, kind) in nats.all.iter_mut().zip(kinds) {
            nat.kind = *kind;
        }
        nats
    }

    /// Whether two peers connect when both dial, at the same moment, the address that a third peer sees of the other.
    fn punches(a: NatKind, b: NatKind) -> bool {
        let mut nats = nats_of(&[a, b, Open]);
        let (now, third) = (Time(0), nats.address(2));
        let [a, b] = [0, 1].map(|at| nats.map_outbound(at, third, now));
        let (a_from, b_from) = (nats.map_outbound(0, b, now), nats.map_outbound(1, a, now));
        nats.admits(1, b, a_from, now) || nats.admits(0, a, b_from, now)
    }

    #[test]
    fn a_stranger_can_dial_an_open_machine_and_a_full_cone_that_has_sent() {
        let mut nats = nats_of(&[Open, FullCone, PortRestricted, Symmetric]);
        let now = Time(5);
        let ends = [0, 1, 2, 3].map(|index| nats.address(index));
        let stranger: SocketAddr = "198.18.9.9:1".parse().unwrap();
        let admitted = |nats: &Nats| ends.map(|end| nats.admits(nats.index_of(end).unwrap(), end, stranger, now));
        assert_eq!(admitted(&nats), [true, false, false, false]);
        for index in 0..4 {
            nats.map_outbound(index, ends[0], now);
        }
        assert_eq!(admitted(&nats), [true, true, false, false]);
    }

    #[test]
    fn hole_punching_fails_only_where_the_shown_port_is_unknown_to_a_filter() {
        for kind in [Open, FullCone, PortRestricted, Symmetric] {
            assert!(punches(Open, kind) && punches(FullCone, kind), "{kind:?}");
            assert_eq!(punches(kind, PortRestricted), kind != Symmetric, "{kind:?}");
            assert_eq!(punches(Symmetric, kind), matches!(kind, Open | FullCone), "{kind:?}");
        }
    }

    #[test]
    fn a_symmetric_nat_shows_each_receiver_its_own_port() {
        let mut nats = nats_of(&[Symmetric, Open, Open]);
        let (one, two) = (nats.address(1), nats.address(2));
        let [mapped, other, again] = [one, two, one].map(|receiver| nats.map_outbound(0, receiver, Time(0)));
        assert_eq!(mapped, again);
        assert_ne!(mapped, other);
        assert!(nats.admits(0, mapped, one, Time(1)) && !nats.admits(0, mapped, two, Time(1)));
        assert_eq!(nats.index_of(other), Some(0));
    }

    #[test]
    fn a_mapping_expires_after_its_lifetime_unless_pinned() {
        let mut nats = nats_of(&[PortRestricted, Open]);
        let (inside, outside) = (nats.address(0), nats.address(1));
        let admitted = |nats: &Nats, time: Time| nats.admits(0, inside, outside, time);
        nats.map_outbound(0, outside, Time(0));
        let late = Time(0) + MAPPING_LIFETIME;
        assert!(admitted(&nats, Time(late.0 - 1)) && !admitted(&nats, late));
        nats.pin_mapping(0, outside);
        assert!(admitted(&nats, late + MAPPING_LIFETIME), "pinned by a connection");
        nats.unpin_mapping(0, outside, late);
        assert!(admitted(&nats, late) && !admitted(&nats, late + MAPPING_LIFETIME));
    }

    #[test]
    fn the_seed_assigns_each_kind_equally_often() {
        let kinds = [Open, FullCone, PortRestricted, Symmetric];
        let assigned =
            |seed| -> Vec<NatKind> { Nats::new(&kinds, true, seed, 12).all.iter().map(|nat| nat.kind).collect() };
        for four in assigned(1).chunks(4) {
            assert!(kinds.iter().all(|kind| four.contains(kind)), "{four:?}");
        }
        assert_eq!(assigned(1), assigned(1));
        assert!((2..9).any(|seed| assigned(seed) != assigned(1)));
        let nats = Nats::new(&[Open], true, 1, 600);
        assert!((0..600).all(|index| nats.index_of(nats.address(index)) == Some(index)));
        assert!(nats.address(599).ip().is_loopback() && nats.is_relay(599));
    }
}
