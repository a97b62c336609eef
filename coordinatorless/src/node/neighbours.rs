//! Who this peer is connected to, and what it knows of them.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use murmur_collectives::{Hash, PeerId, VersionVector};

use super::{Node, dialing::Purpose, reach::is_somewhere};
use crate::{Closing, Event, Output, Reach, Time};

/// Frontiers that a neighbour was asked for and that no voter has named, at about most.
const SOUGHT_MAX: usize = 16;

/// What is known of a connected peer.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// What it is known to hold, at least.
    pub(super) known: VersionVector,
    /// State root of exactly `digest_vector`, by its own account.
    pub(super) digest: Option<(VersionVector, Hash)>,
    /// Number of the digest that said so.
    pub(super) heard: u32,
    /// What the last digest told it of this peer's set; none if the next has to be whole.
    pub(super) told: Option<Arc<VersionVector>>,
    /// Number of that digest.
    pub(super) said: u32,
    /// Whether it has said what it holds. Until then it may be a stranger who only asks for the manifest.
    greeted: bool,
    /// Whether this peer told it what it holds.
    invited: bool,
    /// Whether it is evicted, and only connected for its hearing.
    evicted: bool,
    /// It will author nothing more unless something new arrives.
    pub(super) idle: bool,
    /// It is about to leave.
    pub(super) finishing: bool,
    /// The newest epoch that is final there, and the name of its frontier.
    pub(super) epoch: (u32, Hash),
    /// When it was last shown what is decided without asking.
    shown_at: Option<Time>,
    /// Whether the history that made it final there has to give way to the one here.
    pub(super) fallen: bool,
    /// Frontiers it was asked for and that no voter known here has named.
    sought: BTreeSet<Hash>,
    /// Where the other end of the connection is.
    pub(super) address: SocketAddr,
    /// When the connection came up.
    since: Time,
    /// When it first showed, on this connection, that it knows this process by its present start.
    pub(super) vouched_at: Option<Time>,
    /// When it last said anything.
    pub(super) heard_at: Time,
    /// When a datagram was last sent to it.
    pub(super) used_at: Time,
    /// Requests it has been asked and has not answered yet.
    pub(super) asked: u32,
    /// Requests it left unanswered, less those it answered since.
    pub(super) owing: u32,
    /// Since when it owes them and has given none.
    pub(super) owing_since: Option<Time>,
}

impl Neighbour {
    fn new(address: SocketAddr, now: Time) -> Self {
        Self {
            known: VersionVector::default(),
            digest: None,
            heard: 0,
            told: None,
            said: 0,
            greeted: false,
            invited: false,
            evicted: false,
            idle: false,
            finishing: false,
            epoch: (0, Hash::NONE),
            shown_at: None,
            fallen: false,
            sought: BTreeSet::new(),
            address,
            since: now,
            vouched_at: None,
            heard_at: now,
            used_at: now,
            asked: 0,
            owing: 0,
            owing_since: None,
        }
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether this is or is about to be a neighbour, and not only a connection for one exchange.
    pub(super) fn is_near(&self) -> bool {
        self.greeted || self.invited
    }
}

/// The connected peers.
#[derive(Default, Debug)]
pub(super) struct Neighbours {
    connected: BTreeMap<PeerId, Neighbour>,
}

#[cfg(test)]
impl Neighbours {
    /// Connections to these peers, at no address in particular.
    pub(super) fn connected_to(peers: &[PeerId]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Self { connected: peers.iter().map(|peer| (*peer, Neighbour::new(address, Time::default()))).collect() }
    }
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
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    pub(super) fn entry(&mut self, peer: &PeerId) -> Option<&mut Neighbour> {
        self.connected.get_mut(peer)
    }

    /// `peer` has said something.
    pub(super) fn heard(&mut self, peer: &PeerId, now: Time) {
        if let Some(neighbour) = self.connected.get_mut(peer) {
            neighbour.heard_at = now;
        }
    }

    pub(super) fn look(&self, peer: &PeerId) -> Option<&Neighbour> {
        self.connected.get(peer)
    }

    /// Connected peers, ascending, without those that are evicted: what these hold and say counts for nothing.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.iter_all().filter(|(_, neighbour)| !neighbour.evicted)
    }

    /// Connected peers, ascending, evicted or not.
    pub(super) fn iter_all(&self) -> impl Iterator<Item = (PeerId, &Neighbour)> {
        self.connected.iter().map(|(peer, neighbour)| (*peer, neighbour))
    }

    /// When each connected peer vouched for this process's identity, if it has, and when its connection came up.
    pub(super) fn vouchers(&self) -> impl Iterator<Item = (Option<Time>, Time)> {
        self.connected.values().map(|neighbour| (neighbour.vouched_at, neighbour.since))
    }

    /// Connected peers that have not vouched.
    pub(super) fn silent_on_identity(&self) -> impl Iterator<Item = PeerId> {
        self.connected.iter().filter(|(_, neighbour)| neighbour.vouched_at.is_none()).map(|(peer, _)| *peer)
    }

    pub(super) fn all_vouch(&self) -> bool {
        self.silent_on_identity().next().is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.connected.len()
    }

    pub(super) fn near_count(&self) -> usize {
        self.connected.values().filter(|neighbour| neighbour.is_near()).count()
    }

    /// Notes that `peer` holds the first `count` entries of `author`.
    pub(super) fn note(&mut self, peer: &PeerId, author: PeerId, count: u32) {
        if let Some(neighbour) = self.connected.get_mut(peer) {
            neighbour.known.raise(author, count);
        }
    }

    /// Notes that `peer` is asked for frontiers that no voter has named.
    pub(super) fn seek<'a>(&mut self, peer: &PeerId, names: impl Iterator<Item = &'a Hash>) {
        let Some(neighbour) = self.connected.get_mut(peer) else { return };
        if neighbour.sought.len() >= SOUGHT_MAX {
            neighbour.sought.clear();
        }
        neighbour.sought.extend(names);
    }

    /// Whether `peer` was asked for it; it is not any more.
    pub(super) fn was_sought(&mut self, peer: &PeerId, name: &Hash) -> bool {
        self.connected.get_mut(peer).is_some_and(|neighbour| neighbour.sought.remove(name))
    }

    /// Whether `peer` may be shown what is decided: once in a while.
    pub(super) fn may_show(&mut self, peer: &PeerId, now: Time, often: Duration) -> bool {
        let Some(neighbour) = self.connected.get_mut(peer) else { return false };
        let may = neighbour.shown_at.is_none_or(|at| now >= at + often);
        neighbour.shown_at = if may { Some(now) } else { neighbour.shown_at };
        may
    }

    /// Notes whether what is final at `peer` has to give way to what is final here.
    pub(super) fn set_fallen(&mut self, peer: &PeerId, fallen: bool) {
        if let Some(neighbour) = self.connected.get_mut(peer) {
            neighbour.fallen = fallen;
        }
    }

    /// What is final here comes from another history now.
    pub(super) fn forget_fallen(&mut self) {
        self.connected.values_mut().for_each(|neighbour| neighbour.fallen = false);
    }

    /// Bytes of what is known of others.
    pub(super) fn held_bytes(&self) -> usize {
        let claims = |neighbour: &Neighbour| {
            let digest = neighbour.digest.as_ref().map_or(0, |(vector, _)| vector.held_bytes());
            neighbour.known.held_bytes() + digest + size_of::<Hash>() * neighbour.sought.len()
        };
        self.connected.values().map(|neighbour| size_of::<Neighbour>() + claims(neighbour)).sum()
    }
}

impl Node {
    /// Peers connected now, ascending.
    pub fn neighbours(&self) -> Vec<PeerId> {
        self.neighbours.iter().map(|(peer, _)| peer).collect()
    }

    /// Peers connected now, ascending, with what is known of each.
    pub fn neighbour_list(&self) -> Vec<NeighbourView> {
        let members = self.members();
        let state = |peer: &PeerId| match members.binary_search_by_key(peer, |member| member.peer) {
            Ok(at) if members[at].suspected => MemberState::Suspected,
            Ok(_) => MemberState::Alive,
            Err(_) => MemberState::Unknown,
        };
        let view = |(peer, neighbour): (PeerId, &Neighbour)| NeighbourView {
            peer,
            address: neighbour.address,
            reach: self.reach_of(&peer).unwrap_or(Reach::Direct),
            near: neighbour.is_near(),
            state: state(&peer),
            requests: neighbour.asked,
        };
        self.neighbours.iter().map(view).collect()
    }

    pub(super) fn on_connected(&mut self, peer: PeerId, address: SocketAddr, reach: Reach) {
        let dialed = self.dialing.done(&peer, address, self.core.now);
        let purpose = dialed.max(self.quest_purpose(&peer));
        let banned = self.limits.is_banned(&peer, self.core.now);
        let full = !self.neighbours.is_connected(&peer) && !self.make_room();
        let unwelcome = [(banned, Closing::Misbehaved), (full, Closing::Full)];
        if let Some((_, reason)) = unwelcome.into_iter().find(|(applies, _)| *applies) {
            self.core.outputs.push_back(Output::Close { peer, reason });
            return;
        }
        if self.neighbours.is_connected(&peer) {
            self.forget_requests_to(peer); // a new connection took the place of the old one, and what was asked is lost
        }
        self.neighbours.connected.insert(peer, Neighbour::new(address, self.core.now));
        self.limits.connected(&self.core, peer);
        self.reached(peer, address, reach);
        self.show_card(peer);
        if self.set.fold.is_evicted(&peer) {
            return self.give_hearing(peer);
        }
        if purpose.is_some_and(|purpose| purpose > Purpose::Contact) || self.wants_neighbours() {
            self.invite(peer);
        }
        self.introduce_others(peer); // above all where there is no room for it here
        self.release_held(peer);
        self.announce_self(peer);
        self.on_reached(peer);
    }

    /// Whether there is room for one more connection. If need be one goes that is evicted, or one that served a single
    /// exchange, the one that has been silent longest, so that probes get through to a peer that many have probed lately.
    fn make_room(&mut self) -> bool {
        if self.neighbours.len() < self.core.config.neighbours_max {
            return true;
        }
        let before = self.core.now.since(Time::default()).saturating_sub(self.core.config.swim.probe_every);
        let silent = |neighbour: &Neighbour| neighbour.heard_at.max(neighbour.used_at).since(Time::default());
        let may_go = |neighbour: &Neighbour| neighbour.evicted || !neighbour.is_near() && silent(neighbour) < before;
        let passing = self.neighbours.iter_all().filter(|(_, neighbour)| may_go(neighbour));
        let idlest = passing.min_by_key(|(_, neighbour)| (!neighbour.evicted, silent(neighbour))).map(|(peer, _)| peer);
        idlest.into_iter().for_each(|peer| self.part(peer, Closing::Idle));
        idlest.is_some()
    }

    /// Says what this peer holds, which makes a connection near.
    fn invite(&mut self, peer: PeerId) {
        if let Some(neighbour) = self.neighbours.entry(&peer) {
            neighbour.invited = true;
        }
        self.send_digest(peer, true);
    }

    /// The first digest makes a connection a neighbour.
    pub(super) fn on_greeted(&mut self, peer: PeerId) {
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        if !core::mem::replace(&mut neighbour.greeted, true) {
            self.core.tell(Event::Joined { peer });
        }
    }

    /// An evicted peer is no neighbour any more, although its connection is still there.
    pub(super) fn set_evicted(&mut self, peer: PeerId) {
        self.forget_requests_to(peer);
        let Some(neighbour) = self.neighbours.entry(&peer) else { return };
        neighbour.evicted = true;
        if core::mem::replace(&mut neighbour.greeted, false) {
            self.core.tell(Event::Departed { peer });
        }
    }

    fn forget(&mut self, peer: PeerId) -> bool {
        let Some(neighbour) = self.neighbours.connected.remove(&peer) else { return false };
        self.limits.disconnected(&peer);
        if self.neighbours.len() == 0 {
            self.solitude.note_unconnected(self.core.now);
        }
        self.forget_requests_to(peer);
        self.address_book.ended(&peer, neighbour.address, self.core.now.since(neighbour.since), self.core.now);
        if neighbour.greeted {
            self.core.tell(Event::Departed { peer });
        }
        neighbour.greeted
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId) {
        // One that was to become a neighbour may have taken the place of one that was, and the dial that sought it.
        let was_near = self.neighbours.entry(&peer).is_some_and(|neighbour| neighbour.is_near());
        let was_neighbour = self.forget(peer);
        let reach = self.reaching.paths.remove(&peer).map(|path| path.reach);
        if was_near && self.is_full_mesh() {
            self.redial_lost(peer, was_neighbour);
        }
        if was_neighbour && self.is_full_mesh() {
            reach.into_iter().for_each(|reach| self.lost_quest(peer, reach));
        }
        self.look_around_soon();
    }

    pub(super) fn on_goodbye(&mut self, from: PeerId) {
        self.address_book.forget(&from);
        self.forget(from);
        self.reaching.forget(&from);
        self.member_left(from);
        self.core.outputs.push_back(Output::Close { peer: from, reason: Closing::Goodbye });
    }

    /// Ends the connection with `peer` and does not seek it again.
    pub(super) fn send_away(&mut self, peer: PeerId, reason: Closing) {
        self.part_for_good(peer);
        self.reaching.forget(&peer);
        self.part(peer, reason);
    }

    /// Does not seek `peer` again.
    pub(super) fn part_for_good(&mut self, peer: PeerId) {
        self.address_book.forget(&peer);
        self.dialing.cancel(&peer);
    }

    /// Ends the connection with `peer`.
    pub(super) fn part(&mut self, peer: PeerId, reason: Closing) {
        if self.neighbours.is_connected(&peer) {
            self.forget(peer);
            self.reaching.forget(&peer);
            self.core.outputs.push_back(Output::Close { peer, reason });
        }
    }

    /// Where others may dial `peer`, a neighbour, unless others are in between: at the port that its router keeps open for
    /// it, or where this end of the connection sees it.
    pub(super) fn address_of(&self, peer: &PeerId) -> Option<SocketAddr> {
        let address = self.reaching.straight(peer).map(|path| path.candidates.mapped().unwrap_or(path.address));
        address.filter(|address| is_somewhere(address.ip()))
    }

    /// Whether `peer` is connected and has said something in the last `duration`.
    pub(super) fn heard_within(&self, peer: &PeerId, duration: Duration) -> bool {
        self.neighbours.look(peer).is_some_and(|neighbour| self.core.now.since(neighbour.heard_at) < duration)
    }
}
