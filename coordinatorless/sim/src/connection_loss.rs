//! Connections end: by a close, by the idle timeout, or because one process ended.

use murmur_collectives::PeerId;

use crate::{
    queue::{Delivery, MachineIndex, SimEvent},
    simulation::Simulation,
};

impl Simulation {
    /// Machine `at` closes its connection to `peer`. `misbehaved` says that it closes because of a protocol violation;
    /// an honest peer must never report one of another honest peer.
    pub(crate) fn close(&mut self, at: MachineIndex, peer: PeerId, misbehaved: bool) {
        let Some(other) = self.indices.get(&peer).copied() else { return };
        if misbehaved {
            self.checker.banned(self.now, at, other, &self.machines);
        }
        self.drop_connection(at, other);
    }

    /// Removes a connection and tells both processes, if they are still the ones that opened it.
    pub(crate) fn drop_connection(&mut self, a: MachineIndex, b: MachineIndex) {
        let Some(connection) = self.network.disconnect(a, b) else { return };
        connection.ends().for_each(|(at, end)| self.nats.unpin_mapping(at, end.remote_address, self.now));
        self.update_relayed(a, b);
        for (one, other, generation) in [(a, b, connection.generation_of(a)), (b, a, connection.generation_of(b))] {
            if self.machines[one].generation == generation {
                let peer = self.machines[other].id;
                self.schedule_delivery(self.now, one, Delivery::Disconnected { peer });
            }
        }
    }

    /// Drops connection `number` if it has been silent for the whole idle timeout. A connection that carried a message
    /// meanwhile has a later `silent_since`, and the timeout scheduled for that one drops it.
    pub(crate) fn handle_idle_timeout(&mut self, a: MachineIndex, b: MachineIndex, number: u64) {
        let timed_out = |connection: &&crate::network::Connection| {
            let times_out_at = connection.silent_since.map(|since| since + self.network.idle_timeout());
            connection.number == number && times_out_at.is_some_and(|at| at <= self.now)
        };
        if self.network.connection(a, b).filter(timed_out).is_some() {
            self.drop_connection(a, b);
        }
    }

    /// Recomputes which connections carry packets, after a fault began or ended: those that touch `at`, as an end or as
    /// the relay, or all.
    pub(crate) fn update_silence(&mut self, at: Option<MachineIndex>) {
        let relay = |a, b| self.network.connection(a, b).and_then(|connection| connection.relay);
        let touched = |(a, b): &(MachineIndex, MachineIndex)| {
            at.is_none_or(|at| *a == at || *b == at || relay(*a, *b) == Some(at))
        };
        let touched: Vec<(MachineIndex, MachineIndex)> = self.network.pairs().into_iter().filter(touched).collect();
        for (a, b) in touched {
            self.update_connection(a, b);
        }
    }

    /// Recomputes the connections relayed by `a` or `b`, after the connection between these two changed.
    pub(crate) fn update_relayed(&mut self, a: MachineIndex, b: MachineIndex) {
        if self.nats.relays_enabled() {
            let relayed = self.network.relayed_by([a, b]);
            relayed.into_iter().for_each(|(c, d)| self.update_connection(c, d));
        }
    }

    /// Whether packets get through between two machines, directly or over `relay`. A relayed path needs a live direct
    /// connection on each hop.
    pub(crate) fn has_path(&self, a: MachineIndex, b: MachineIndex, relay: Option<MachineIndex>) -> bool {
        let open = |a: MachineIndex, b: MachineIndex| {
            self.network.is_bidirectional(a, b) && self.machines[a].is_live() && self.machines[b].is_live()
        };
        let hop = |a, b| {
            let direct = self.network.connection(a, b).filter(|hop| !hop.is_half_open && hop.relay.is_none());
            open(a, b) && direct.is_some()
        };
        relay.map_or_else(|| open(a, b), |relay| hop(a, relay) && hop(relay, b))
    }

    fn update_connection(&mut self, a: MachineIndex, b: MachineIndex) {
        let relay = self.network.connection(a, b).and_then(|connection| connection.relay);
        let open = self.has_path(a, b, relay);
        let (now, idle) = (self.now, self.network.idle_timeout());
        let Some(connection) = self.network.connection_mut(a, b) else { return };
        let open = open && !connection.is_half_open;
        if open == connection.silent_since.is_none() {
            return;
        }
        if open {
            connection.silent_since = None;
            for (from, priority, bytes) in core::mem::take(&mut connection.stalled) {
                self.transmit_message(from, if from == a { b } else { a }, priority, bytes);
            }
        } else {
            connection.silent_since = Some(now);
            let connection = connection.number;
            self.queue.schedule(now + idle, SimEvent::IdleTimeout { a, b, connection });
        }
    }
}
