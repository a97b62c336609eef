//! A member's card: who it is, which start of it this is, and where it was seen. SWIM's tables and frames hold cards.
//!
//! The owner signs all but the address, so nobody can make up a member, or a later start of one that would shadow it.
//! The address is a hint of whoever was connected with the member; a wrong one costs a failed dial.
//!
//! **One identity, two processes.** Each start has a number, `incarnation`, greater than those before it. A process that
//! meets a card of its own key with a *greater* incarnation knows that another was started after it, and answers with a
//! card that names it in `objects_to`. Only a process that lived then can do that, so the later one, on seeing an earlier
//! one object to its own incarnation or to one after that, knows that the earlier one lives, and stops. What is left over
//! from an earlier life objects to nothing that started after it.

use core::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut};
use murmur_collectives::{Hash, Identity, PeerId};

use super::codec::Malformed;

/// Bytes of a whole card.
pub(super) const CARD_BYTES: usize = NAME_BYTES + 18 + 64;

/// Bytes of a card's name: what tells it from others, without proof and address.
pub(super) const NAME_BYTES: usize = 32 + 8 + 4 + 8;

/// A member's card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    /// Whose it is.
    pub(super) peer: PeerId,
    /// Which start of the peer.
    pub(super) incarnation: u64,
    /// How often the peer has come back since its start from being called dead.
    pub(super) renewals: u32,
    /// A later start of the same key that this one denies; 0: none.
    pub(super) objects_to: u64,
    /// Where it was seen.
    pub(super) address: Option<SocketAddr>,
    signature: [u8; 64],
}

/// The order of a peer's cards: later starts win, objections to a start win over that start, of these that of the earliest
/// process, and renewals win over what they renew.
type Rank = (u64, bool, Reverse<u64>, u32);

impl Card {
    /// A peer's own card.
    pub(super) fn sign(identity: &Identity, run: Hash, incarnation: u64, renewals: u32, objects_to: u64) -> Self {
        let blank = Self { incarnation, renewals, objects_to, ..Self::stranger(identity.peer_id()) };
        Self { signature: identity.sign(&blank.text(run)), ..blank }
    }

    /// Stands for a peer of whom nothing is known, to send it a first frame.
    pub(super) fn stranger(peer: PeerId) -> Self {
        Self { peer, incarnation: 0, renewals: 0, objects_to: 0, address: None, signature: [0; 64] }
    }

    /// Whether its owner made it, for this run.
    pub(super) fn is_genuine(&self, run: Hash) -> bool {
        let sensible = self.incarnation > 0 && (self.objects_to == 0 || self.objects_to > self.incarnation);
        sensible && self.peer.verifies(&self.text(run), &self.signature)
    }

    /// The same card, seen at another place.
    pub(super) fn seen_at(self, address: Option<SocketAddr>) -> Self {
        Self { address: address.or(self.address), ..self }
    }

    /// The same card with the signature of `known`, which was checked and is of a card with the same name.
    pub(super) fn proven_by(self, known: &Self) -> Self {
        Self { signature: known.signature, ..self }
    }

    pub(super) fn rank(&self) -> Rank {
        (self.incarnation.max(self.objects_to), self.objects_to > 0, Reverse(self.incarnation), self.renewals)
    }

    fn text(&self, run: Hash) -> Vec<u8> {
        let mut text = b"murmuration member card v1".to_vec();
        text.extend_from_slice(&run.0);
        self.put_name(&mut text);
        text
    }

    /// Writes what tells this card from others.
    pub(super) fn put_name(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.peer.0);
        buffer.put_u64(self.incarnation);
        buffer.put_u32(self.renewals);
        buffer.put_u64(self.objects_to);
    }

    /// Writes the whole card.
    pub(super) fn put(&self, buffer: &mut impl BufMut) {
        self.put_name(buffer);
        let (ip, port) = self.address.map_or((Ipv6Addr::UNSPECIFIED, 0), |address| (mapped(address), address.port()));
        buffer.put_slice(&ip.octets());
        buffer.put_u16(port);
        buffer.put_slice(&self.signature);
    }

    /// Reads a card without proof or address.
    pub(super) fn take_name(buffer: &mut impl Buf) -> Result<Self, Malformed> {
        if buffer.remaining() < NAME_BYTES {
            return Err(Malformed);
        }
        let mut peer = PeerId([0; 32]);
        buffer.copy_to_slice(&mut peer.0);
        let (incarnation, renewals) = (buffer.get_u64(), buffer.get_u32());
        Ok(Self { incarnation, renewals, objects_to: buffer.get_u64(), ..Self::stranger(peer) })
    }

    /// Reads a whole card.
    pub(super) fn take(buffer: &mut impl Buf) -> Result<Self, Malformed> {
        if buffer.remaining() < CARD_BYTES {
            return Err(Malformed);
        }
        let mut card = Self::take_name(buffer)?;
        let mut ip = [0; 16];
        buffer.copy_to_slice(&mut ip);
        let address = SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), buffer.get_u16());
        card.address = (address.port() != 0 && !address.ip().is_unspecified()).then_some(address);
        buffer.copy_to_slice(&mut card.signature);
        Ok(card)
    }
}

fn mapped(address: SocketAddr) -> Ipv6Addr {
    match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Two cards are one if they have one name: where they were seen does not matter.
impl PartialEq for Card {
    fn eq(&self, other: &Self) -> bool {
        self.peer == other.peer && self.rank() == other.rank()
    }
}

impl Eq for Card {}

impl foca::Identity for Card {
    type Addr = PeerId;

    /// Only the owner's key can make the next card, and it is not in here: the node does it.
    fn renew(&self) -> Option<Self> {
        None
    }

    fn addr(&self) -> PeerId {
        self.peer
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.rank() > adversary.rank()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RUN: Hash = Hash([9; 32]);

    fn identity() -> Identity {
        Identity::from_secret(&[3; 32])
    }

    #[test]
    fn a_card_survives_the_wire_and_proves_itself() {
        let card = Card::sign(&identity(), RUN, 77, 2, 78).seen_at(Some("10.1.2.3:99".parse().unwrap()));
        let mut bytes = Vec::new();
        card.put(&mut bytes);
        assert_eq!(bytes.len(), CARD_BYTES);
        let read = Card::take(&mut bytes.as_slice()).unwrap();
        assert_eq!((read, read.address), (card, card.address));
        assert!(read.is_genuine(RUN));
        assert!(!read.is_genuine(Hash([8; 32])), "a card of another run");
        assert!(!Card { renewals: 3, ..read }.is_genuine(RUN), "somebody else's idea of the next card");
        assert!(Card::take(&mut &bytes[1..]).is_err());
    }

    #[test]
    fn later_starts_win_and_objections_win_over_what_they_object_to() {
        let card = |incarnation, renewals, objects_to| Card::sign(&identity(), RUN, incarnation, renewals, objects_to);
        let ascending = [
            card(5, 0, 0),
            card(5, 9, 0),
            card(7, 0, 0),
            card(7, 4, 0),
            card(6, 9, 7),
            card(5, 0, 7),
            card(5, 10, 7),
            card(8, 0, 0),
        ];
        for (lower, higher) in ascending.iter().zip(&ascending[1..]) {
            assert!(higher.rank() > lower.rank(), "{higher:?} beats {lower:?}");
        }
    }

    #[test]
    fn nobody_objects_to_an_earlier_start() {
        assert!(!Card::sign(&identity(), RUN, 7, 0, 6).is_genuine(RUN));
    }
}
