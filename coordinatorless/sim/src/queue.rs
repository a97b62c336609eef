//! What is going to happen, in the order of virtual time; at one moment, in the order in which it was planned.

use std::{collections::BTreeMap, net::SocketAddr};

use murmur_collectives::PeerId;
use murmur_coordinatorless::{EntryName, Time};

use crate::faults::Fault;

/// Names a peer of the simulated swarm by its place in the list.
pub(crate) type Place = usize;

/// What reaches a machine from the network.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    /// A connection is up; its packets go through `relay` if one is named.
    Connected { peer: PeerId, address: SocketAddr, relay: Option<PeerId> },
    /// A datagram came in.
    Datagram { from: Place, connection: u64, bytes: Vec<u8> },
    /// A dial failed.
    DialFailed { address: SocketAddr, retry: bool },
    /// A connection is gone.
    Disconnected { peer: PeerId },
    /// A message came in over the connection with this number.
    Message { from: Place, connection: u64, bytes: Vec<u8> },
    /// A relayed connection goes straight now.
    Moved { peer: PeerId, address: SocketAddr },
}

/// An attempt to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) to: Place,
    pub(crate) way: Way,
    /// Who must be there, if it matters.
    pub(crate) expect: Option<PeerId>,
    /// When its handshake times out.
    pub(crate) ends: Time,
}

/// Which way a dial goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// To this address.
    Straight(SocketAddr),
    /// Through the machine here.
    Through(Place),
}

/// One thing that will happen.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// Mail reaches a machine, if it still runs the same life of its peer.
    Arrive { to: Place, life: u32, mail: Mail },
    /// A connection that carried nothing for the idle timeout is noticed to be lost.
    Broken { a: Place, b: Place, connection: u64 },
    /// A fault begins or ends.
    Fault(Fault),
    /// The first packets of a dial have had their round trip.
    Handshake { from: Place, life: u32, dial: Dial },
    /// The invariants are looked at.
    Look,
    /// The trainer of a machine has replayed an update.
    Replayed { at: Place, life: u32, update: EntryName },
    /// The trainer of a machine has finished a segment, or looks again whether it may begin one.
    Segment { at: Place, life: u32 },
    /// A message leaves a machine: its disk is done with what had to be stored before.
    Send { from: Place, life: u32, to: PeerId, priority: usize, bytes: Vec<u8> },
    /// A peer starts.
    Start { at: Place },
    /// A timer of a peer is due.
    Wake { at: Place, life: u32 },
}

/// The plan.
#[derive(Default, Debug)]
pub(crate) struct Queue {
    planned: BTreeMap<(Time, u64), Happening>,
    count: u64,
}

impl Queue {
    /// Plans `happening` for `at`.
    pub(crate) fn plan(&mut self, at: Time, happening: Happening) {
        self.count += 1;
        self.planned.insert((at, self.count), happening);
    }

    /// The next thing to happen, not after `end`.
    pub(crate) fn next(&mut self, end: Time) -> Option<(Time, Happening)> {
        let first = self.planned.first_entry().filter(|entry| entry.key().0 <= end)?;
        let ((at, _), happening) = first.remove_entry();
        Some((at, happening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_for_one_moment_happens_in_the_order_of_planning() {
        let mut queue = Queue::default();
        for (at, place) in [(5, 0), (1, 1), (5, 2), (9, 3)] {
            queue.plan(Time(at), Happening::Start { at: place });
        }
        let order: Vec<usize> = core::iter::from_fn(|| queue.next(Time(8)))
            .map(|(_, happening)| if let Happening::Start { at } = happening { at } else { usize::MAX })
            .collect();
        assert_eq!(order, [1, 0, 2]);
    }
}
