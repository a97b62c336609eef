//! Who this peer is connected to, and what it knows of them.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::PeerId;

use super::{Connectivity, Context, Event, dialing::Purpose, reachability::is_somewhere};
use crate::{Closing, Reach, Time, node::context::Core};

/// What is known of a connected peer.
#[derive(Debug)]
pub(crate) struct Neighbour {
    /// Whether it has said what it holds. Until then it may be a stranger who only asks for the manifest.
    greeted: bool,
    /// Whether this peer told it what it holds.
    invited: bool,
    /// Whether it is evicted, and only connected for its hearing.
    evicted: bool,
    /// Where the other end of the connection is.
    pub(crate) address: SocketAddr,
    /// When the connection came up.
    since: Time,
    /// When it last said anything.
    pub(crate) heard_at: Time,
    /// When a datagram was last sent to it.
    pub(crate) used_at: Time,
}

impl Neighbour {
    fn new(address: SocketAddr, now: Time) -> Self {
        Self { greeted: false, invited: false, evicted: false, address, since: now, heard_at: now, used_at: now }
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether this is or is about to be a neighbour, and not only a connection for one exchange.
    pub(crate) fn is_near(&self) -> bool {
        self.greeted || self.invited
    }
}

/// The connected peers.
#[derive(Default, Debug)]
pub(crate) struct Neighbours {
    connected: BTreeMap<PeerId, Neighbour>,
}

/// A connected peer, for those who watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighbourView {
    /// Who.
    pub peer: PeerId,
    /// Where the other end of the connection is; a stand-in if it is relayed.
    pub address: SocketAddr,
    /// How its packets travel.
    pub reach: Reach,
    /// Whether entries are exchanged; otherwise the connection serves one purpose.
    pub near: bool,
    /// What membership says of it.
    pub state: MemberState,
    /// Requests it has been asked and has not answered yet.
    pub requests: u32,
}

/// What membership says of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It failed a probe and has not denied being down yet.
    Suspected,
    /// It is not a member, not yet, or no longer.
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

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    pub(crate) fn entry(&mut self, peer: &PeerId) -> Option<&mut Neighbour> {
        self.connected.get_mut(peer)
    }

    /// `peer` has said something.
    pub(crate) fn heard(&mut self, peer: &PeerId, now: Time) {
        if let Some(neighbour) = self.connected.get_mut(peer) {
            neighbour.heard_at = now;
        }
    }

    pub(crate) fn look(&self, peer: &PeerId) -> Option<&Neighbour> {
        self.connected.get(peer)
    }

    /// Connected peers, ascending, without those that are evicted: what these hold and say counts for nothing.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.iter_all().filter(|(_, neighbour)| !neighbour.evicted)
    }

    /// Connected peers, ascending, evicted or not.
    pub(crate) fn iter_all(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.connected.iter().map(|(peer, neighbour)| (*peer, neighbour))
    }

    pub(crate) fn len(&self) -> usize {
        self.connected.len()
    }

    pub(crate) fn near_count(&self) -> usize {
        self.connected.values().filter(|neighbour| neighbour.is_near()).count()
    }

    /// Bytes of what is known of others.
    pub(crate) fn held_bytes(&self) -> usize {
        self.connected.len() * size_of::<Neighbour>()
    }
}

impl Connectivity {
    /// Connected peers, ascending, with what is known of each; `state` is what membership says, `requests` how many are open.
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

    /// Decides on a connection that has just come up: what it is for if it was sought, or why it is closed again. If need be
    /// another one goes for it.
    ///
    /// # Errors
    /// Why the connection is not wanted.
    pub(crate) fn admit(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        address: SocketAddr,
    ) -> Result<Option<Purpose>, Closing> {
        let dialed = self.dialing.done(&peer, address, cx.core.now);
        let purpose = dialed.max(self.traversal_purpose(&peer));
        let banned = cx.limits.is_banned(&peer, cx.core.now);
        let full = !self.neighbours.is_connected(&peer) && !self.make_room(cx);
        match (banned, full) {
            (true, _) => Err(Closing::Misbehaved),
            (false, true) => Err(Closing::Full),
            (false, false) => Ok(purpose),
        }
    }

    /// An admitted connection begins, in place of an older one with the same peer.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, peer: PeerId, address: SocketAddr, reach: Reach) {
        self.neighbours.connected.insert(peer, Neighbour::new(address, cx.core.now));
        cx.limits.connected(cx.core, peer);
        self.reached(cx, peer, address, reach);
    }

    /// Whether `peer`, just connected for `purpose`, becomes a neighbour: then it is to be sent a digest.
    pub(crate) fn invites(&mut self, cx: &mut Context<'_>, peer: PeerId, purpose: Option<Purpose>) -> bool {
        let invites = purpose.is_some_and(|purpose| purpose > Purpose::Contact) || self.wants_neighbours(cx);
        if let Some(neighbour) = self.neighbours.entry(&peer).filter(|_| invites) {
            neighbour.invited = true;
        }
        invites
    }

    /// Tells `peer` of other peers, above all where there is no room for it here, and sends what waited for the connection.
    pub(crate) fn welcome(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        self.introduce_others(cx, peer);
        self.release_held(cx, peer);
    }

    /// Whether there is room for one more connection. If need be one goes that is evicted, or one that served a single
    /// exchange, the one that has been silent longest, so that probes get through to a peer that many have probed lately.
    fn make_room(&mut self, cx: &mut Context<'_>) -> bool {
        if self.neighbours.len() < cx.core.config.neighbours_max {
            return true;
        }
        let before = cx.core.now.since(Time::default()).saturating_sub(cx.core.config.swim.probe_every);
        let silent = |neighbour: &Neighbour| neighbour.heard_at.max(neighbour.used_at).since(Time::default());
        let may_go = |neighbour: &Neighbour| neighbour.evicted || !neighbour.is_near() && silent(neighbour) < before;
        let passing = self.neighbours.iter_all().filter(|(_, neighbour)| may_go(neighbour));
        let idlest = passing.min_by_key(|(_, neighbour)| (!neighbour.evicted, silent(neighbour))).map(|(peer, _)| peer);
        idlest.into_iter().for_each(|peer| self.part(cx, peer, Closing::Idle));
        idlest.is_some()
    }

    /// The first digest makes a connection a neighbour.
    pub(crate) fn greeted(&mut self, core: &mut Core, peer: PeerId) {
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        if !core::mem::replace(&mut neighbour.greeted, true) {
            core.tell(crate::Event::Joined { peer });
        }
    }

    /// An evicted peer is no neighbour any more, although its connection is still up.
    pub(crate) fn set_evicted(&mut self, core: &mut Core, peer: PeerId) {
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        neighbour.evicted = true;
        let departed = core::mem::replace(&mut neighbour.greeted, false);
        core.raise(Event::Evicted { peer, departed });
    }

    /// The connection with `peer` is no more, or is about to be closed. Whether the peer was a neighbour.
    fn forget(&mut self, cx: &mut Context<'_>, peer: PeerId, closing: Option<Closing>) -> bool {
        let Some(neighbour) = self.neighbours.connected.remove(&peer) else { return false };
        cx.limits.disconnected(&peer);
        self.address_book.ended(&peer, neighbour.address, cx.core.now.since(neighbour.since), cx.core.now);
        cx.core.raise(Event::Lost { peer, departed: neighbour.greeted, closing });
        neighbour.greeted
    }

    /// The connection with `peer` broke.
    pub(crate) fn on_disconnected(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        // One that was to become a neighbour may have taken the place of one that was, and the dial that sought it.
        let was_near = self.neighbours.entry(&peer).is_some_and(|neighbour| neighbour.is_near());
        let was_neighbour = self.forget(cx, peer, None);
        let reach = self.reachability.paths.remove(&peer).map(|path| path.reach);
        if was_near && self.is_full_mesh(cx) {
            self.redial_lost(cx, peer, was_neighbour);
        }
        if was_neighbour && self.is_full_mesh(cx) {
            reach.into_iter().for_each(|reach| self.lost_traversal(cx, peer, reach));
        }
        self.look_around_soon(cx.core.now);
    }

    /// `peer` leaves the swarm: it is not sought again. Its connection is still to be closed.
    pub(crate) fn on_goodbye(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        self.address_book.forget(&peer);
        self.forget(cx, peer, None);
        self.reachability.forget(&peer);
    }

    /// Ends the connection with `peer` and does not seek it again.
    pub(crate) fn send_away(&mut self, cx: &mut Context<'_>, peer: PeerId, reason: Closing) {
        self.part_for_good(&peer);
        self.reachability.forget(&peer);
        self.part(cx, peer, reason);
    }

    /// Does not seek `peer` again.
    pub(crate) fn part_for_good(&mut self, peer: &PeerId) {
        self.address_book.forget(peer);
        self.dialing.cancel(peer);
    }

    /// Ends the connection with `peer`.
    pub(crate) fn part(&mut self, cx: &mut Context<'_>, peer: PeerId, reason: Closing) {
        if self.neighbours.is_connected(&peer) {
            self.forget(cx, peer, Some(reason));
            self.reachability.forget(&peer);
        }
    }

    /// Where others may dial `peer`, a neighbour, unless others are in between: at the port that its router keeps open for
    /// it, or where this end of the connection sees it.
    pub(crate) fn address_of(&self, peer: &PeerId) -> Option<SocketAddr> {
        let address = self.reachability.straight(peer).map(|path| path.candidates.mapped().unwrap_or(path.address));
        address.filter(|address| is_somewhere(address.ip()))
    }

    /// Whether `peer` is connected and has said something in the last `duration`.
    pub(crate) fn heard_within(&self, peer: &PeerId, duration: Duration, now: Time) -> bool {
        self.neighbours.look(peer).is_some_and(|neighbour| now.since(neighbour.heard_at) < duration)
    }
}
