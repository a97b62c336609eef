//! Messages by what they ask of their receiver: a request wants an answer, a response is one, a notice neither wants one nor
//! is one. Whoever handles one of these matches no message of the other two.
//!
//! On the wire all messages are variants of [`Message`], so that their numbers and bytes stay.

use murmur_collectives::{Hash, Proposal, Vote};

use super::{Digest, EntryName, Item, Message, PeerAddress, PeerId, Proven, Want};

/// A message that wants an answer. The table of messages says what each asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Request {
    Certificates { from: u32 },
    ChunkHashes { root: Hash, from: u32 },
    ChunkList { root: Hash },
    Chunks { root: Hash, indices: Vec<u32> },
    Entries(Want),
    Frontier { name: Hash },
    Manifest { run: Hash },
}

/// The answer to a [`Request`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Response {
    Absent { root: Hash },
    Certificates { chain: Vec<Proven> },
    Chunk { root: Hash, index: u32, bytes: Vec<u8> },
    ChunkHashes { root: Hash, from: u32, hashes: Vec<Hash> },
    ChunkList { root: Hash, length: u64, hashes: Vec<Hash> },
    Entries { items: Vec<Item> },
    Frontier(Box<Proposal>),
    Manifest,
}

/// A message that stands alone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Notice {
    Announce { entries: Vec<EntryName> },
    Candidates { addresses: Vec<PeerAddress> },
    Digest(Box<Digest>),
    Goodbye,
    Meet { peer: PeerId },
    Observed { address: Option<PeerAddress>, relay: bool },
    Peers { peers: Vec<PeerAddress> },
    Punch { peer: PeerAddress },
    Votes { votes: Vec<Vote> },
}

/// A message, sorted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub(crate) enum Sorted {
    Request(Request),
    Response(Response),
    Notice(Notice),
}

impl From<Message> for Sorted {
    fn from(message: Message) -> Self {
        match message {
            Message::Absent { root } => Self::Response(Response::Absent { root }),
            Message::Announce { entries } => Self::Notice(Notice::Announce { entries }),
            Message::Candidates { addresses } => Self::Notice(Notice::Candidates { addresses }),
            Message::Certificates { chain } => Self::Response(Response::Certificates { chain }),
            Message::Chunk { root, index, bytes } | Message::PayloadChunk { root, index, bytes } => {
                Self::Response(Response::Chunk { root, index, bytes })
            }
            Message::ChunkHashes { root, from, hashes } => Self::Response(Response::ChunkHashes { root, from, hashes }),
            Message::ChunkList { root, length, hashes } => Self::Response(Response::ChunkList { root, length, hashes }),
            Message::Digest(digest) => Self::Notice(Notice::Digest(digest)),
            Message::Entries { items } => Self::Response(Response::Entries { items }),
            Message::Frontier(proposal) => Self::Response(Response::Frontier(proposal)),
            Message::Goodbye => Self::Notice(Notice::Goodbye),
            Message::Manifest { .. } => Self::Response(Response::Manifest),
            Message::Meet { peer } => Self::Notice(Notice::Meet { peer }),
            Message::Observed { address, relay } => Self::Notice(Notice::Observed { address, relay }),
            Message::Peers { peers } => Self::Notice(Notice::Peers { peers }),
            Message::Punch { peer } => Self::Notice(Notice::Punch { peer }),
            Message::Votes { votes } => Self::Notice(Notice::Votes { votes }),
            Message::Want(want) => Self::Request(Request::Entries(want)),
            Message::WantCertificates { from } => Self::Request(Request::Certificates { from }),
            Message::WantChunkHashes { root, from } => Self::Request(Request::ChunkHashes { root, from }),
            Message::WantChunkList { root } => Self::Request(Request::ChunkList { root }),
            Message::WantChunks { root, indices } => Self::Request(Request::Chunks { root, indices }),
            Message::WantFrontier { name } => Self::Request(Request::Frontier { name }),
            Message::WantManifest { run } => Self::Request(Request::Manifest { run }),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        match request {
            Request::Certificates { from } => Self::WantCertificates { from },
            Request::ChunkHashes { root, from } => Self::WantChunkHashes { root, from },
            Request::ChunkList { root } => Self::WantChunkList { root },
            Request::Chunks { root, indices } => Self::WantChunks { root, indices },
            Request::Entries(want) => Self::Want(want),
            Request::Frontier { name } => Self::WantFrontier { name },
            Request::Manifest { run } => Self::WantManifest { run },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_from_its_message() {
        let want = Want { author: PeerId([1; 32]), from: 2, count: 3, payloads: true };
        let requests = [
            Request::Certificates { from: 4 },
            Request::ChunkHashes { root: Hash([4; 32]), from: 65_536 },
            Request::ChunkList { root: Hash([5; 32]) },
            Request::Chunks { root: Hash([6; 32]), indices: vec![7, 8] },
            Request::Entries(want),
            Request::Frontier { name: Hash([9; 32]) },
            Request::Manifest { run: Hash([10; 32]) },
        ];
        for request in requests {
            assert_eq!(Sorted::from(Message::from(request.clone())), Sorted::Request(request));
        }
    }
}
