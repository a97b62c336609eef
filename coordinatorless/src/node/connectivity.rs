//! Connections: which peers to be connected with, where they are, and how to get there.
//!
//! Contract: the transport's news come in by [`Connectivity::admit`] and [`Connectivity::begin`] for a connection that came
//! up, [`Connectivity::on_disconnected`], [`Connectivity::on_dial_failed`], [`Connectivity::on_moved`]; messages of
//! neighbours about addresses by the other `on_…` methods. Machines above seek peers ([`Connectivity::seek`]), part with
//! them ([`Connectivity::part`], [`Connectivity::send_away`]), and read who is connected. What a lost connection means for
//! them is raised: [`Event`].
//!
//! - `neighbours`: the connected peers;
//! - `view`: how many there should be, and which ones;
//! - `dialing`, `address_book`, `dial_rtt`: dials of known addresses, and when one takes too long;
//! - `reachability`, `candidates`: how others see this peer, and introductions between peers behind NATs;
//! - `traversal`: the search for a way to a peer that a dial does not reach: hole punching, then relays.

mod address_book;
mod candidates;
mod dial_rtt;
mod dialing;
mod neighbours;
mod reachability;
mod traversal;
mod view;

use std::collections::BTreeSet;

use murmur_collectives::PeerId;

use self::{address_book::AddressBook, dialing::Dialing, reachability::Reachability, view::View};
pub(crate) use self::{dialing::Purpose, neighbours::Neighbours};
pub use self::{
    neighbours::{MemberState, NeighbourView},
    reachability::Mapping,
};
use super::{context::Core, limits::Limits, set::Set};
use crate::{Closing, Message, PeerAddress, Time};

/// What machines above have to know.
#[derive(Debug)]
pub(crate) enum Event {
    /// A connection is gone: what was asked on it is void. `departed`: the peer was a neighbour. `closing`: the transport
    /// still has to close the connection.
    Lost { peer: PeerId, departed: bool, closing: Option<Closing> },
    /// The peer is evicted and still connected: what was asked of it is void.
    Evicted { peer: PeerId, departed: bool },
    /// No way to the peer was found.
    Unreachable(PeerId),
}

/// What connectivity may touch.
pub(crate) struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) limits: &'a mut Limits,
    pub(crate) set: &'a Set,
    pub(crate) swarm: Swarm<'a>,
}

impl Context<'_> {
    fn send(&mut self, to: PeerId, message: &Message) {
        self.limits.expect_answer(&self.core.rules, &to, message);
        self.core.post(to, message);
    }

    fn strike(&mut self, peer: PeerId, reason: String) {
        self.limits.strike(self.core, peer, reason);
    }
}

/// What the machines above say of the swarm and this peer's part in it.
#[derive(Clone, Copy)]
pub(crate) struct Swarm<'a> {
    /// Members that are up, without this peer.
    pub(crate) members: &'a BTreeSet<PeerId>,
    /// Another process with this peer's key takes part; this one connects to nobody.
    pub(crate) is_second: bool,
    /// This peer is about to leave, and seeks no new neighbours.
    pub(crate) is_finishing: bool,
}

/// Connections and the ways to them.
#[derive(Default, Debug)]
pub(crate) struct Connectivity {
    neighbours: Neighbours,
    address_book: AddressBook,
    dialing: Dialing,
    view: View,
    reachability: Reachability,
}

impl Connectivity {
    /// With the addresses that were kept at the last run, and those of a ticket.
    pub(crate) fn new(addresses: &[PeerAddress]) -> Self {
        Self { address_book: AddressBook::restore(addresses), ..Self::default() }
    }

    /// The connected peers.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// The connected peers, for what machines above keep with them.
    pub(crate) fn neighbours_mut(&mut self) -> &mut Neighbours {
        &mut self.neighbours
    }

    /// Whether a dial to `peer` is wanted or under way, or another way to it is sought.
    pub(crate) fn is_seeking(&self, peer: &PeerId) -> bool {
        self.dialing.seeks(peer) || self.reachability.seeks(peer)
    }

    /// Notes that `from` spoke of `peer`, and so may bring both together.
    pub(crate) fn note_introducer(&mut self, peer: PeerId, from: PeerId) {
        self.reachability.note_introducer(peer, from);
    }

    /// Ends all connections and seeks none.
    pub(crate) fn stop(&mut self, cx: &mut Context<'_>) {
        let peers: Vec<PeerId> = self.neighbours.iter_all().map(|(peer, _)| peer).collect();
        peers.into_iter().for_each(|peer| self.part(cx, peer, Closing::Idle));
        self.dialing = Dialing::default();
        self.reachability = Reachability::default();
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self, core: &Core) -> Option<Time> {
        let view = self.view.next_deadline(self.address_book.has_changes());
        let due =
            [self.dialing.next_deadline(core.config.dials_at_once), Some(view), self.reachability.next_deadline()];
        due.into_iter().flatten().min()
    }

    /// Bytes of what is known of the connected peers.
    pub(crate) fn neighbour_bytes(&self) -> usize {
        self.neighbours.held_bytes()
    }

    /// Bytes of what is known of addresses and introductions.
    pub(crate) fn address_bytes(&self) -> usize {
        self.address_book.held_bytes() + self.reachability.held_bytes()
    }
}
