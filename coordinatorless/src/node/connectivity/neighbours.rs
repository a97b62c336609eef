//! The connected peers, and the life cycle of a connection: admission, becoming a neighbour, closing.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::PeerId;

use super::{Connectivity, Context, Event, dialing::Purpose, reachability::is_routable};
use crate::{Closing, Reach, Time, node::context::Core};

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Neighbour {
    /// Whether it has said what it holds. Until then it may be a stranger who only asks for the manifest.
    greeted: bool,
    /// Whether this peer sent it a digest.
    invited: bool,
    /// Whether the peer is evicted, and connected only for its hearing.
    evicted: bool,
    /// Where the other end of the connection is.
    pub(crate) address: SocketAddr,
    /// The time at which the connection came up.
    since: Time,
    /// The time at which the peer last sent anything.
    pub(crate) heard_at: Time,
    /// The time at which this peer last sent it a datagram.
    pub(crate) used_at: Time,
}

impl Neighbour {
    /// The state of a new connection.
    fn new(address: SocketAddr, now: Time) -> Self {
        Self { greeted: false, invited: false, evicted: false, address, since: now, heard_at: now, used_at: now }
    }

    /// Whether the peer has sent a digest.
    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether the peer is a neighbour or about to become one, so that the connection serves more than one exchange.
    pub(crate) fn is_near(&self) -> bool {
        self.greeted || self.invited
    }
}

/// The connected peers.
#[derive(Default, Debug)]
pub(crate) struct Neighbours {
    connected: BTreeMap<PeerId, Neighbour>,
}

/// A connected peer, for monitoring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighbourView {
    /// The peer.
    pub peer: PeerId,
    /// The address at the other end of the connection; a placeholder if the connection is relayed.
    pub address: SocketAddr,
    /// The path that the packets take.
    pub reach: Reach,
    /// Whether the two peers exchange entries; otherwise the connection serves a single exchange.
    pub near: bool,
    /// The state that membership reports for the peer.
    pub state: MemberState,
    /// The number of requests that the peer has not answered yet.
    pub requests: u32,
}

/// The state that membership reports for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It answers probes.
    Alive,
    /// It failed a probe and has not refuted the suspicion yet.
    Suspected,
    /// It is not a member: not yet, or no longer.
    Unknown,
}

impl Neighbours {
    /// Peers that are connected, for tests of other machines.
    #[cfg(test)]
    pub(crate) fn connected_to(peers: &[PeerId]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let connected = peers.iter().map(|peer| (*peer, Neighbour::new(address, Time::default())));
        Self { connected: connected.collect() }
    }

    /// A connection on which entries are exchanged is up, for tests of other machines.
    #[cfg(test)]
    pub(crate) fn connect_near(&mut self, peer: PeerId, address: SocketAddr) {
        let near = Neighbour { greeted: true, ..Neighbour::new(address, Time::default()) };
        self.connected.insert(peer, near);
    }

    /// Whether `peer` is connected, evicted or not.
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    /// The state of the connection to `peer`, for changes.
    pub(crate) fn entry(&mut self, peer: &PeerId) -> Option<&mut Neighbour> {
        self.connected.get_mut(peer)
    }

    /// `peer` sent a message or a datagram.
    pub(crate) fn heard(&mut self, peer: &PeerId, now: Time) {
        if let Some(neighbour) = self.connected.get_mut(peer) {
            neighbour.heard_at = now;
        }
    }

    /// The state of the connection to `peer`.
    pub(crate) fn look(&self, peer: &PeerId) -> Option<&Neighbour> {
        self.connected.get(peer)
    }

    /// The connected peers, ascending, without evicted ones: their digests and entries do not count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.iter_all().filter(|(_, neighbour)| !neighbour.evicted)
    }

    /// All connected peers, ascending, with evicted ones.
    pub(crate) fn iter_all(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.connected.iter().map(|(peer, neighbour)| (*peer, neighbour))
    }

    /// The number of connected peers, evicted or not.
    pub(crate) fn len(&self) -> usize {
        self.connected.len()
    }

    /// The number of near connections.
    pub(crate) fn near_count(&self) -> usize {
        self.connected.values().filter(|neighbour| neighbour.is_near()).count()
    }

    /// Bytes of what is known of others.
    pub(crate) fn held_bytes(&self) -> usize {
        self.connected.len() * size_of::<Neighbour>()
    }
}

impl Connectivity {
    /// The connected peers, ascending, for monitoring; `state` returns the membership state of a peer, `requests` the number of
    /// its open requests.
    pub(crate) fn views(
        &self,
        state: impl Fn(&PeerId) -> MemberState,
        requests: impl Fn(&PeerId) -> u32,
    ) -> Vec<NeighbourView> {
        let view = |(peer, neighbour): (PeerId, &Neighbour)| NeighbourView {
            peer,
            address: neighbour.address,
            reach: self.reach_of(&peer).unwrap_or(Reach::Direct),
            near: neighbour.is_near(),
            state: state(&peer),
            requests: requests(&peer),
        };
        self.neighbours.iter().map(view).collect()
    }

    /// Decides whether to keep a connection that has just come up, and returns the purpose for which it was dialed,
    /// if it was. If all places are taken, another connection may be closed for it.
    ///
    /// # Errors
    /// The reason for which the node closes the connection again.
    pub(crate) fn admit(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        address: SocketAddr,
    ) -> Result<Option<Purpose>, Closing> {
        let dialed = self.dialing.complete(&peer, address, cx.core.now);
        let purpose = dialed.max(self.traversal_purpose(&peer));
        let banned = cx.limits.is_banned(&peer, cx.core.now);
        let full = !self.neighbours.is_connected(&peer) && !self.make_room(cx);
        match (banned, full) {
            (true, _) => Err(Closing::Misbehaved),
            (false, true) => Err(Closing::Full),
            (false, false) => Ok(purpose),
        }
    }

    /// An admitted connection starts. It replaces an older connection to the same peer.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr, reach: Reach) {
        self.neighbours.connected.insert(peer, Neighbour::new(address, cx.core.now));
        cx.limits.connected(cx.core, peer);
        self.reached(cx, peer, address, reach);
    }

    /// Decides whether `peer`, just connected for `purpose`, becomes a neighbour. If so the node sends it a digest.
    pub(crate) fn invites(&mut self, cx: &mut Context<'_>, peer: PeerId, purpose: Option<Purpose>) -> bool {
        let invites = purpose.is_some_and(|purpose| purpose > Purpose::Contact) || self.wants_neighbours(cx);
        if let Some(neighbour) = self.neighbours.entry(&peer).filter(|_| invites) {
            neighbour.invited = true;
        }
        invites
    }

    /// Sends `peer` the addresses of other peers, which it needs most if this peer has no room for it, and then the
    /// datagrams that were queued for it.
    pub(crate) fn welcome(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        self.share_addresses(cx, peer);
        self.send_queued_datagrams(cx, peer);
    }

    /// Makes room for one more connection. If all places are taken it closes an evicted peer, or else the connection
    /// for a single exchange that has been idle longest, so that probes reach even a peer that many have just probed.
    /// Returns false if no connection may be closed.
    fn make_room(&mut self, cx: &mut Context<'_>) -> bool {
        if self.neighbours.len() < cx.core.config.neighbours_max {
            return true;
        }
        let before = cx.core.now.since(Time::default()).saturating_sub(cx.core.config.swim.probe_every);
        let silent = |neighbour: &Neighbour| neighbour.heard_at.max(neighbour.used_at).since(Time::default());
        let may_go = |neighbour: &Neighbour| neighbour.evicted || !neighbour.is_near() && silent(neighbour) < before;
        let passing = self.neighbours.iter_all().filter(|(_, neighbour)| may_go(neighbour));
        let idlest = passing.min_by_key(|(_, neighbour)| (!neighbour.evicted, silent(neighbour))).map(|(peer, _)| peer);
        idlest.into_iter().for_each(|peer| self.close(cx, peer, Closing::Idle));
        idlest.is_some()
    }

    /// The first digest of `peer` makes it a neighbour.
    pub(crate) fn greeted(&mut self, core: &mut Core, peer: PeerId) {
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        if !core::mem::replace(&mut neighbour.greeted, true) {
            core.tell(crate::Event::Joined { peer });
        }
    }

    /// `peer` was evicted: it is no longer a neighbour, although the connection stays up for its hearing.
    pub(crate) fn set_evicted(&mut self, core: &mut Core, peer: PeerId) {
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        neighbour.evicted = true;
        let departed = core::mem::replace(&mut neighbour.greeted, false);
        core.raise(Event::Evicted { peer, departed });
    }

    /// Drops the state of the connection to `peer`, and raises [`Event::Lost`]. Returns whether the peer was a
    /// neighbour.
    fn forget(&mut self, cx: &mut Context<'_>, peer: PeerId, closing: Option<Closing>) -> bool {
        let Some(neighbour) = self.neighbours.connected.remove(&peer) else { return false };
        cx.limits.disconnected(&peer);
        self.address_book.record_end(&peer, neighbour.address, cx.core.now.since(neighbour.since), cx.core.now);
        cx.core.raise(Event::Lost { peer, departed: neighbour.greeted, closing });
        neighbour.greeted
    }

    /// The connection to `peer` broke.
    pub(crate) fn on_disconnected(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        // Also a peer that had not sent a digest yet is dialed again: its connection may have replaced a neighbour's
        // older one, together with the dial that was to bring the neighbour back.
        let was_near = self.neighbours.entry(&peer).is_some_and(|neighbour| neighbour.is_near());
        let was_neighbour = self.forget(cx, peer, None);
        let reach = self.reachability.paths.remove(&peer).map(|path| path.reach);
        if was_near && self.is_full_mesh(cx) {
            self.redial_lost(cx, peer, was_neighbour);
        }
        if was_neighbour && self.is_full_mesh(cx) {
            reach.into_iter().for_each(|reach| self.resume_traversal(cx, peer, reach));
        }
        self.look_around_soon(cx.core.now);
    }

    /// `peer` leaves the swarm, and is not dialed again. The node still closes its connection.
    pub(crate) fn on_goodbye(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        self.address_book.forget(&peer);
        self.forget(cx, peer, None);
        self.reachability.forget(&peer);
    }

    /// Closes the connection to `peer` and does not dial it again.
    pub(crate) fn send_away(&mut self, cx: &mut Context<'_>, peer: PeerId, reason: Closing) {
        self.stop_seeking(&peer);
        self.reachability.forget(&peer);
        self.close(cx, peer, reason);
    }

    /// Cancels all dials of `peer` and drops its addresses.
    pub(crate) fn stop_seeking(&mut self, peer: &PeerId) {
        self.address_book.forget(peer);
        self.dialing.cancel(peer);
    }

    /// Closes the connection to `peer`, which may be dialed again later.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, peer: PeerId, reason: Closing) {
        if self.neighbours.is_connected(&peer) {
            self.forget(cx, peer, Some(reason));
            self.reachability.forget(&peer);
        }
    }

    /// The address at which others may dial the neighbour `peer`: the outer end of its port mapping, or else the
    /// address at which this peer sees it. None if the connection is relayed.
    pub(crate) fn address_of(&self, peer: &PeerId) -> Option<SocketAddr> {
        let address = self.reachability.direct(peer).map(|path| path.candidates.mapped().unwrap_or(path.address));
        address.filter(|address| is_routable(address.ip()))
    }

    /// Whether `peer` is connected and sent anything within the last `duration`.
    pub(crate) fn heard_within(&self, peer: &PeerId, duration: Duration, now: Time) -> bool {
        self.neighbours.look(peer).is_some_and(|neighbour| now.since(neighbour.heard_at) < duration)
    }
}
