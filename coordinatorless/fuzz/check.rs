//! What must hold of any bytes at all. Shared by the fuzz targets and the test that replays the corpus.
#![allow(dead_code)]

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::{
    Body, Enroll, Entry, Fold, Founder, Hash, Header, Identity, Insertion, ONE_Q16, PeerId, Rules, VersionVector,
    WireEntry,
};
use murmur_coordinatorless::{Config, Event, Input, Kind, Message, Node, Output, Reach, Setup, Stored, Time};

/// Reads a message. One that is read is written and read again as the same. Says whether it was accepted.
pub(crate) fn message(input: &[u8]) -> bool {
    let Ok(message) = Message::decode(input) else { return false };
    assert_eq!(Kind::peek(input), message.kind(), "the first byte tells the kind");
    let written = message.encode();
    assert_eq!(Message::decode(&written).as_ref(), Ok(&message), "what was read is written and read again");
    if let Message::Entries { items } = message {
        items.into_iter().for_each(|item| drop(Entry::check(item.entry)));
    }
    true
}

/// The first 64 bytes are the signature, the rest is the header. Says whether the entry was accepted.
///
/// A fuzzer cannot sign, so a header that can be read at all is also signed here and offered to a fold, twice.
pub(crate) fn entry(input: &[u8]) -> bool {
    let Some((signature, header)) = input.split_first_chunk() else { return false };
    if let Ok(header) = rkyv::from_bytes::<Header, rkyv::rancor::Failure>(header) {
        offer(header);
    }
    let checked = Entry::check(WireEntry { header: header.to_vec(), signature: *signature });
    if let Ok(entry) = &checked {
        assert_eq!(entry.to_wire().header, header, "the bytes are kept as they came");
    }
    checked.is_ok()
}

/// The peer whose words the fuzzer chooses.
fn speaker() -> Identity {
    Identity::from_secret(&[1; 32])
}

fn run() -> Hash {
    Hash([0x32; 32])
}

/// A datagram that the speaker sends to a peer who knows nobody else. Says whether that peer took it without complaint.
///
/// Whatever it says of members, a minute later the peer still runs, and has not heard of more of them than fit a datagram.
pub(crate) fn datagram(input: &[u8]) -> bool {
    let (speaker, mut node) = (speaker().peer_id(), listening_peer());
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    node.handle(Time::default(), Input::Connected { peer: speaker, address, reach: Reach::Direct });
    complains(&mut node, speaker);
    node.handle(Time::default(), Input::Datagram { from: speaker, bytes: input.to_vec() });
    let accepted = !complains(&mut node, speaker);
    let before = node.footprint().membership;
    let mut timers = 0;
    while let Some(at) = node.poll_timeout().filter(|at| *at < Time::default() + Duration::from_secs(60)) {
        node.handle_timeout(at);
        complains(&mut node, speaker);
        timers += 1;
        assert!(timers < 10_000, "a timer that is never done");
    }
    assert!(node.footprint().membership <= before + 64 * 1024, "what one datagram says takes little room");
    accepted
}

/// Takes what the node has to say. Whether it complains about `peer`.
fn complains(node: &mut Node, about: PeerId) -> bool {
    let outputs = core::iter::from_fn(|| node.poll_output());
    let complaint = |output: &Output| matches!(output, Output::Event(Event::BadInput { peer, .. }) if *peer == about);
    outputs.filter(complaint).count() > 0
}

/// A peer on an empty disk in the speaker's run.
fn listening_peer() -> Node {
    Node::new(Setup {
        manifest: Vec::new(),
        run: run(),
        rules: rules(&speaker()),
        genesis: vec![0].into(),
        identity: Identity::from_secret(&[2; 32]),
        class: Hash::NONE,
        config: Config::default(),
        seed: 0,
        incarnation: 1,
        address_book: Vec::new(),
        stored: Stored::default(),
    })
}

fn rules(speaker: &Identity) -> Rules {
    Rules {
        parameters: 1,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 1,
        segment_tokens: 10,
        steps_max: u32::from(u16::MAX),
        token_budget: 1,
        audit_rate_q16: ONE_Q16,
        audit_quorum: 1,
        span: 1,
        frontier_every_tokens: 0,
        class: None,
        founders: vec![Founder { peer: speaker.peer_id(), vrf_key: [0; 32] }],
    }
}

/// A fold of one parameter in which the speaker has enrolled.
fn listener(speaker: &Identity) -> Fold {
    let mut fold = Fold::new(run(), rules(speaker), vec![0]);
    let header = Header {
        run: run(),
        author: speaker.peer_id(),
        seq: 0,
        previous: Hash::NONE,
        epoch: 0,
        frontier: Hash::NONE,
        base: Vec::new(),
        body: Body::Enroll(Enroll { vrf_key: [0; 32] }),
    };
    fold.insert(Entry::sign(speaker, header), None);
    fold
}

fn offer(header: Header) {
    if VersionVector::from_components(&header.base).is_err() {
        return;
    }
    let speaker = speaker();
    let mut fold = listener(&speaker);
    let next = Header { author: speaker.peer_id(), previous: fold.log().head(&speaker.peer_id()), ..header };
    let entry = Entry::sign(&speaker, next);
    let before = (fold.log().version().clone(), fold.state_root());
    let inserted = fold.insert(entry.clone(), None);
    if matches!(inserted, Insertion::Applied { .. }) {
        assert!(matches!(fold.insert(entry, None), Insertion::Known), "what is held is known");
    } else {
        assert_eq!((fold.log().version().clone(), fold.state_root()), before, "what is not applied changes nothing");
    }
}
