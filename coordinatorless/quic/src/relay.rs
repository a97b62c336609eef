//! Passing packets on between two peers that cannot reach each other.
//!
//! A relayed connection is an ordinary one between its two ends, from handshake to encryption; only its packets travel as
//! datagrams of two other connections. The relay sees who talks to whom and how much, and nothing else. A frame is
//! one byte for its direction, 32 for the peer at the far end, one that says whether it is a whole packet or which half of
//! one, two that number packets so that halves find each other, and the packet. (QUIC's first packets have 1200 bytes, and
//! so may the path that carries them: then a packet goes in halves.)
//!
//! The relay keeps nothing per session but when it was last used. It passes on only between peers it has straight connections
//! to, within its limits; all else is dropped and counted, and nobody is told.

use std::{collections::BTreeMap, sync::Weak};

use bytes::Bytes;
use murmur_collectives::PeerId;
use tokio::{sync::mpsc, time::Instant};

use crate::{link::Link, path::Packet, shared::Shared};

/// Bytes of a frame before its packet.
const HEADER_BYTES: usize = 36;

/// Room in a connection's datagram buffer that relayed packets leave to membership.
const RESERVE_BYTES: usize = 16 * 1024;

/// Peers from whom the first half of a packet may be waiting for its second.
const HALVES_MAX: usize = 16;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From an end to the relay; the peer is the receiver.
    Up = 1,
    /// From the relay to an end; the peer is the sender.
    Down = 2,
}

/// How much of a packet a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole = 0,
    First = 1,
    Second = 2,
}

/// A relayed packet, or half of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    direction: Direction,
    peer: PeerId,
    part: Part,
    number: u16,
    bytes: Bytes,
}

impl Frame {
    /// Reads a frame; `None` if it is not one.
    pub(crate) fn read(datagram: &Bytes) -> Option<Self> {
        let (header, _) = datagram.split_first_chunk::<HEADER_BYTES>()?;
        let direction = [Direction::Up, Direction::Down].into_iter().find(|way| *way as u8 == header[0])?;
        let part = [Part::Whole, Part::First, Part::Second].into_iter().find(|part| *part as u8 == header[33])?;
        let mut peer = [0; 32];
        peer.copy_from_slice(&header[1..33]);
        let number = u16::from_le_bytes([header[34], header[35]]);
        Some(Self { direction, peer: PeerId(peer), part, number, bytes: datagram.slice(HEADER_BYTES..) })
    }

    fn write(&self) -> Bytes {
        let mut frame = Vec::with_capacity(HEADER_BYTES + self.bytes.len());
        frame.push(self.direction as u8);
        frame.extend_from_slice(&self.peer.0);
        frame.push(self.part as u8);
        frame.extend_from_slice(&self.number.to_le_bytes());
        frame.extend_from_slice(&self.bytes);
        frame.into()
    }

    /// The frames that carry `packet`, each at most `room` bytes: one, or two.
    fn around(packet: Bytes, peer: PeerId, number: u16, room: usize) -> Vec<Self> {
        let frame = |part, bytes| Self { direction: Direction::Up, peer, part, number, bytes };
        if HEADER_BYTES + packet.len() <= room {
            return vec![frame(Part::Whole, packet)];
        }
        let middle = packet.len().div_ceil(2);
        vec![frame(Part::First, packet.slice(..middle)), frame(Part::Second, packet.slice(middle..))]
    }
}

/// First halves whose second is still to come, by sender. A new one takes the place of an older one.
#[derive(Debug, Default)]
pub(crate) struct Halves(BTreeMap<PeerId, (u16, Bytes)>);

impl Halves {
    /// The packet that `frame` completes, if it does.
    fn join(&mut self, frame: Frame) -> Option<Bytes> {
        match frame.part {
            Part::Whole => Some(frame.bytes),
            Part::First => {
                if self.0.len() >= HALVES_MAX {
                    self.0.pop_first();
                }
                self.0.insert(frame.peer, (frame.number, frame.bytes));
                None
            }
            Part::Second => {
                let (number, first) = self.0.remove(&frame.peer)?;
                (number == frame.number).then(|| [first, frame.bytes].concat().into())
            }
        }
    }
}

/// Sends what quinn has for stand-in addresses, until the transport is gone.
pub(crate) async fn send_all(shared: Weak<Shared>, mut packets: mpsc::Receiver<Packet>) {
    let mut number: u16 = 0;
    while let Some((to, packet)) = packets.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        number = number.wrapping_add(1);
        let Some((relay, peer)) = shared.paths.through(to) else { continue };
        let Some(link) = shared.registry.link(&relay).filter(|link| link.relay.is_none()) else { continue };
        let Some(room) = link.connection.max_datagram_size() else { continue };
        for frame in Frame::around(packet, peer, number, room) {
            hand_over(&link, &frame);
        }
    }
}

/// Takes a frame that came over `link`. Returns whether it was of use.
pub(crate) fn take(shared: &Shared, link: &Link, frame: Frame, halves: &mut Halves) -> bool {
    if link.relay.is_some() || frame.peer == shared.registry.own() || frame.peer == link.peer {
        return false;
    }
    match frame.direction {
        Direction::Up => pass_on(shared, link, frame),
        Direction::Down => {
            let sender = frame.peer;
            halves.join(frame).is_none_or(|packet| shared.paths.arrive(link.peer, sender, packet))
        }
    }
}

fn pass_on(shared: &Shared, from: &Link, frame: Frame) -> bool {
    let bytes = frame.bytes.len() as u64;
    let to = shared.registry.link(&frame.peer).filter(|to| to.relay.is_none());
    let passed = to.is_some_and(|to| {
        shared.switchboard.allows(from.peer, to.peer, bytes, Instant::now())
            && hand_over(&to, &Frame { direction: Direction::Down, peer: from.peer, ..frame })
    });
    if passed {
        shared.counters.relayed.one();
        shared.counters.relayed_bytes.add(bytes);
    } else {
        shared.counters.relay_refused.one();
    }
    passed
}

/// Queues `frame` unless that would crowd out other datagrams.
fn hand_over(link: &Link, frame: &Frame) -> bool {
    let wire = frame.write();
    link.connection.datagram_send_buffer_space() > RESERVE_BYTES + wire.len()
        && link.connection.send_datagram(wire).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn packet(bytes: usize) -> Bytes {
        (0..bytes).map(|n| n as u8).collect()
    }

    #[test]
    fn a_packet_comes_back_from_its_frames_whole_or_in_halves() {
        for (bytes, room, count) in [(1200, 1236, 1), (1200, 1235, 2), (1200, 1160, 2), (1, 37, 1), (1, 36, 2)] {
            let frames = Frame::around(packet(bytes), peer(1), 7, room);
            assert_eq!(frames.len(), count);
            let mut halves = Halves::default();
            let joined: Vec<Bytes> = frames
                .iter()
                .filter_map(|frame| {
                    let wire = frame.write();
                    assert!(wire.len() <= room.max(HEADER_BYTES + 1));
                    halves.join(Frame::read(&wire).unwrap())
                })
                .collect();
            assert_eq!(joined, [packet(bytes)]);
        }
    }

    #[test]
    fn halves_of_different_packets_do_not_join() {
        let mut halves = Halves::default();
        let [first, _] = &Frame::around(packet(9), peer(1), 1, 40)[..] else { panic!("two halves") };
        let [_, second] = &Frame::around(packet(9), peer(1), 2, 40)[..] else { panic!("two halves") };
        assert_eq!(halves.join(first.clone()), None);
        assert_eq!(halves.join(second.clone()), None);
        assert_eq!(halves.join(second.clone()), None, "a second half without its first is nothing");
    }

    #[test]
    fn what_is_no_frame_is_not_read() {
        let frame = Frame::around(packet(9), peer(1), 1, 100).remove(0).write();
        assert!(Frame::read(&frame).is_some());
        assert!(Frame::read(&frame.slice(..HEADER_BYTES - 1)).is_none());
        for (at, value) in [(0, 0), (0, 3), (33, 3), (33, 255)] {
            let mut bent = frame.to_vec();
            bent[at] = value;
            assert!(Frame::read(&bent.into()).is_none(), "byte {at} = {value}");
        }
    }
}
