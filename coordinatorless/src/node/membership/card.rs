//! A member's card: its identity, its start, and the address at which it was seen. SWIM's member list and frames hold
//! cards.
//!
//! The owner signs all fields but the address. So no other peer can invent a member, or a later start of a member
//! that would override it. The address is a hint from a peer that was connected to the member; a wrong one costs a
//! failed dial.
//!
//! **One identity, two processes.** Each start has a number, `incarnation`, greater than those of earlier starts. A
//! process that receives a card with its own key and a *greater* incarnation knows that another process was started
//! after it. It objects: it signs a card with that incarnation in `objects_to`. Only a process that was running then
//! can do that. So when the later process receives a card of an earlier start that objects to its own incarnation, or
//! to a later one, it knows that the earlier process is alive, and stops. Cards left over from an ended process
//! object to nothing that started after it ended.

use core::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut};
use murmur_collectives::{Hash, Identity, PeerId};

use super::codec::Malformed;

/// The length of a card, in bytes.
pub(super) const CARD_BYTES: usize = NAME_BYTES + 18 + 64;

/// The length of a card's name: the fields that distinguish it from other cards, without signature and address.
pub(super) const NAME_BYTES: usize = 32 + 8 + 4 + 8;

/// A member's card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    /// The member.
    pub(super) peer: PeerId,
    /// The number of the member's start.
    pub(super) incarnation: u64,
    /// How often the member renewed its card since that start, after others had declared it down.
    pub(super) renewals: u32,
    /// The incarnation of a later start of the same key that this one objects to; 0: none.
    pub(super) objects_to: u64,
    /// The address at which the member was seen.
    pub(super) address: Option<SocketAddr>,
    signature: [u8; 64],
}

/// The precedence of a peer's cards. A later start overrides an earlier one, an objection overrides the start that it
/// names, an objection of an earlier process overrides that of a later one, and a renewal overrides the card that it
/// renews.
type Rank = (u64, bool, Reverse<u64>, u32);

impl Card {
    /// Signs a card of this peer.
    pub(super) fn sign(identity: &Identity, run: Hash, incarnation: u64, renewals: u32, objects_to: u64) -> Self {
        let blank = Self { incarnation, renewals, objects_to, ..Self::placeholder(identity.peer_id()) };
        Self { signature: identity.sign(&blank.signed_bytes(run)), ..blank }
    }

    /// A card without signature, to address a first frame to a peer whose card is unknown.
    pub(super) fn placeholder(peer: PeerId) -> Self {
        Self { peer, incarnation: 0, renewals: 0, objects_to: 0, address: None, signature: [0; 64] }
    }

    /// Whether the owner signed this card for this run, with plausible numbers.
    pub(super) fn is_genuine(&self, run: Hash) -> bool {
        let sensible = self.incarnation > 0 && (self.objects_to == 0 || self.objects_to > self.incarnation);
        sensible && self.peer.verifies(&self.signed_bytes(run), &self.signature)
    }

    /// This card with another address, if there is one.
    pub(super) fn with_address(self, address: Option<SocketAddr>) -> Self {
        Self { address: address.or(self.address), ..self }
    }

    /// This card with the signature of `known`, a card with the same name whose signature was verified.
    pub(super) fn with_signature_of(self, known: &Self) -> Self {
        Self { signature: known.signature, ..self }
    }

    /// The precedence of this card among those of its owner.
    pub(super) fn rank(&self) -> Rank {
        (self.incarnation.max(self.objects_to), self.objects_to > 0, Reverse(self.incarnation), self.renewals)
    }

    /// The bytes that the owner signs.
    fn signed_bytes(&self, run: Hash) -> Vec<u8> {
        let mut text = b"murmuration member card v1".to_vec();
        text.extend_from_slice(&run.0);
        self.put_name(&mut text);
        text
    }

    /// Writes the card's name.
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

    /// Reads a card's name.
    pub(super) fn take_name(buffer: &mut impl Buf) -> Result<Self, Malformed> {
        if buffer.remaining() < NAME_BYTES {
            return Err(Malformed);
        }
        let mut peer = PeerId([0; 32]);
        buffer.copy_to_slice(&mut peer.0);
        let (incarnation, renewals) = (buffer.get_u64(), buffer.get_u32());
        Ok(Self { incarnation, renewals, objects_to: buffer.get_u64(), ..Self::placeholder(peer) })
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

/// The IP address as IPv6, IPv4 mapped.
fn mapped(address: SocketAddr) -> Ipv6Addr {
    match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Cards with the same name are equal, whatever their addresses.
impl PartialEq for Card {
    fn eq(&self, other: &Self) -> bool {
        self.peer == other.peer && self.rank() == other.rank()
    }
}

impl Eq for Card {}

impl foca::Identity for Card {
    type Addr = PeerId;

    /// A new card needs the owner's key, which the library does not have; [`Membership`](super::Membership) renews
    /// the card.
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
        let card = Card::sign(&identity(), RUN, 77, 2, 78).with_address(Some("10.1.2.3:99".parse().unwrap()));
        let mut bytes = Vec::new();
        card.put(&mut bytes);
        assert_eq!(bytes.len(), CARD_BYTES);
        let read = Card::take(&mut bytes.as_slice()).unwrap();
        assert_eq!((read, read.address), (card, card.address));
        assert!(read.is_genuine(RUN));
        assert!(!read.is_genuine(Hash([8; 32])), "a card of another run");
        assert!(!Card { renewals: 3, ..read }.is_genuine(RUN), "a renewal that the owner did not sign");
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
    fn an_objection_to_an_earlier_start_is_not_genuine() {
        assert!(!Card::sign(&identity(), RUN, 7, 0, 6).is_genuine(RUN));
    }
}
