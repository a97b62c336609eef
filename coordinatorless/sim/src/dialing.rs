//! Connections are made: direct dials through NATs, dials through relays, and the move from a relayed path to a direct
//! one.

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::PeerId;

use crate::{
    nat::relayed_address,
    network::End,
    queue::{Delivery, Dial, DialRoute, MachineIndex, SimEvent},
    simulation::Simulation,
};

/// Interval at which a dial repeats its handshake.
const HANDSHAKE_RETRY: Duration = Duration::from_millis(200);

impl Simulation {
    /// Machine `at` dials an address. An address that belongs to no other machine fails at once and is not retried.
    pub(crate) fn dial(&mut self, at: MachineIndex, address: SocketAddr, expect: Option<PeerId>) {
        match self.nats.index_of(address).filter(|to| *to != at) {
            Some(to) => {
                self.nats.map_outbound(at, address, self.now);
                let round_trip = self.network.round_trip(at, to);
                self.start_dial(at, to, DialRoute::Direct(address), expect, round_trip);
            }
            None => self.schedule_delivery(self.now, at, Delivery::DialFailed { address, retry: false }),
        }
    }

    /// Machine `at` dials `peer` through the relay `relay`.
    pub(crate) fn dial_through(&mut self, at: MachineIndex, relay: PeerId, peer: PeerId) {
        let indices = [&relay, &peer].map(|peer| self.indices.get(peer).copied().filter(|index| *index != at));
        if let [Some(relay), Some(to)] = indices {
            let round_trip = self.network.round_trip(at, relay) + self.network.round_trip(relay, to);
            self.start_dial(at, to, DialRoute::Relayed(relay), Some(peer), round_trip);
        }
    }

    fn start_dial(
        &mut self,
        from: MachineIndex,
        to: MachineIndex,
        route: DialRoute,
        expect: Option<PeerId>,
        round_trip: Duration,
    ) {
        let dial = Dial { to, route, expect, ends: self.now + self.network.handshake_timeout() };
        let generation = self.machines[from].generation;
        self.queue.schedule(self.now + round_trip, SimEvent::Handshake { from, generation, dial });
    }

    /// One handshake round trip of a dial has passed: the dial connects, repeats the handshake, or fails.
    pub(crate) fn handle_handshake(&mut self, from: MachineIndex, dial: Dial) {
        let is_expected = dial.expect.is_none_or(|peer| peer == self.machines[dial.to].id);
        let answered = match dial.route {
            DialRoute::Direct(address) => {
                let seen = self.nats.map_outbound(from, address, self.now);
                self.has_path(from, dial.to, None) && self.nats.admits(dial.to, address, seen, self.now)
            }
            DialRoute::Relayed(relay) => self.nats.is_relay(relay) && self.has_path(from, dial.to, Some(relay)),
        };
        // Without NATs one handshake is enough: whatever blocked it lasts longer than a dial. Behind NATs the
        // repetition matters, because the other side may open its mapping in the meantime.
        let again = self.now + HANDSHAKE_RETRY;
        if answered && is_expected {
            self.accept_dial(from, dial);
        } else if is_expected && again <= dial.ends && !self.nats.are_all_open() {
            let generation = self.machines[from].generation;
            self.queue.schedule(again, SimEvent::Handshake { from, generation, dial });
        } else if let DialRoute::Direct(address) = dial.route {
            self.schedule_delivery(self.now.max(dial.ends), from, Delivery::DialFailed { address, retry: true });
        }
    }

    /// The remote machine answered a dial: opens the connection, unless one of equal or better kind exists.
    fn accept_dial(&mut self, from: MachineIndex, dial: Dial) {
        let to = dial.to;
        let held = self.network.connection(from, to).filter(|held| !held.is_half_open).map(|held| held.relay);
        match (dial.route, held) {
            (DialRoute::Direct(address), Some(None)) => {
                self.schedule_delivery(self.now, from, Delivery::DialFailed { address, retry: false });
            }
            (DialRoute::Relayed(_), Some(_)) => {}
            (DialRoute::Direct(address), Some(Some(_))) => self.migrate_to_direct(from, to, address),
            (DialRoute::Direct(address), None) => {
                self.drop_connection(from, to); // a half-open one of an earlier process
                let ends = self.open_mappings(from, to, address);
                self.connect(ends, None);
                self.mark_punched(from, to);
            }
            (DialRoute::Relayed(relay), None) => {
                self.drop_connection(from, to);
                let end = |at: MachineIndex, other| {
                    (
                        at,
                        End { generation: self.machines[at].generation, remote_address: relayed_address(relay, other) },
                    )
                };
                self.connect([end(from, to), end(to, from)], Some(relay));
            }
        }
    }

    /// Opens the NAT mappings of both ends of a direct connection to `address` and pins them for its lifetime.
    fn open_mappings(&mut self, from: MachineIndex, to: MachineIndex, address: SocketAddr) -> [(MachineIndex, End); 2] {
        let seen = self.nats.map_outbound(from, address, self.now);
        self.nats.map_outbound(to, seen, self.now);
        [(from, address), (to, seen)].map(|(at, remote_address)| {
            self.nats.pin_mapping(at, remote_address);
            (at, End { generation: self.machines[at].generation, remote_address })
        })
    }

    /// Records whether the direct connection dialed by `from` needed a punched hole.
    fn mark_punched(&mut self, from: MachineIndex, to: MachineIndex) {
        let is_punched = self.nats.filters_senders(to);
        if let Some(connection) = self.network.connection_mut(from, to) {
            connection.is_punched = is_punched;
        }
    }

    fn connect(&mut self, ends: [(MachineIndex, End); 2], relay: Option<MachineIndex>) {
        self.network.connect(ends, relay);
        let relay = relay.map(|relay| self.machines[relay].id);
        let [(a, _), (b, _)] = ends;
        for ((at, end), other) in ends.into_iter().zip([b, a]) {
            let peer = self.machines[other].id;
            self.schedule_delivery(self.now, at, Delivery::Connected { peer, address: end.remote_address, relay });
        }
        self.update_relayed(a, b);
    }

    /// A direct path replaces a relayed one. The connection and the messages in flight on it survive.
    fn migrate_to_direct(&mut self, from: MachineIndex, to: MachineIndex, address: SocketAddr) {
        self.figures.moved += 1;
        let ends = self.open_mappings(from, to, address);
        if let Some(connection) = self.network.connection_mut(from, to) {
            connection.migrate_to_direct(ends);
        }
        self.mark_punched(from, to);
        for ((at, end), other) in ends.into_iter().zip([to, from]) {
            let peer = self.machines[other].id;
            self.schedule_delivery(self.now, at, Delivery::Moved { peer, address: end.remote_address });
        }
        self.schedule_delivery(self.now, from, Delivery::DialFailed { address, retry: false });
        self.update_silence(Some(from));
        self.update_relayed(from, to);
    }
}
