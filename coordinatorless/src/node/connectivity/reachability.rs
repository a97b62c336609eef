//! The paths to the connected peers, this peer's NAT, and introductions.
//!
//! When a connection comes up, each side sends the other the address at which it sees it (`Observed`). From several
//! of these messages a peer learns the behaviour of its NAT: the same outer address towards all peers
//! ([`Mapping::Same`]; hole punching can work) or a new one for each ([`Mapping::Varies`]; it works only towards
//! peers without a NAT). The searching side of an introduction is in [`traversal`](super::traversal). This file holds
//! the mutual neighbour's side, which sees both peers and sends each the other's address (`Punch`), and the dials
//! that follow.
//!
//! An observed address is not trusted: it counts as one vote on the mapping, and the mapping decides only how many
//! rounds of hole punching are tried. The addresses in an introduction are those at which the mutual neighbour itself
//! sees the peers, and [`candidates`](super::candidates) that fit them.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use murmur_collectives::PeerId;

use super::{
    Connectivity, Context,
    candidates::{CANDIDATES_MAX, Candidates, is_private},
    dialing::{Dialing, Purpose},
    traversal::Traversal,
};
use crate::{Config, Message, Output, PeerAddress, Reach, Time};

/// The number of introductions made for one neighbour within [`INTRODUCTIONS_WINDOW`], at most. The limit counts on
/// the requesting neighbour, because it is the one that makes others dial.
const INTRODUCTIONS_MAX: u32 = 32;

/// The window in which introductions are counted.
const INTRODUCTIONS_WINDOW: Duration = Duration::from_secs(10);

/// The number of introductions requested from one neighbour in the same time, at most. Half of the number that it
/// grants, because its window starts at another time.
const INTRODUCTIONS_REQUESTED_MAX: u32 = INTRODUCTIONS_MAX / 2;

/// The number of peers whose introducers are stored, at most.
const INTRODUCED_MAX: usize = 1024;

/// The number of introducers stored for one peer, at most.
const INTRODUCERS_MAX: usize = 4;

/// The number of addresses dialed for hole punching at a time, at most.
const PUNCHES_MAX: usize = 16;

/// The same for one peer: its seen address and its candidates.
const PUNCHES_PER_PEER_MAX: usize = 1 + CANDIDATES_MAX;

/// The behaviour of this peer's NAT, if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// Fewer than two neighbours reported an address.
    Unknown,
    /// Most neighbours see this peer at this address.
    Same(SocketAddr),
    /// Neighbours see this peer at different addresses.
    Varies,
}

impl Mapping {
    /// The mapping that follows from the reported addresses by majority.
    fn of(seen: &[SocketAddr]) -> Self {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        seen.iter().for_each(|address| *votes.entry(*address).or_default() += 1);
        match votes.into_iter().max_by_key(|(_, count)| *count) {
            Some((address, count)) if seen.len() >= 2 && count * 2 > seen.len() => Self::Same(address),
            Some(_) if seen.len() >= 2 => Self::Varies,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// The network path to a connected peer.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) address: SocketAddr,
    pub(crate) reach: Reach,
    /// Whether the peer volunteers as a relay.
    pub(crate) is_relay: bool,
    /// The address at which the peer sees this one.
    pub(crate) sees_us_at: Option<SocketAddr>,
    /// Further addresses of the peer, as it announced them.
    pub(crate) candidates: Candidates,
    /// The introductions that this peer made for it.
    introductions_made: IntroductionQuota,
    /// The introductions that this peer requested from it.
    introductions_requested: IntroductionQuota,
}

/// A count of introductions in a window that starts with the first of them.
#[derive(Clone, Copy, Default, Debug)]
struct IntroductionQuota {
    since: Time,
    count: u32,
}

impl IntroductionQuota {
    /// The count in the window that is open at `now`.
    fn count(&self, now: Time) -> u32 {
        if self.since + INTRODUCTIONS_WINDOW <= now { 0 } else { self.count }
    }

    /// Counts one introduction, in a new window if the last one is over.
    fn add(&mut self, now: Time) {
        *self = match self.count(now) {
            0 => Self { since: now, count: 1 },
            count => Self { count: count + 1, ..*self },
        };
    }
}

/// The dials of one peer that a mutual neighbour asked for.
#[derive(Clone, Debug)]
pub(crate) struct HolePunch {
    /// Until this time a direct connection to the peer counts as punched.
    until: Time,
    addresses: BTreeSet<SocketAddr>,
}

/// The paths to the connected peers, and the searches for further paths.
#[derive(Default, Debug)]
pub(crate) struct Reachability {
    pub(crate) paths: BTreeMap<PeerId, Path>,
    hole_punches: BTreeMap<PeerId, HolePunch>,
    /// The addresses of this peer, including those that a NAT may hide.
    pub(crate) own_addresses: Vec<SocketAddr>,
    pub(crate) traversals: BTreeMap<PeerId, Traversal>,
    /// The neighbours that sent an address of a peer, and so are probably connected to it.
    introducers: BTreeMap<PeerId, BTreeSet<PeerId>>,
}

impl Reachability {
    /// The time of the next step of a traversal.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.traversals.values().map(|traversal| traversal.at).min()
    }

    /// The memory that the introducers take, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        let introducers: usize = self.introducers.values().map(|known| known.len() * size_of::<PeerId>()).sum();
        introducers + self.introducers.len() * size_of::<(PeerId, BTreeSet<PeerId>)>()
    }

    /// Whether NAT traversal for `peer` is under way, and the peer is not connected.
    pub(crate) fn seeks(&self, peer: &PeerId) -> bool {
        !self.paths.contains_key(peer) && self.traversals.contains_key(peer)
    }

    /// The number of traversals that add a neighbour to the view, without those whose dial is counted already.
    pub(crate) fn count_for_view(&self, dialing: &Dialing) -> usize {
        let alone = |peer: &PeerId| !self.paths.contains_key(peer) && !dialing.seeks(peer);
        let searches = self.traversals.iter().filter(|(peer, _)| alone(peer));
        searches.filter(|(_, traversal)| traversal.purpose == Purpose::View).count()
    }

    /// Drops the path to `peer`, its traversal and its introducers.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.paths.remove(peer);
        self.traversals.remove(peer);
        self.introducers.remove(peer);
    }

    /// Records that `from` sent an address of `peer`.
    pub(crate) fn note_introducer(&mut self, peer: PeerId, from: PeerId) {
        if self.introducers.len() >= INTRODUCED_MAX && !self.introducers.contains_key(&peer) {
            self.introducers.pop_first();
        }
        let known = self.introducers.entry(peer).or_default();
        if peer != from && known.len() < INTRODUCERS_MAX {
            known.insert(from);
        }
    }

    /// The neighbours that sent an address of `peer`.
    pub(crate) fn introducers_of(&self, peer: &PeerId) -> BTreeSet<PeerId> {
        self.introducers.get(peer).cloned().unwrap_or_default()
    }

    /// The path to a neighbour, if it is direct.
    pub(crate) fn direct(&self, peer: &PeerId) -> Option<&Path> {
        self.paths.get(peer).filter(|path| !matches!(path.reach, Reach::Relayed { .. }))
    }

    /// The same, for changes.
    pub(crate) fn direct_mut(&mut self, peer: &PeerId) -> Option<&mut Path> {
        self.paths.get_mut(peer).filter(|path| !matches!(path.reach, Reach::Relayed { .. }))
    }

    /// Whether `ip` is the outer address of a NAT in front of this peer: a neighbour sees this peer there, and no
    /// interface has the address. If this peer has a private address, a known public one may be a port mapping and
    /// also belongs to the NAT.
    pub(crate) fn is_own_nat(&self, ip: IpAddr) -> bool {
        let inside = self.own_addresses.iter().any(|own| is_private(own.ip()));
        let hidden = |seen: SocketAddr| !self.own_addresses.contains(&seen) || (inside && !is_private(seen.ip()));
        let mut seen = self.paths.values().filter_map(|path| path.sees_us_at);
        seen.any(|seen| seen.ip() == ip && hidden(seen))
    }

    /// Whether `peer` has a direct path, and one more introduction may be requested from it.
    pub(crate) fn can_request_introduction(&self, peer: &PeerId, now: Time) -> bool {
        self.direct(peer).is_some_and(|path| path.introductions_requested.count(now) < INTRODUCTIONS_REQUESTED_MAX)
    }

    /// The number of addresses that are being dialed for hole punching.
    fn punch_count(&self) -> usize {
        self.hole_punches.values().map(|punch| punch.addresses.len()).sum()
    }
}

impl Connectivity {
    /// How the packets of the connection to `peer` travel, if there is one.
    pub(crate) fn reach_of(&self, peer: &PeerId) -> Option<Reach> {
        self.reachability.paths.get(peer).map(|path| path.reach)
    }

    /// The behaviour of this peer's NAT, by a vote of the neighbours with a direct path. Each version of IP votes
    /// separately: if one varies, the result is [`Mapping::Varies`]; otherwise the version with more votes decides.
    pub(crate) fn mapping(&self) -> Mapping {
        let seen = self.reachability.paths.values().filter_map(|path| path.sees_us_at);
        let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = seen.partition(SocketAddr::is_ipv4);
        let (most, least) = if v4.len() >= v6.len() { (v4, v6) } else { (v6, v4) };
        match [Mapping::of(&most), Mapping::of(&least)] {
            [Mapping::Varies, _] | [_, Mapping::Varies] => Mapping::Varies,
            [most, _] => most,
        }
    }

    /// A connection came up: records its path and ends the traversal for it.
    pub(crate) fn reached(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr, reach: Reach) {
        let reach = self.classify_reach(cx, peer, address, reach);
        let (candidates, none) = (Candidates::default(), IntroductionQuota::default());
        let path = Path {
            address,
            reach,
            is_relay: false,
            sees_us_at: None,
            candidates,
            introductions_made: none,
            introductions_requested: none,
        };
        self.reachability.paths.insert(peer, path);
        self.end_traversal(cx, peer, reach);
        let direct = !matches!(reach, Reach::Relayed { .. });
        if direct {
            self.address_book.record_success(peer, address);
        }
        self.send_observed(cx, peer, Some(address).filter(|_| direct));
    }

    /// The transport replaced a relayed connection by a direct one.
    pub(crate) fn on_moved(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr) {
        let reach = self.classify_reach(cx, peer, address, Reach::Direct);
        let Some(path) = self.reachability.paths.get_mut(&peer) else { return };
        (path.address, path.reach) = (address, reach);
        self.address_book.record_success(peer, address);
        self.end_traversal(cx, peer, reach);
        self.send_observed(cx, peer, Some(address));
    }

    /// Sends a neighbour the address at which this peer sees it, if that address means anything to the neighbour.
    fn send_observed(&mut self, cx: &mut Context<'_>, peer: PeerId, seen: Option<SocketAddr>) {
        let address = seen.filter(|seen| is_routable(seen.ip())).map(|seen| PeerAddress::new(peer, seen));
        cx.core.send(peer, &Message::Observed { address, relay: cx.core.config.relay });
    }

    /// A direct connection that came up during hole punching counts as punched, except within a private network.
    fn classify_reach(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr, reach: Reach) -> Reach {
        match reach {
            Reach::Relayed { .. } | Reach::Punched => reach,
            Reach::Direct => match self.reachability.hole_punches.remove(&peer) {
                Some(punch) if punch.until >= cx.core.now && !is_private(address.ip()) => Reach::Punched,
                Some(_) | None => Reach::Direct,
            },
        }
    }

    /// A neighbour reports the address at which it sees this peer, and whether it is a relay.
    pub(crate) fn on_observed(
        &mut self,
        cx: &mut Context<'_>,
        from: PeerId,
        address: Option<PeerAddress>,
        relay: bool,
    ) {
        let own = cx.core.id();
        if address.is_some_and(|seen| seen.peer != own) {
            return cx.strike(from, "observed the address of another peer".to_owned());
        }
        let Some(path) = self.reachability.paths.get_mut(&from) else { return };
        path.is_relay = relay;
        let direct = !matches!(path.reach, Reach::Relayed { .. });
        path.sees_us_at = address.map(|seen| seen.address()).filter(|seen| direct && is_routable(seen.ip()));
        self.send_candidates(cx, from);
    }

    /// Requests from `neighbour` an introduction to `peer`.
    pub(crate) fn request_introduction(&mut self, cx: &mut Context<'_>, neighbour: PeerId, peer: PeerId) {
        if let Some(path) = self.reachability.paths.get_mut(&neighbour) {
            path.introductions_requested.add(cx.core.now);
        }
        cx.core.send(neighbour, &Message::Meet { peer });
    }

    /// `from` requests an introduction to `peer`: sends each of the two the addresses of the other, so that both dial
    /// at the same time.
    pub(crate) fn on_meet(&mut self, cx: &mut Context<'_>, from: PeerId, peer: PeerId) {
        if self.reachability.direct(&peer).is_none() {
            return;
        }
        let now = cx.core.now;
        let Some(path) = self.reachability.paths.get_mut(&from).filter(|_| from != peer) else { return };
        let count = path.introductions_made.count(now);
        if count >= INTRODUCTIONS_MAX {
            return cx.strike(from, format!("{count} introductions requested in a row"));
        }
        path.introductions_made.add(now);
        for (to, other) in [(peer, from), (from, peer)] {
            for address in self.addresses_for(&other, &to) {
                cx.core.send(to, &Message::Punch { peer: PeerAddress::new(other, address) });
            }
        }
    }

    /// A mutual neighbour introduces `told.peer`, which is dialing this peer now. This peer dials back, so that both
    /// NATs let the packets of the other side in.
    pub(crate) fn on_punch(&mut self, cx: &mut Context<'_>, told: PeerAddress) {
        let (peer, address, now) = (told.peer, told.address(), cx.core.now);
        self.reachability.hole_punches.retain(|_, punch| punch.until > now);
        let crowded = !self.neighbours.is_connected(&peer) && self.neighbours.len() >= cx.core.config.neighbours_max;
        let known = self.reachability.direct(&peer).is_some() || self.reachability.punch_count() >= PUNCHES_MAX;
        if known
            || crowded
            || peer == cx.core.id()
            || cx.set.fold.is_evicted(&peer)
            || !is_allowed(&cx.core.config, address)
        {
            return;
        }
        let fresh = HolePunch { until: now + cx.core.config.reach_patience, addresses: BTreeSet::new() };
        let addresses = &mut self.reachability.hole_punches.entry(peer).or_insert(fresh).addresses;
        // A dial under way has opened the NAT already.
        if addresses.len() < PUNCHES_PER_PEER_MAX && addresses.insert(address) && !self.dialing.is_under_way(&address) {
            cx.core.outputs.push_back(Output::Dial { address, expect: Some(peer) });
        }
    }

    /// The connected relays, those in `first` before the others.
    pub(crate) fn relays(&self, first: &BTreeSet<PeerId>) -> Vec<PeerId> {
        let willing = self.reachability.paths.iter().filter(|(_, path)| path.is_relay);
        let direct = willing.filter(|(peer, _)| self.reachability.direct(peer).is_some());
        let mut relays: Vec<PeerId> = direct.map(|(peer, _)| *peer).collect();
        relays.sort_by_key(|peer| !first.contains(peer));
        relays
    }
}

/// Whether an address that another peer sent may be dialed.
pub(crate) fn is_allowed(config: &Config, address: SocketAddr) -> bool {
    let allowed = !config.loopback_only || address.ip().is_loopback();
    allowed && address.port() != 0 && is_routable(address.ip())
}

/// Whether an IP address can belong to one machine and means the same to all peers. An IPv6 link-local address does
/// not: it is valid only together with the name of an interface, which each machine chooses (RFC 4007).
pub(crate) fn is_routable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !v4.is_unspecified() && v4.octets()[0] < 224,
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    }
}
