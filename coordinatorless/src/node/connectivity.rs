//! Connections: which peers to connect to, at which addresses, and through which NATs or relays.
//!
//! Contract: [`Connectivity::admit`] and then [`Connectivity::begin`] take a connection that came up;
//! [`Connectivity::on_disconnected`], [`Connectivity::on_dial_failed`] and [`Connectivity::on_moved`] take the other
//! news of the transport; the remaining `on_…` methods take messages of neighbours about addresses. Machines above
//! connect to peers ([`Connectivity::seek`]), disconnect from them ([`Connectivity::close`],
//! [`Connectivity::send_away`]), and read the connected peers. [`Event`] is raised for them when a connection ends or
//! cannot be made.
//!
//! - `neighbours`: the connected peers;
//! - `view`: how many neighbours this peer keeps, and which ones;
//! - `dialing`, `address_book`, `dial_rtt`: dials of known addresses, and when a dial counts as slow;
//! - `reachability`, `candidates`: the address at which others see this peer, and introductions between peers behind
//!   NATs;
//! - `traversal`: NAT traversal for a peer that a dial does not reach: hole punching, then relays.

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

use self::{address_book::AddressBook, dialing::Dialing, reachability::Reachability, view::ViewTimers};
pub(crate) use self::{dialing::Purpose, neighbours::Neighbours};
pub use self::{
    neighbours::{MemberState, NeighbourView},
    reachability::Mapping,
};
use super::{context::Core, limits::Limits, set::Set};
use crate::{Closing, PeerAddress, Time};

/// A change that the machines above must act on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A connection is gone, and all requests on it are void. `departed`: the peer was a neighbour. `closing`: the
    /// transport has not closed the connection yet.
    Lost { peer: PeerId, departed: bool, closing: Option<Closing> },
    /// The peer was evicted and is still connected; all requests to it are void. `departed`: the peer was a
    /// neighbour.
    Evicted { peer: PeerId, departed: bool },
    /// Neither a dial nor NAT traversal reached the peer.
    Unreachable(PeerId),
}

/// The state outside this machine that it may use.
pub(crate) struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) limits: &'a mut Limits,
    pub(crate) set: &'a Set,
    pub(crate) swarm: Swarm<'a>,
}

impl Context<'_> {
    /// Counts an offence of `peer`; see [`Limits::strike`].
    fn strike(&mut self, peer: PeerId, reason: String) {
        self.limits.strike(self.core, peer, reason);
    }
}

/// The swarm and this peer's role in it, as the machines above report them.
#[derive(Clone, Copy)]
pub(crate) struct Swarm<'a> {
    /// The members that are up, without this peer.
    pub(crate) members: &'a BTreeSet<PeerId>,
    /// An earlier process with this peer's key is alive; this process connects to no peer.
    pub(crate) is_second: bool,
    /// This peer is about to leave and connects to no new neighbours.
    pub(crate) is_finishing: bool,
}

/// The connected peers, and everything needed to connect to more.
#[derive(Default, Debug)]
pub(crate) struct Connectivity {
    neighbours: Neighbours,
    address_book: AddressBook,
    dialing: Dialing,
    view: ViewTimers,
    reachability: Reachability,
}

impl Connectivity {
    /// Starts with the addresses that the host stored in the last run, and those of a ticket.
    pub(crate) fn new(addresses: &[PeerAddress]) -> Self {
        Self { address_book: AddressBook::restore(addresses), ..Self::default() }
    }

    /// The connected peers.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// The connected peers, with the state that machines above keep for each.
    pub(crate) fn neighbours_mut(&mut self) -> &mut Neighbours {
        &mut self.neighbours
    }

    /// Whether a dial to `peer` is queued or under way, or a NAT traversal is.
    pub(crate) fn is_seeking(&self, peer: &PeerId) -> bool {
        self.dialing.seeks(peer) || self.reachability.seeks(peer)
    }

    /// Records that `from` sent an address of `peer`, and so can probably introduce the two peers.
    pub(crate) fn note_introducer(&mut self, peer: PeerId, from: PeerId) {
        self.reachability.note_introducer(peer, from);
    }

    /// Closes all connections and cancels all dials and traversals.
    pub(crate) fn stop(&mut self, cx: &mut Context<'_>) {
        let peers: Vec<PeerId> = self.neighbours.iter_all().map(|(peer, _)| peer).collect();
        peers.into_iter().for_each(|peer| self.close(cx, peer, Closing::Idle));
        self.dialing = Dialing::default();
        self.reachability = Reachability::default();
    }

    /// The time at which one of the `…_due` methods has work.
    pub(crate) fn next_deadline(&self, core: &Core) -> Option<Time> {
        let view = self.view.next_deadline(self.address_book.has_changes());
        let due =
            [self.dialing.next_deadline(core.config.dials_at_once), Some(view), self.reachability.next_deadline()];
        due.into_iter().flatten().min()
    }

    /// The memory that the connected peers take, in bytes.
    pub(crate) fn neighbour_bytes(&self) -> usize {
        self.neighbours.held_bytes()
    }

    /// The memory that addresses and introducers take, in bytes.
    pub(crate) fn address_bytes(&self) -> usize {
        self.address_book.held_bytes() + self.reachability.held_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
