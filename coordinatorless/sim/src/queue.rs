//! The event queue: future events in order of virtual time, and in order of scheduling at equal times. The second rule
//! makes a seed reproducible.

use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::PeerId;
use murmur_coordinatorless::{EntryName, Time};

use crate::faults::Fault;

/// Index of a machine in the simulated swarm.
///
/// A parameter or field `at` is the machine where something happens; points in time are called `time`, `now` or `*_at`.
pub(crate) type MachineIndex = usize;

/// What the network delivers to a machine.
#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    /// A connection is up; `relay` is set if it is relayed.
    Connected { peer: PeerId, address: SocketAddr, relay: Option<PeerId> },
    /// A datagram arrived.
    Datagram { from: MachineIndex, connection: u64, bytes: Vec<u8> },
    /// A dial failed.
    DialFailed { address: SocketAddr, retry: bool },
    /// A connection ended.
    Disconnected { peer: PeerId },
    /// A message arrived on the connection with this number.
    Message { from: MachineIndex, connection: u64, bytes: Vec<u8> },
    /// A relayed connection is direct from now on.
    Moved { peer: PeerId, address: SocketAddr },
}

/// A dial in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) to: MachineIndex,
    pub(crate) route: DialRoute,
    /// The peer that must answer; `None` accepts any.
    pub(crate) expect: Option<PeerId>,
    /// When its handshake times out.
    pub(crate) ends: Time,
}

/// The route of a dial.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DialRoute {
    /// To this address.
    Direct(SocketAddr),
    /// Through this relay.
    Relayed(MachineIndex),
}

/// A future event. Events that carry a `generation` are void once that process has ended.
#[derive(Clone, Debug)]
pub(crate) enum SimEvent {
    /// The network delivers to a machine.
    Deliver { to: MachineIndex, generation: u32, delivery: Delivery },
    /// The idle timeout of a silent connection has passed.
    IdleTimeout { a: MachineIndex, b: MachineIndex, connection: u64 },
    /// A fault begins or ends.
    Fault(Fault),
    /// A handshake round trip of a dial has passed.
    Handshake { from: MachineIndex, generation: u32, dial: Dial },
    /// The invariants are due for a check.
    CheckInvariants,
    /// A machine has replayed an update.
    AuditDone { at: MachineIndex, generation: u32, update: EntryName },
    /// A machine has finished a segment, or checks whether it may begin one.
    SegmentDue { at: MachineIndex, generation: u32 },
    /// A message leaves a machine whose disk has finished the writes that must precede it.
    Send { from: MachineIndex, generation: u32, to: PeerId, priority: usize, bytes: Vec<u8> },
    /// A process starts.
    Start { at: MachineIndex },
    /// A node's timer is due.
    TimerDue { at: MachineIndex, generation: u32 },
}

/// Future events, by time and order of scheduling.
#[derive(Default, Debug)]
pub(crate) struct EventQueue {
    scheduled: BTreeMap<(Time, u64), SimEvent>,
    count: u64,
}

impl EventQueue {
    /// Schedules `event` at `time`.
    pub(crate) fn schedule(&mut self, time: Time, event: SimEvent) {
        self.count += 1;
        self.scheduled.insert((time, self.count), event);
    }

    /// Removes the earliest event, if it is due by `end`.
    pub(crate) fn next(&mut self, end: Time) -> Option<(Time, SimEvent)> {
        let first = self.scheduled.first_entry().filter(|entry| entry.key().0 <= end)?;
        let ((time, _), event) = first.remove_entry();
        Some((time, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_one_moment_happen_in_the_order_of_scheduling() {
        let mut queue = EventQueue::default();
        for (time, index) in [(5, 0), (1, 1), (5, 2), (9, 3)] {
            queue.schedule(Time(time), SimEvent::Start { at: index });
        }
        let order: Vec<usize> = core::iter::from_fn(|| queue.next(Time(8)))
            .map(|(_, event)| if let SimEvent::Start { at } = event { at } else { usize::MAX })
            .collect();
        assert_eq!(order, [1, 0, 2]);
    }
}
