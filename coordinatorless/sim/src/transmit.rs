//! Messages leave a machine: the wait for its disk, an attacker's changes, drops, duplicates, and the delivery.

use murmur_collectives::PeerId;
use murmur_coordinatorless::Time;

use crate::{
    node_io,
    queue::{Delivery, MachineIndex, SimEvent},
    simulation::Simulation,
};

impl Simulation {
    /// Sends a message or datagram of the node at `at`, once its disk has finished the writes before it. An attacker
    /// replaces it.
    pub(crate) fn send(&mut self, at: MachineIndex, to: PeerId, priority: usize, bytes: Vec<u8>) {
        let machine = &self.machines[at];
        let (generation, leaves) = (machine.generation, machine.busy_until.max(self.now));
        let index = self.indices.get(&to).copied().unwrap_or(at);
        let messages = match machine.attack {
            Some(attack) => self.attackers[at].replace_outgoing(attack, &machine.identity, index, priority, bytes),
            None => vec![(priority, bytes)],
        };
        for (priority, bytes) in messages {
            if leaves > self.now {
                self.queue.schedule(leaves, SimEvent::Send { from: at, generation, to, priority, bytes });
            } else {
                self.transmit(at, to, priority, &bytes);
            }
        }
    }

    /// Sends a message on the connection; does nothing without one.
    pub(crate) fn transmit(&mut self, from: MachineIndex, to: PeerId, priority: usize, bytes: &[u8]) {
        let Some(to) = self.indices.get(&to).copied() else { return };
        if self.network.connection(from, to).is_none() {
            return;
        }
        self.figures.count_message(node_io::PRIORITIES[priority], bytes.len());
        if self.network.drops_message() {
            return;
        }
        if priority == node_io::DATAGRAM {
            return self.transmit_datagram(from, to, bytes.to_vec());
        }
        let copies = if self.network.duplicates_message() { 2 } else { 1 };
        for _ in 0..copies {
            self.transmit_message(from, to, priority, bytes.to_vec());
        }
    }

    /// Sends a datagram: it bypasses the uplink queues and arrives once or never.
    fn transmit_datagram(&mut self, from: MachineIndex, to: MachineIndex, bytes: Vec<u8>) {
        let arrives = self.network.datagram_arrival(self.now, from, to);
        let carrying = self.network.connection(from, to).filter(|connection| connection.silent_since.is_none());
        let (Some(arrives), Some(connection)) = (arrives, carrying) else { return };
        let delivery = Delivery::Datagram { from, connection: connection.number, bytes };
        self.schedule_delivery(arrives, to, delivery);
    }

    /// Sends one copy of a message. A silent connection buffers it.
    pub(crate) fn transmit_message(&mut self, from: MachineIndex, to: MachineIndex, priority: usize, bytes: Vec<u8>) {
        let arrives = self.network.arrival(self.now, from, to, priority, bytes.len());
        let Some(connection) = self.network.connection_mut(from, to) else { return };
        if connection.silent_since.is_some() {
            return connection.stall(from, priority, bytes);
        }
        let delivery = Delivery::Message { from, connection: connection.number, bytes };
        self.schedule_delivery(arrives, to, delivery);
    }

    /// Schedules a delivery to the present process of a machine.
    pub(crate) fn schedule_delivery(&mut self, time: Time, to: MachineIndex, delivery: Delivery) {
        let generation = self.machines[to].generation;
        self.queue.schedule(time, SimEvent::Deliver { to, generation, delivery });
    }
}
