//! Routes that several machines take part in when a connection or this process begins or ends.

use std::net::SocketAddr;

use murmur_collectives::PeerId;
use murmur_verification::audit;

use crate::{Closing, Event, Input, Output, Reach, node::Node};

impl Node {
    pub(crate) fn leave(&mut self) {
        self.with_membership(|membership, cx| membership.leave_swarm(cx));
        self.with_own_chain(|own, cx| own.say_goodbye(cx));
    }

    pub(crate) fn on_connected(&mut self, peer: PeerId, address: SocketAddr, reach: Reach) {
        let purpose = match self.with_connectivity(|connectivity, cx| connectivity.admit(cx, peer, address)) {
            Ok(purpose) => purpose,
            Err(reason) => return self.core.outputs.push_back(Output::Close { peer, reason }),
        };
        if self.connectivity.neighbours().is_connected(&peer) {
            self.forget_requests_to(peer); // a new connection took the place of the old one, and what was asked is lost
        }
        self.identity_guard.connected(peer, self.core.now);
        self.replication.connected(peer);
        self.finality.connected(peer);
        self.with_connectivity(|connectivity, cx| connectivity.begin(cx, peer, address, reach));
        self.with_membership(|membership, cx| membership.show_card(cx, peer));
        if self.set.fold.is_evicted(&peer) {
            return self.with_evictions(|evictions, cx| evictions.give_hearing(cx, peer));
        }
        if self.with_connectivity(|connectivity, cx| connectivity.invites(cx, peer, purpose)) {
            self.with_replication(|machine, cx| machine.send_digest(cx, peer, true));
        }
        self.with_connectivity(|connectivity, cx| connectivity.welcome(cx, peer));
        self.with_membership(|membership, cx| membership.announce_self(cx, peer));
        self.audit(audit::Input::Reached(peer)); // carries that only this peer serves can be fetched now
    }

    pub(crate) fn on_goodbye(&mut self, from: PeerId) {
        self.with_connectivity(|connectivity, cx| connectivity.on_goodbye(cx, from));
        self.with_membership(|membership, cx| membership.member_left(cx, from));
        self.core.outputs.push_back(Output::Close { peer: from, reason: Closing::Goodbye });
    }

    /// Looks after the neighbourhood, and after what was asked of peers that are no longer sought.
    pub(crate) fn look_due(&mut self) {
        if !self.connectivity.is_look_due(&mut self.core) {
            return;
        }
        self.with_connectivity(|connectivity, cx| connectivity.close_idle(cx));
        self.with_connectivity(|connectivity, cx| connectivity.look_around(cx));
        self.with_connectivity(|connectivity, cx| connectivity.thin_out(cx));
        // The first announcement to a neighbour may have been lost.
        let near: Vec<PeerId> = self.network().near().collect();
        near.into_iter().for_each(|peer| self.with_membership(|membership, cx| membership.announce_self(cx, peer)));
        self.give_up_lost_carries();
    }

    pub(crate) fn identity_guard_due(&mut self) {
        for peer in self.identity_guard.due(&self.core) {
            self.with_membership(|membership, cx| membership.announce_to(cx, peer));
        }
    }

    /// A living process with the same identity is at `address`. One that is not sure to be alone yet has only just started,
    /// and stops; one that is will be told in time that the other stopped, or who of the two it is.
    pub(crate) fn on_twin(&mut self, address: SocketAddr) {
        self.with_connectivity(|connectivity, cx| connectivity.on_dial_failed(cx, address, false));
        if !self.identity_guard.is_sure() && !self.membership.is_second() {
            self.membership.stop_as_second();
            self.stop_as_second();
        }
    }

    /// An earlier process with the same identity is alive: this one stops, and leaves all connections to that one. It says no
    /// goodbye, as that would be taken for the other's.
    pub(crate) fn stop_as_second(&mut self) {
        self.core.tell(Event::IdentityInUse);
        self.with_connectivity(|connectivity, cx| connectivity.stop(cx));
    }

    /// Whatever still happens to a second process: it takes part in nothing.
    pub(crate) fn decline(&mut self, input: &Input) {
        if let Input::Connected { peer, .. } = input {
            self.core.outputs.push_back(Output::Close { peer: *peer, reason: Closing::Idle });
        }
    }
}
