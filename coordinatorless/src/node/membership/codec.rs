//! The wire format of membership datagrams, and the checks on reading them.
//!
//! | frame | from → to | when | size |
//! |---|---|---|---|
//! | 0, SWIM | member → member | probes, their answers, gossip of members that are up, suspected or down | ≤ 1000 B, 137 B a member, ≤ 5 |
//! | 1, cards | member → member | the receiver sent an outdated card: this is the newer one | 135 B |
//!
//! A SWIM frame is read completely and checked before the library receives it: the sender matches the connection, the
//! owners signed all cards, and no bytes remain. See [`Frame`].

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};

use super::card::{CARD_BYTES, Card, NAME_BYTES};

/// The length of an update about one member, in bytes.
pub(super) const MEMBER_BYTES: usize = CARD_BYTES + 3;

/// The offset of the receiver's name in a frame.
const RECEIVER_AT: usize = CARD_BYTES + 2;

/// The offset of the frame's kind.
const TAG_AT: usize = RECEIVER_AT + NAME_BYTES;

/// The number of members in a frame, at most.
const FRAME_MEMBERS: usize = 5;

/// The longest frame: its members fill it to the last byte. With room to spare the library would search all queued
/// updates for one that fits, for every frame.
pub(super) const FRAME_BYTES: usize = TAG_AT + 2 + 2 + FRAME_MEMBERS * MEMBER_BYTES;

const _: () =
    assert!(FRAME_BYTES < crate::DATAGRAM_BYTES_MAX && FRAME_BYTES + MEMBER_BYTES >= crate::DATAGRAM_BYTES_MAX);

/// The tag of a gossip frame.
const GOSSIP: u8 = 8;

/// Whether a frame that this peer wrote is gossip.
pub(super) fn is_gossip(frame: &[u8]) -> bool {
    frame.get(TAG_AT) == Some(&GOSSIP)
}

/// Replaces the receiver of a frame that this peer wrote.
pub(super) fn set_receiver(receiver: &Card, frame: &mut [u8]) {
    if let Some(mut name) = frame.get_mut(RECEIVER_AT..TAG_AT) {
        receiver.put_name(&mut name);
    }
}

/// The bytes are not a membership frame. The sender's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed membership frame")]
pub(super) struct Malformed;

/// A SWIM frame: its header and its updates about members.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: Header<Card>,
    pub(super) updates: Vec<Member<Card>>,
}

impl Frame {
    /// Reads a frame, whose length the transport has limited.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, Malformed> {
        let header = take_header(&mut bytes)?;
        let mut updates = Vec::new();
        if header.message != Message::Announce && bytes.remaining() >= 2 {
            let count = usize::from(bytes.get_u16());
            if count > bytes.len() / CARD_BYTES {
                return Err(Malformed);
            }
            updates = (0..count).map(|_| take_member(&mut bytes)).collect::<Result<_, _>>()?;
        }
        if bytes.is_empty() { Ok(Self { header, updates }) } else { Err(Malformed) }
    }

    /// Writes the frame for the library.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(crate::DATAGRAM_BYTES_MAX);
        put_header(&self.header, &mut bytes);
        if !self.updates.is_empty() && self.header.message != Message::Announce {
            bytes.put_u16(u16::try_from(self.updates.len()).unwrap_or(u16::MAX));
            self.updates.iter().for_each(|member| put_member(member, &mut bytes));
        }
        bytes
    }
}

/// The wire format of headers and members: fixed lengths, big-endian integers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec;

impl foca::Codec<Card> for Codec {
    type Error = Malformed;

    fn encode_header(&mut self, header: &Header<Card>, mut buf: impl BufMut) -> Result<(), Malformed> {
        put_header(header, &mut buf);
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Card>, Malformed> {
        take_header(&mut buf)
    }

    fn encode_member(&mut self, member: &Member<Card>, mut buf: impl BufMut) -> Result<(), Malformed> {
        if buf.remaining_mut() < MEMBER_BYTES {
            return Err(Malformed);
        }
        put_member(member, &mut buf);
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Card>, Malformed> {
        take_member(&mut buf)
    }
}

fn put_header(header: &Header<Card>, buf: &mut impl BufMut) {
    header.src.put(buf);
    buf.put_u16(header.src_incarnation);
    header.dst.put_name(buf);
    let (tag, probe, about) = match &header.message {
        Message::Ping(probe) => (0, *probe, None),
        Message::Ack(probe) => (1, *probe, None),
        Message::PingReq { target, probe_number } => (2, *probe_number, Some(target)),
        Message::IndirectPing { origin, probe_number } => (3, *probe_number, Some(origin)),
        Message::IndirectAck { target, probe_number } => (4, *probe_number, Some(target)),
        Message::ForwardedAck { origin, probe_number } => (5, *probe_number, Some(origin)),
        Message::Announce => (6, 0, None),
        Message::Feed => (7, 0, None),
        Message::Gossip => (GOSSIP, 0, None),
        Message::TurnUndead => (9, 0, None),
        Message::Broadcast => (10, 0, None),
    };
    buf.put_u8(tag);
    buf.put_u8(probe);
    about.into_iter().for_each(|card| card.put_name(buf));
}

fn take_header(buf: &mut impl Buf) -> Result<Header<Card>, Malformed> {
    let src = Card::take(buf)?;
    let src_incarnation = buf.try_get_u16().map_err(|_| Malformed)?;
    let dst = Card::take_name(buf)?;
    let message = take_message(buf)?;
    Ok(Header { src, src_incarnation, dst, message })
}

fn take_message(buf: &mut impl Buf) -> Result<Message<Card>, Malformed> {
    let tag = buf.try_get_u8().map_err(|_| Malformed)?;
    let probe_number = buf.try_get_u8().map_err(|_| Malformed)?;
    Ok(match tag {
        0 => Message::Ping(probe_number),
        1 => Message::Ack(probe_number),
        2 => Message::PingReq { target: Card::take_name(buf)?, probe_number },
        3 => Message::IndirectPing { origin: Card::take_name(buf)?, probe_number },
        4 => Message::IndirectAck { target: Card::take_name(buf)?, probe_number },
        5 => Message::ForwardedAck { origin: Card::take_name(buf)?, probe_number },
        6 => Message::Announce,
        7 => Message::Feed,
        GOSSIP => Message::Gossip,
        9 => Message::TurnUndead,
        _ => return Err(Malformed),
    })
}

fn put_member(member: &Member<Card>, buf: &mut impl BufMut) {
    member.id().put(buf);
    buf.put_u16(member.incarnation());
    buf.put_u8(match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

fn take_member(buf: &mut impl Buf) -> Result<Member<Card>, Malformed> {
    let card = Card::take(buf)?;
    let incarnation = buf.try_get_u16().map_err(|_| Malformed)?;
    let state = match buf.try_get_u8() {
        Ok(0) => State::Alive,
        Ok(1) => State::Suspect,
        Ok(2) => State::Down,
        Ok(_) | Err(_) => return Err(Malformed),
    };
    Ok(Member::new(card, incarnation, state))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_collectives::{Hash, Identity, PeerId};
    use proptest::prelude::*;

    use super::*;

    fn card(n: u8) -> Card {
        Card::sign(&Identity::from_secret(&[n; 32]), Hash([9; 32]), u64::from(n), 0, 0)
    }

    fn frames() -> Vec<Frame> {
        let stub = || Card::placeholder(PeerId([4; 32]));
        let probe_number = 7;
        let messages = vec![
            Message::Ping(1),
            Message::Ack(255),
            Message::PingReq { target: stub(), probe_number },
            Message::IndirectPing { origin: stub(), probe_number },
            Message::IndirectAck { target: stub(), probe_number },
            Message::ForwardedAck { origin: stub(), probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::TurnUndead,
        ];
        let two = || vec![Member::new(card(3), 8, State::Suspect), Member::new(card(5), 0, State::Down)];
        let updates = |message: &Message<Card>| if *message == Message::Announce { Vec::new() } else { two() };
        let frame = |message: Message<Card>| Frame {
            updates: updates(&message),
            header: Header { src: card(1), src_incarnation: 600, dst: card(2), message },
        };
        messages.into_iter().map(frame).collect()
    }

    #[test]
    fn every_frame_comes_back_from_the_wire() {
        for frame in frames() {
            let read = Frame::read(&frame.write()).unwrap();
            assert_eq!(read.header, frame.header);
            assert_eq!(read.updates, frame.updates);
        }
    }

    #[test]
    fn gossip_can_be_turned_to_another_receiver() {
        for frame in frames() {
            let mut bytes = frame.write();
            assert_eq!(is_gossip(&bytes), frame.header.message == Message::Gossip);
            set_receiver(&card(6), &mut bytes);
            let read = Frame::read(&bytes).unwrap();
            assert_eq!((read.header.dst, read.header.message), (card(6), frame.header.message));
            assert_eq!(read.updates, frame.updates);
        }
    }

    #[test]
    fn every_shortened_or_lengthened_frame_is_refused() {
        for frame in frames() {
            let bytes = frame.write();
            // A frame cut off before its members is valid; any other cut is detected.
            let whole =
                bytes.len() - frame.updates.len() * (CARD_BYTES + 3) - 2 * usize::from(!frame.updates.is_empty());
            for length in (0..bytes.len()).filter(|length| *length != whole) {
                assert!(Frame::read(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
            }
            assert!(Frame::read(&[bytes.as_slice(), &[0]].concat()).is_err());
        }
    }

    #[test]
    fn a_count_past_the_end_reserves_nothing() {
        let mut frame = frames().remove(8);
        frame.updates.clear();
        let mut bytes = frame.write();
        bytes.extend_from_slice(&[255, 255]);
        assert!(Frame::read(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Frame::read(&bytes);
        }
    }
}
