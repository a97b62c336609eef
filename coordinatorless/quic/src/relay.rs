//! Relaying: packets between two peers that cannot reach each other directly are forwarded by a third.
//!
//! A relayed connection is a QUIC connection between its two ends, encrypted end to end; only its packets travel as datagrams
//! of two other connections. The relay learns which peers communicate and how many bytes, and nothing else. A frame is one
//! byte for its direction, 32 for the peer at the other end, one that says whether it holds a whole packet or which half, two
//! that number the packets so that halves can be matched, and the packet. (QUIC's first packets have 1200 bytes. A path may
//! carry no longer ones; then a packet with its header does not fit one datagram and is sent in halves.)
//!
//! The relay stores nothing of a session but the time of its last packet. It forwards only between peers to which it has direct
//! connections, within its [quota](crate::relay_quota). It drops and counts all other frames, and answers none.

use std::{collections::BTreeMap, sync::Weak};

use bytes::Bytes;
use murmur_collectives::PeerId;
use tokio::{sync::mpsc, time::Instant};

use crate::{link::Link, relay_path::Packet, shared::Shared};

/// Bytes of a frame before its packet.
const HEADER_BYTES: usize = 36;

/// Bytes of a connection's datagram buffer that relayed packets leave free for membership.
const RESERVE_BYTES: usize = 16 * 1024;

/// Peers of which a first half is stored, at most.
const HALVES_MAX: usize = 16;

/// The direction of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// From an end to the relay; the peer is the receiver.
    ToRelay = 1,
    /// From the relay to an end; the peer is the sender.
    FromRelay = 2,
}

/// The part of a packet that a frame holds.
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
        let direction =
            [Direction::ToRelay, Direction::FromRelay].into_iter().find(|direction| *direction as u8 == header[0])?;
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

    /// The frames that carry `packet` in at most `room` bytes each: one, or two.
    fn around(packet: Bytes, peer: PeerId, number: u16, room: usize) -> Vec<Self> {
        let frame = |part, bytes| Self { direction: Direction::ToRelay, peer, part, number, bytes };
        if HEADER_BYTES + packet.len() <= room {
            return vec![frame(Part::Whole, packet)];
        }
        let middle = packet.len().div_ceil(2);
        vec![frame(Part::First, packet.slice(..middle)), frame(Part::Second, packet.slice(middle..))]
    }
}

/// First halves whose second has not come yet, one for each sender: a newer one replaces it.
#[derive(Debug, Default)]
pub(crate) struct Halves(BTreeMap<PeerId, (u16, Bytes)>);

impl Halves {
    /// The packet that `frame` completes; `None` if a half is missing.
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

/// Sends the packets that quinn has for placeholder addresses, until the transport is gone.
pub(crate) async fn send_outgoing(shared: Weak<Shared>, mut packets: mpsc::Receiver<Packet>) {
    let mut number: u16 = 0;
    while let Some((to, packet)) = packets.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        number = number.wrapping_add(1);
        let Some((relay, peer)) = shared.relay_paths.resolve(to) else { continue };
        let Some(link) = shared.registry.link(&relay).filter(|link| link.relay.is_none()) else { continue };
        let Some(room) = link.connection.max_datagram_size() else { continue };
        for frame in Frame::around(packet, peer, number, room) {
            send_frame(&link, &frame);
        }
    }
}

/// Handles a frame that came over `link`. False if it was dropped.
pub(crate) fn handle_frame(shared: &Shared, link: &Link, frame: Frame, halves: &mut Halves) -> bool {
    if link.relay.is_some() || frame.peer == shared.registry.own() || frame.peer == link.peer {
        return false;
    }
    match frame.direction {
        Direction::ToRelay => forward(shared, link, frame),
        Direction::FromRelay => {
            let sender = frame.peer;
            halves.join(frame).is_none_or(|packet| shared.relay_paths.receive(link.peer, sender, packet))
        }
    }
}

fn forward(shared: &Shared, from: &Link, frame: Frame) -> bool {
    let bytes = frame.bytes.len() as u64;
    let to = shared.registry.link(&frame.peer).filter(|to| to.relay.is_none());
    let forwarded = to.is_some_and(|to| {
        shared.relay_quota.allows(from.peer, to.peer, bytes, Instant::now())
            && send_frame(&to, &Frame { direction: Direction::FromRelay, peer: from.peer, ..frame })
    });
    if forwarded {
        shared.counters.relayed.one();
        shared.counters.relayed_bytes.add(bytes);
    } else {
        shared.counters.relay_refused.one();
    }
    forwarded
}

/// Queues `frame`, unless that would take the bytes reserved for membership. False if it was dropped.
fn send_frame(link: &Link, frame: &Frame) -> bool {
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
