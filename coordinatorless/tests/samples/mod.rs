//! One message and one entry of every kind, the same in every run.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::SocketAddr;

use murmur_collectives::{
    Ballot, Body, Certificate, Component, Enroll, Entry, Equivocation, Frontier, Hash, Header, Identity, Pace, PeerId,
    Proposal, Row, Signed, Stage, Update, Verdict, Vote, Voter,
};
use murmur_coordinatorless::{Digest, EntryName, Item, Message, PeerAddress, Proven, Want};

pub(crate) fn author() -> Identity {
    Identity::from_secret(&[1; 32])
}

fn peer(n: u8) -> PeerId {
    Identity::from_secret(&[n; 32]).peer_id()
}

fn hash(n: u8) -> Hash {
    Hash([n; 32])
}

fn base() -> Vec<Component> {
    let mut base = vec![Component { author: peer(1), count: 2 }, Component { author: peer(2), count: 0x0102_0304 }];
    base.sort_by_key(|component| component.author);
    base
}

fn update() -> Update {
    Update {
        segment: 0,
        steps: 5,
        merges: Vec::new(),
        tokens: 0x0102_0304_0506_0708,
        payload: hash(0x11),
        payload_bytes: 0x0a0b_0c0d,
        top: 0x0102,
        norm: 0x1122_3344_5566_7788,
        loss_micronats: 5_545_177,
        trace: hash(0x12),
        carry_before: Hash::NONE,
        carry_after: hash(0x13),
        class: hash(0x14),
    }
}

fn verdict(passed: bool, stage: Stage) -> Verdict {
    let draw = core::array::from_fn(|i| i as u8);
    Verdict { author: peer(2), seq: 3, update: hash(0x21), passed, replay: hash(0x22), stage, draw }
}

fn sign(seq: u32, base: Vec<Component>, body: Body) -> Entry {
    let previous = if seq == 0 { Hash::NONE } else { hash(0x31) };
    let identity = author();
    Entry::sign(
        &identity,
        Header {
            run: hash(0x32),
            author: identity.peer_id(),
            seq,
            previous,
            epoch: 7,
            frontier: hash(0x33),
            base,
            body,
        },
    )
}

/// One entry of every kind of body, by name.
pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let one = sign(2, Vec::new(), Body::Update(update()));
    let two = sign(2, Vec::new(), Body::Update(Update { steps: 6, ..update() }));
    let fork = Equivocation::of(&one, &two);
    vec![
        ("enroll", sign(0, Vec::new(), Body::Enroll(Enroll { vrf_key: [0x41; 32] }))),
        ("equivocation", sign(7, base(), Body::Equivocation(fork))),
        ("update", sign(2, base(), Body::Update(update()))),
        ("verdict-failed-confirming", sign(4, base(), Body::Verdict(verdict(false, Stage::Confirm)))),
        ("verdict-passed-first", sign(3, base(), Body::Verdict(verdict(true, Stage::First)))),
    ]
}

fn digest() -> Digest {
    Digest {
        run: hash(0x51),
        number: 0x090a_0b0c,
        whole: false,
        vector: base(),
        heads: vec![[0x52; 8], [0x53; 8]],
        set: hash(0x58),
        root: hash(0x54),
        idle: true,
        finishing: false,
        reply: true,
        lost: true,
        epoch: 0x0506_0708,
        frontier: hash(0x57),
    }
}

fn frontier() -> Frontier {
    Frontier {
        pace: Pace { peers_q16: 3 << 16, segment_tokens: 640 },
        epoch: 3,
        previous: hash(0x71),
        rows: hash(0x72),
        clock: 0x0102_0304_0506_0708,
        state: hash(0x73),
        foundation: hash(0x74),
        voters: vec![Voter { peer: peer(1), weight: 9 }],
    }
}

fn rows() -> Vec<Row> {
    vec![Row { author: peer(1), count: 5, head: hash(0x75) }]
}

fn certificate() -> Certificate {
    Certificate { frontier: frontier(), round: 2, signed: vec![Signed { voter: peer(1), signature: [0x76; 64] }] }
}

fn votes() -> Vec<Vote> {
    let vote = |round, ballot| Vote::sign(&author(), hash(0x32), 3, round, ballot, hash(0x77));
    vec![vote(0, Ballot::Prevote), vote(1, Ballot::Precommit)]
}

/// One message of every kind, short enough to travel plain, by name.
pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let entry = |n: usize| entries()[n].1.to_wire();
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let peers = vec![
        PeerAddress::new(peer(1), address("127.0.0.1:4433")),
        PeerAddress::new(peer(2), address("[2001:db8::1]:1")),
    ];
    let names = vec![EntryName { author: peer(1), seq: 0 }, EntryName { author: peer(2), seq: u32::MAX }];
    vec![
        ("absent", Message::Absent { root: hash(0x61) }),
        ("announce", Message::Announce { entries: names }),
        ("candidates", Message::Candidates { addresses: peers.clone() }),
        ("certificates", Message::Certificates { chain: vec![Proven { certificate: certificate(), rows: rows() }] }),
        ("chunk", Message::Chunk { root: hash(0x62), index: 3, bytes: (0..40).collect() }),
        ("chunk-list", Message::ChunkList { root: hash(0x63), length: 70_000, hashes: (0..3).map(hash).collect() }),
        ("chunk-hashes", Message::ChunkHashes { root: hash(0x68), from: 65_536, hashes: (3..5).map(hash).collect() }),
        ("digest", Message::Digest(Box::new(digest()))),
        ("entries", Message::Entries { items: vec![Item { entry: entry(0), payload: None }] }),
        ("entries-none", Message::Entries { items: Vec::new() }),
        ("entries-with-payload", Message::Entries { items: vec![Item { entry: entry(2), payload: Some(vec![7; 9]) }] }),
        ("frontier", Message::Frontier(Box::new(Proposal { frontier: frontier(), rows: rows() }))),
        ("goodbye", Message::Goodbye),
        ("manifest", Message::Manifest { bytes: b"name = \"run\"".to_vec() }),
        ("meet", Message::Meet { peer: peer(2) }),
        ("observed", Message::Observed { address: Some(peers[0]), relay: true }),
        ("observed-nothing", Message::Observed { address: None, relay: false }),
        ("payload-chunk", Message::PayloadChunk { root: hash(0x69), index: 4, bytes: (0..40).collect() }),
        ("peers", Message::Peers { peers: peers.clone() }),
        ("punch", Message::Punch { peer: peers[1] }),
        ("votes", Message::Votes { votes: votes() }),
        ("want", Message::Want(Want { author: peer(1), from: 2, count: 64, payloads: true })),
        ("want-certificates", Message::WantCertificates { from: 0x0102_0304 }),
        ("want-chunk-hashes", Message::WantChunkHashes { root: hash(0x6a), from: 65_536 }),
        ("want-chunk-list", Message::WantChunkList { root: hash(0x64) }),
        ("want-chunks", Message::WantChunks { root: hash(0x65), indices: vec![0, 2, 16] }),
        ("want-frontier", Message::WantFrontier { name: hash(0x78) }),
        ("want-manifest", Message::WantManifest { run: hash(0x66) }),
    ]
}

/// Long messages, whose packed form depends on the compressor and is therefore only read.
pub(crate) fn long() -> Vec<(&'static str, Message)> {
    let entries = (0..100).map(|seq| EntryName { author: peer(1), seq }).collect();
    let bytes = (0..2000u32).map(|n| (n / 100) as u8).collect();
    vec![
        ("announce-packed", Message::Announce { entries }),
        ("chunk-packed", Message::Chunk { root: hash(0x67), index: 0, bytes }),
    ]
}
