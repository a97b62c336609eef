//! All messages between peers, and their wire format.
//!
//! | message | from → to | when | size |
//! |---|---|---|---|
//! | `Announce` | holder → neighbours | an entry joined the set | 68 B an entry |
//! | `Absent` | server → requester | it does not hold the requested blob | 32 B |
//! | `Candidates` | any → neighbour | the neighbour sees the sender elsewhere: local addresses, port mapping | 50 B an address, ≤ 4 |
//! | `Chunk` | server → requester | answers `WantChunks`, one message a chunk | ≤ 32 KiB |
//! | `ChunkHashes` | server → requester | answers `WantChunkHashes`: another part of a long chunk list | ≤ 2 MiB |
//! | `ChunkList` | server → requester | answers `WantChunkList`: the chunk list, or its first part | 32 B a chunk, ≤ 2 MiB |
//! | `Digest` | any → neighbour | on connecting, in every round of anti-entropy, on finishing: the changes since the last one, or the whole set | 200 B, 44 B an author named |
//! | `Entries` | holder → requester | answers `Want` | headers 0.4 KB, payloads of up to 3 MiB |
//! | `Certificates` | any → requester | answers `WantCertificates`: proofs of final frontiers, the newest with rows | 1 KB an epoch |
//! | `Frontier` | holder → requester | answers `WantFrontier` | 68 B an author |
//! | `Goodbye` | leaver → neighbours | before it leaves | 1 B |
//! | `Manifest` | member → newcomer | answers `WantManifest` | ≤ 64 KiB |
//! | `Meet` | requester → mutual neighbour | a peer cannot be dialed: requests an introduction | 32 B |
//! | `Observed` | any → neighbour | on connecting: the address at which the sender sees the neighbour, and whether the sender is a relay | 60 B |
//! | `PayloadChunk` | holder → requester | answers `WantChunks` for the payload of an update, one message a chunk | ≤ 32 KiB |
//! | `Peers` | member → neighbour | on connecting: addresses of other peers | 50 B a peer, ≤ 64 |
//! | `Punch` | mutual neighbour → both peers | answers `Meet`: dial each other now, one message an address | 50 B |
//! | `Votes` | voter → neighbours, forwarded | an epoch is being decided | 170 B a vote |
//! | `Want` | requester → holder | an entry is missing | 44 B |
//! | `WantChunkHashes` | requester → server | its chunk list is longer than one message holds | 36 B |
//! | `WantChunks`, `WantChunkList` | requester → server | a carry, checkpoint or long payload is needed | small |
//! | `WantCertificates` | any → neighbour | the neighbour knows a newer epoch | 4 B |
//! | `WantFrontier` | any → voter | a vote names an unknown frontier | 32 B |
//! | `WantManifest` | newcomer → member | before it knows the run | 32 B |
//!
//! Membership uses datagrams instead: SWIM frames of up to 1000 B and single cards. The table of frames is in
//! `node/membership/codec.rs`.
//!
//! On the wire a message is one byte, then rkyv bytes. Bit 0 of the byte is the packing (0 plain, 1 zstd), bits 1 and
//! 2 are the kind, so that a transport can count messages without reading them; the other bits are zero. Headers,
//! carries and states are compressed; payloads are entropy-coded already and travel plain. A receiver checks the size
//! limit first, decompresses with a bound, then makes a checked access; the machine that handles the message checks
//! its meaning.
//!
//! A payload of more than [`PAYLOAD_IN_MESSAGE_MAX`] bytes does not travel in `Entries`: its entry comes without it, and who
//! wants it asks for its chunks, by the blob root that the entry commits to.

mod sorted;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use murmur_collectives::{Certificate, Component, Hash, PeerId, Proposal, Row, Vote, WireEntry};
use rkyv::{Archive, Deserialize, Serialize, rancor};

pub(crate) use self::sorted::{Notice, Request, Response, Sorted};
use crate::packing::{pack, unpack};

/// The longest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024;

/// The longest datagram, in bytes. It fits the smallest path that QUIC allows, with room for QUIC's own headers.
pub const DATAGRAM_BYTES_MAX: usize = 1000;

/// The largest unpacked size of a compressed message, in bytes.
pub(crate) const UNPACKED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The longest payload that travels in one message with its entry, in bytes: with headers it fits the 4 MiB that a transport
/// takes. A longer one travels in chunks.
pub(crate) const PAYLOAD_IN_MESSAGE_MAX: usize = 3 * 1024 * 1024;

/// Hashes in one part of a chunk list, at most: 2 MiB, for the chunks of 2 GiB.
pub(crate) const LIST_PART_MAX: usize = 1 << 16;

/// Bytes of entries in one answer, beyond the first of them; what does not fit is requested again.
pub(crate) const ANSWER_BYTES: usize = 512 * 1024;

/// Messages shorter than this are not compressed, in bytes.
const PACK_FROM_BYTES: usize = 512;

/// The name of an entry: its author and its position.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryName {
    /// The author.
    pub author: PeerId,
    /// The position in the author's chain.
    pub seq: u32,
}

/// A peer with its address, as sent in messages: IPv6 (IPv4 mapped) and a port.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    /// The peer.
    pub peer: PeerId,
    ip: [u8; 16],
    port: u16,
}

impl PeerAddress {
    /// Pairs a peer with its address.
    pub fn new(peer: PeerId, address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { peer, ip: ip.octets(), port: address.port() }
    }

    /// The address, IPv4 if it is mapped.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }
}

/// A summary of a peer's set.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Digest {
    /// The run.
    pub run: Hash,
    /// The number of this digest on its connection, from 1.
    pub number: u32,
    /// Whether `vector` describes the whole set. If not, it describes the changes since the last digest, with a count
    /// of 0 for an author that is gone. A receiver that missed the last digest sets `lost` in its own next one, and
    /// gets the whole set.
    pub whole: bool,
    /// The number of entries of each author.
    pub vector: Vec<Component>,
    /// For each component of `vector`, the first bytes of the newest entry's hash, which show a fork.
    pub heads: Vec<[u8; 8]>,
    /// The name of the whole set with all its heads. It differs between two peers with equal vectors and different
    /// branches of a fork.
    pub set: Hash,
    /// The state root of the set.
    pub root: Hash,
    /// The sender authors no more entries unless something new arrives.
    pub idle: bool,
    /// The sender is about to leave.
    pub finishing: bool,
    /// The receiver should answer with its own digest.
    pub reply: bool,
    /// The sender could not apply the receiver's last digest: the next one should be whole.
    pub lost: bool,
    /// The newest final epoch of the sender.
    pub epoch: u32,
    /// The name of its frontier.
    pub frontier: Hash,
}

/// A final frontier in an answer.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The proof.
    pub certificate: Certificate,
    /// Its rows, if the sender still holds them.
    pub rows: Vec<Row>,
}

/// An entry in an answer.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The signed header.
    pub entry: WireEntry,
    /// The payload of an update, if it was requested and is held.
    pub payload: Option<Vec<u8>>,
}

/// A request for a part of one author's chain.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// The author.
    pub author: PeerId,
    /// The position of the first entry.
    pub from: u32,
    /// The number of entries, at most.
    pub count: u32,
    /// Whether to send payloads as well.
    pub payloads: bool,
}

/// A message from one peer to another.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the table above says what each is for
pub enum Message {
    Absent { root: Hash },
    Announce { entries: Vec<EntryName> },
    Certificates { chain: Vec<Proven> },
    Chunk { root: Hash, index: u32, bytes: Vec<u8> },
    ChunkList { root: Hash, length: u64, hashes: Vec<Hash> },
    Digest(Box<Digest>),
    Entries { items: Vec<Item> },
    Frontier(Box<Proposal>),
    Goodbye,
    Manifest { bytes: Vec<u8> },
    Peers { peers: Vec<PeerAddress> },
    Votes { votes: Vec<Vote> },
    Want(Want),
    WantCertificates { from: u32 },
    WantChunkList { root: Hash },
    WantChunks { root: Hash, indices: Vec<u32> },
    WantFrontier { name: Hash },
    WantManifest { run: Hash },
    Meet { peer: PeerId },
    Observed { address: Option<PeerAddress>, relay: bool },
    Punch { peer: PeerAddress },
    Candidates { addresses: Vec<PeerAddress> },
    ChunkHashes { root: Hash, from: u32, hashes: Vec<Hash> },
    PayloadChunk { root: Hash, index: u32, bytes: Vec<u8> },
    WantChunkHashes { root: Hash, from: u32 },
}

/// The kind of a message: its priority, and the class under which its bytes are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Membership, announcements, digests: small, and must never starve.
    Control,
    /// Headers and requests.
    Header,
    /// Payloads of updates.
    Payload,
    /// Carries and checkpoints.
    Bulk,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Control, Self::Header, Self::Payload, Self::Bulk];

    /// The kind that a message on the wire claims; [`Message::decode`] verifies the claim.
    pub fn peek(bytes: &[u8]) -> Self {
        Self::ALL[usize::from(bytes.first().copied().unwrap_or(0) >> 1) % 4]
    }

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Bulk => "bulk",
        }
    }
}

/// Why bytes are not a message. The sender's fault.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum MessageError {
    /// There are no bytes.
    #[error("empty message")]
    Empty,
    /// The first byte is not valid.
    #[error("unknown packing {0}")]
    Packing(u8),
    /// The first byte claims another kind than the message has.
    #[error("message of another kind than it claims")]
    Kind,
    /// The compressed bytes are malformed, or their unpacked size exceeds the limit.
    #[error("compressed message is malformed or unpacks to more than {UNPACKED_BYTES_MAX} bytes")]
    Unpack,
    /// The bytes are not a message.
    #[error("malformed message")]
    Malformed,
}

impl Message {
    /// The kind of this message.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Absent { .. } | Self::Announce { .. } | Self::Digest(_) | Self::Goodbye | Self::Peers { .. } => {
                Kind::Control
            }
            Self::Candidates { .. } | Self::Meet { .. } | Self::Observed { .. } | Self::Punch { .. } => Kind::Control,
            Self::Votes { .. } => Kind::Control,
            Self::Certificates { .. } | Self::Frontier(_) => Kind::Header,
            Self::WantCertificates { .. } | Self::WantFrontier { .. } => Kind::Header,
            Self::Entries { items } if items.iter().any(|item| item.payload.is_some()) => Kind::Payload,
            Self::PayloadChunk { .. } => Kind::Payload,
            Self::Entries { .. } | Self::Manifest { .. } | Self::Want(_) => Kind::Header,
            Self::WantChunkHashes { .. } | Self::WantChunkList { .. } | Self::WantChunks { .. } => Kind::Header,
            Self::WantManifest { .. } => Kind::Header,
            Self::Chunk { .. } | Self::ChunkHashes { .. } | Self::ChunkList { .. } => Kind::Bulk,
        }
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let plain = rkyv::to_bytes::<rancor::Error>(self).expect("a message serializes into memory");
        let worthwhile = self.kind() != Kind::Payload && plain.len() >= PACK_FROM_BYTES;
        let packed = worthwhile.then(|| pack(&plain)).flatten();
        match packed.filter(|packed| packed.len() < plain.len()) {
            Some(packed) if plain.len() <= UNPACKED_BYTES_MAX => prefixed(1 | self.tag(), &packed),
            Some(_) | None => prefixed(self.tag(), &plain),
        }
    }

    /// Reads the wire form of a message, whose length the transport has limited.
    ///
    /// # Errors
    /// [`MessageError`] names the violation.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (packing, body) = bytes.split_first().ok_or(MessageError::Empty)?;
        let message = match packing & 1 {
            _ if *packing > 7 => return Err(MessageError::Packing(*packing)),
            0 => read(body)?,
            _ => read(&unpack(body, UNPACKED_BYTES_MAX).ok_or(MessageError::Unpack)?)?,
        };
        if message.tag() == packing & 6 { Ok(message) } else { Err(MessageError::Kind) }
    }

    fn tag(&self) -> u8 {
        (self.kind() as u8) << 1
    }
}

fn read(bytes: &[u8]) -> Result<Message, MessageError> {
    rkyv::from_bytes::<Message, rancor::Failure>(bytes).map_err(|_| MessageError::Malformed)
}

fn prefixed(packing: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 1);
    bytes.push(packing);
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_control_messages_are_packed_and_come_back() {
        let entries = (0..100).map(|seq| EntryName { author: PeerId([7; 32]), seq }).collect();
        let message = Message::Announce { entries };
        let bytes = message.encode();
        assert_eq!(bytes[0], 1);
        assert_eq!(Message::decode(&bytes).unwrap(), message);
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 19).unwrap();
        assert!(bomb.len() < 16 * 1024);
        assert_eq!(Message::decode(&prefixed(1, &bomb)), Err(MessageError::Unpack));
    }

    #[test]
    fn addresses_survive_the_wire() {
        for text in ["127.0.0.1:9", "[::1]:65535", "10.1.2.3:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(PeerAddress::new(PeerId([0; 32]), address).address(), address);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode(&bytes);
            for first in 0..9 {
                let _ = Message::decode(&prefixed(first, &bytes));
            }
        }

        #[test]
        fn a_bent_message_is_read_or_refused_never_a_panic(at in 0usize..400, bit in 0u8..8) {
            let item = Item { entry: WireEntry { header: vec![1; 90], signature: [2; 64] }, payload: Some(vec![3; 50]) };
            let mut bytes = Message::Entries { items: vec![item.clone(), item] }.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = Message::decode(&bytes);
        }
    }
}
