//! How neighbours are reached, and how this peer is seen from outside.
//!
//! On connecting, each side tells the other where it sees it. From several such tellings a peer knows whether its address
//! translator shows everybody the same address ([`Mapping::Same`]: punching holes can work) or a new one to everybody
//! ([`Mapping::Varies`]: it works only towards peers that let anyone in). Those who look for a peer that cannot be dialed
//! are in [`traversal`](super::traversal); here is the neighbour who brings them together, because it sees both.
//!
//! A telling is believed only so far: it takes part in a vote about the own address, which nothing but the choice of how
//! often to punch depends on. The addresses to be punched are those that the mutual neighbour sees itself, and
//! [`candidates`](super::candidates) that fit them.

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

/// Meetings arranged for one neighbour within [`MEETINGS_PER`], at most: it is the one who makes others dial.
const MEETINGS_MAX: u32 = 32;
const MEETINGS_PER: Duration = Duration::from_secs(10);

/// Meetings asked of one neighbour in the same time, at most: half of what it grants, as its clock is not this peer's.
const MEETINGS_ASKED_MAX: u32 = MEETINGS_MAX / 2;

/// Peers whose introducers are remembered, and introducers of each, at most.
const INTRODUCED_MAX: usize = 1024;
const INTRODUCERS_MAX: usize = 4;

/// Punching dials under way at once, at most.
const PUNCHES_MAX: usize = 16;

/// Of those, to one peer: where it is seen, and its candidates.
const PUNCHES_PER_PEER_MAX: usize = 1 + CANDIDATES_MAX;

/// How this peer's address translator, if there is one, presents it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// Too few neighbours have said.
    Unknown,
    /// Most neighbours see this peer at one address.
    Same(SocketAddr),
    /// Different neighbours see it at different addresses.
    Varies,
}

impl Mapping {
    /// What those who see a peer at these addresses say together.
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

/// A connected peer, seen from the network's side.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) address: SocketAddr,
    pub(crate) reach: Reach,
    /// It passes packets on.
    pub(crate) volunteers: bool,
    /// Where it sees this peer.
    pub(crate) sees_us_at: Option<SocketAddr>,
    /// Where else it is, by its own account.
    pub(crate) candidates: Candidates,
    /// Meetings arranged for it.
    arranged: Meetings,
    /// Meetings asked of it.
    asked: Meetings,
}

/// Meetings within [`MEETINGS_PER`] of the first.
#[derive(Clone, Copy, Default, Debug)]
struct Meetings {
    since: Time,
    count: u32,
}

impl Meetings {
    fn count(&self, now: Time) -> u32 {
        if self.since + MEETINGS_PER <= now { 0 } else { self.count }
    }

    fn add(&mut self, now: Time) {
        *self = match self.count(now) {
            0 => Self { since: now, count: 1 },
            count => Self { count: count + 1, ..*self },
        };
    }
}

/// Dials of one peer that a mutual neighbour asked for.
#[derive(Clone, Debug)]
pub(crate) struct Punching {
    /// Until when a connection to the peer counts as punched.
    until: Time,
    addresses: BTreeSet<SocketAddr>,
}

/// What is known of ways.
#[derive(Default, Debug)]
pub(crate) struct Reachability {
    pub(crate) paths: BTreeMap<PeerId, Path>,
    punching: BTreeMap<PeerId, Punching>,
    /// Addresses of this peer that a translator may hide.
    pub(crate) own: Vec<SocketAddr>,
    pub(crate) traversals: BTreeMap<PeerId, Traversal>,
    /// Neighbours that spoke of a peer, and so may be its neighbours.
    introducers: BTreeMap<PeerId, BTreeSet<PeerId>>,
}

impl Reachability {
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.traversals.values().map(|traversal| traversal.at).min()
    }

    /// Bytes of what is known of who knows whom.
    pub(crate) fn held_bytes(&self) -> usize {
        let introducers: usize = self.introducers.values().map(|known| known.len() * size_of::<PeerId>()).sum();
        introducers + self.introducers.len() * size_of::<(PeerId, BTreeSet<PeerId>)>()
    }

    /// Whether a way to `peer` is being looked for.
    pub(crate) fn seeks(&self, peer: &PeerId) -> bool {
        !self.paths.contains_key(peer) && self.traversals.contains_key(peer)
    }

    /// Searches that will make neighbours, beside dials.
    pub(crate) fn count_for_view(&self, dialing: &Dialing) -> usize {
        let alone = |peer: &PeerId| !self.paths.contains_key(peer) && !dialing.seeks(peer);
        let searches = self.traversals.iter().filter(|(peer, _)| alone(peer));
        searches.filter(|(_, traversal)| traversal.purpose == Purpose::View).count()
    }

    /// Neither searches for `peer` nor remembers a way to it.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.paths.remove(peer);
        self.traversals.remove(peer);
        self.introducers.remove(peer);
    }

    /// `from` spoke of `peer`.
    pub(crate) fn note_introducer(&mut self, peer: PeerId, from: PeerId) {
        if self.introducers.len() >= INTRODUCED_MAX && !self.introducers.contains_key(&peer) {
            self.introducers.pop_first();
        }
        let known = self.introducers.entry(peer).or_default();
        if peer != from && known.len() < INTRODUCERS_MAX {
            known.insert(from);
        }
    }

    /// Neighbours that spoke of `peer`.
    pub(crate) fn introducers_of(&self, peer: &PeerId) -> BTreeSet<PeerId> {
        self.introducers.get(peer).cloned().unwrap_or_default()
    }

    /// A neighbour to whom packets go straight.
    pub(crate) fn straight(&self, peer: &PeerId) -> Option<&Path> {
        self.paths.get(peer).filter(|path| !matches!(path.reach, Reach::Relayed { .. }))
    }

    pub(crate) fn straight_mut(&mut self, peer: &PeerId) -> Option<&mut Path> {
        self.paths.get_mut(peer).filter(|path| !matches!(path.reach, Reach::Relayed { .. }))
    }

    /// Whether this IP address is that of a translator which this peer is behind: a neighbour sees this peer there, and it is
    /// no interface's. One that is known may be a mapped port, if there is also a private address.
    pub(crate) fn is_behind(&self, ip: IpAddr) -> bool {
        let inside = self.own.iter().any(|own| is_private(own.ip()));
        let hidden = |seen: SocketAddr| !self.own.contains(&seen) || (inside && !is_private(seen.ip()));
        let mut seen = self.paths.values().filter_map(|path| path.sees_us_at);
        seen.any(|seen| seen.ip() == ip && hidden(seen))
    }

    /// Whether `peer` is a straight neighbour that can be asked for one more meeting.
    pub(crate) fn can_ask(&self, peer: &PeerId, now: Time) -> bool {
        self.straight(peer).is_some_and(|path| path.asked.count(now) < MEETINGS_ASKED_MAX)
    }

    /// Punching dials under way, to all peers.
    fn punches(&self) -> usize {
        self.punching.values().map(|punching| punching.addresses.len()).sum()
    }
}

impl Connectivity {
    /// How the packets of the connection to `peer` travel, if there is one.
    pub(crate) fn reach_of(&self, peer: &PeerId) -> Option<Reach> {
        self.reachability.paths.get(peer).map(|path| path.reach)
    }

    /// How others see this peer's address, by a vote of those who see it directly. Each version of IP has a vote of its own: if
    /// one varies that is the answer, else the one with more votes counts.
    pub(crate) fn mapping(&self) -> Mapping {
        let seen = self.reachability.paths.values().filter_map(|path| path.sees_us_at);
        let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = seen.partition(SocketAddr::is_ipv4);
        let (most, least) = if v4.len() >= v6.len() { (v4, v6) } else { (v6, v4) };
        match [Mapping::of(&most), Mapping::of(&least)] {
            [Mapping::Varies, _] | [_, Mapping::Varies] => Mapping::Varies,
            [most, _] => most,
        }
    }

    /// A connection is up: the traversal for it, if there was one, has ended well.
    pub(crate) fn reached(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr, reach: Reach) {
        let reach = self.refine(cx, peer, address, reach);
        let (candidates, none) = (Candidates::default(), Meetings::default());
        let path =
            Path { address, reach, volunteers: false, sees_us_at: None, candidates, arranged: none, asked: none };
        self.reachability.paths.insert(peer, path);
        self.end_traversal(cx, peer, reach);
        let straight = !matches!(reach, Reach::Relayed { .. });
        if straight {
            self.address_book.succeed(peer, address);
        }
        self.tell_observed(cx, peer, Some(address).filter(|_| straight));
    }

    /// A relayed connection has become a straight one.
    pub(crate) fn on_moved(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr) {
        let reach = self.refine(cx, peer, address, Reach::Direct);
        let Some(path) = self.reachability.paths.get_mut(&peer) else { return };
        (path.address, path.reach) = (address, reach);
        self.address_book.succeed(peer, address);
        self.end_traversal(cx, peer, reach);
        self.tell_observed(cx, peer, Some(address));
    }

    /// Tells a neighbour where it is seen, if that means anything there.
    fn tell_observed(&mut self, cx: &mut Context<'_>, peer: PeerId, seen: Option<SocketAddr>) {
        let address = seen.filter(|seen| is_somewhere(seen.ip())).map(|seen| PeerAddress::new(peer, seen));
        cx.send(peer, &Message::Observed { address, relay: cx.core.config.relay });
    }

    /// A straight connection that came up while holes were punched for it was punched, unless it stays within a network.
    fn refine(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr, reach: Reach) -> Reach {
        match reach {
            Reach::Relayed { .. } | Reach::Punched => reach,
            Reach::Direct => match self.reachability.punching.remove(&peer) {
                Some(punching) if punching.until >= cx.core.now && !is_private(address.ip()) => Reach::Punched,
                Some(_) | None => Reach::Direct,
            },
        }
    }

    pub(crate) fn on_observed(
        &mut self,
        cx: &mut Context<'_>,
        from: PeerId,
        address: Option<PeerAddress>,
        relay: bool,
    ) {
        let own = cx.core.id();
        if address.is_some_and(|seen| seen.peer != own) {
            return cx.strike(from, "observed somebody else".to_owned());
        }
        let Some(path) = self.reachability.paths.get_mut(&from) else { return };
        path.volunteers = relay;
        let straight = !matches!(path.reach, Reach::Relayed { .. });
        path.sees_us_at = address.map(|seen| seen.address()).filter(|seen| straight && is_somewhere(seen.ip()));
        self.tell_candidates(cx, from);
    }

    /// Asks `neighbour` to bring this peer and `peer` together.
    pub(crate) fn ask_to_meet(&mut self, cx: &mut Context<'_>, neighbour: PeerId, peer: PeerId) {
        if let Some(path) = self.reachability.paths.get_mut(&neighbour) {
            path.asked.add(cx.core.now);
        }
        cx.send(neighbour, &Message::Meet { peer });
    }

    /// `from` cannot dial `peer`: tells both where the other may be dialed, at the same moment.
    pub(crate) fn on_meet(&mut self, cx: &mut Context<'_>, from: PeerId, peer: PeerId) {
        if self.reachability.straight(&peer).is_none() {
            return;
        }
        let now = cx.core.now;
        let Some(path) = self.reachability.paths.get_mut(&from).filter(|_| from != peer) else { return };
        let count = path.arranged.count(now);
        if count >= MEETINGS_MAX {
            return cx.strike(from, format!("{count} meetings asked for in a row"));
        }
        path.arranged.add(now);
        for (to, other) in [(peer, from), (from, peer)] {
            for address in self.addresses_for(&other, &to) {
                cx.send(to, &Message::Punch { peer: PeerAddress::new(other, address) });
            }
        }
    }

    /// Somebody is dialing this peer from `told` now: dials back, so that both address translators let the other in.
    pub(crate) fn on_punch(&mut self, cx: &mut Context<'_>, told: PeerAddress) {
        let (peer, address, now) = (told.peer, told.address(), cx.core.now);
        self.reachability.punching.retain(|_, punching| punching.until > now);
        let crowded = !self.neighbours.is_connected(&peer) && self.neighbours.len() >= cx.core.config.neighbours_max;
        let known = self.reachability.straight(&peer).is_some() || self.reachability.punches() >= PUNCHES_MAX;
        if known
            || crowded
            || peer == cx.core.id()
            || cx.set.fold.is_evicted(&peer)
            || !is_allowed(&cx.core.config, address)
        {
            return;
        }
        let fresh = Punching { until: now + cx.core.config.reach_patience, addresses: BTreeSet::new() };
        let addresses = &mut self.reachability.punching.entry(peer).or_insert(fresh).addresses;
        // A dial under way has made the hole already.
        if addresses.len() < PUNCHES_PER_PEER_MAX && addresses.insert(address) && !self.dialing.is_under_way(&address) {
            cx.core.outputs.push_back(Output::Dial { address, expect: Some(peer) });
        }
    }

    /// Connected peers that pass packets on, those in `first` before the others.
    pub(crate) fn relays(&self, first: &BTreeSet<PeerId>) -> Vec<PeerId> {
        let willing = self.reachability.paths.iter().filter(|(_, path)| path.volunteers);
        let straight = willing.filter(|(peer, _)| self.reachability.straight(peer).is_some());
        let mut relays: Vec<PeerId> = straight.map(|(peer, _)| *peer).collect();
        relays.sort_by_key(|peer| !first.contains(peer));
        relays
    }
}

/// Whether an address that somebody told may be dialed.
pub(crate) fn is_allowed(config: &Config, address: SocketAddr) -> bool {
    let allowed = !config.loopback_only || address.ip().is_loopback();
    allowed && address.port() != 0 && is_somewhere(address.ip())
}

/// Whether an address can be one machine's on some network, and means the same to all who are told it: a link-local one of
/// IPv6 is nothing without the name of an interface, which each machine has for itself (RFC 4007).
pub(crate) fn is_somewhere(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => !v4.is_unspecified() && v4.octets()[0] < 224,
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    }
}
