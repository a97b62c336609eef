//! A peer between two neighbours who say anything at all: overheard messages, bent, cut, joined, packed again, and
//! plain rubbish. It must never panic, and its set must grow by valid entries only.
#![allow(clippy::unwrap_used)]

mod samples;

use core::time::Duration;
use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::OnceLock,
};

use murmur_collectives::{Body, Entry, Founder, Hash, Header, Identity, ONE_Q16, PeerId, Rules, WireEntry};
use murmur_coordinatorless::{Config, Draft, Event, Input, Item, Message, Node, Output, Reach, Setup, Stored, Time};
use murmur_kernels::{TopK, compress, from_f32};
use proptest::prelude::*;

/// A chunk that is not full.
const PARAMETERS: usize = 600;

/// The peer that is shouted at.
const VICTIM: usize = 0;

fn identity(peer: usize) -> Identity {
    Identity::from_secret(&[peer as u8 + 1; 32])
}

fn id(peer: usize) -> PeerId {
    identity(peer).peer_id()
}

fn address(peer: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], peer as u16 + 1))
}

fn run() -> Hash {
    Hash([9; 32])
}

/// Peer `peer` in a run founded by `founders`, on an empty disk.
fn node(peer: usize, founders: &[usize]) -> Node {
    let founders: Vec<Founder> = founders.iter().map(|peer| Node::founder(&identity(*peer))).collect();
    Node::new(Setup {
        manifest: vec![1, 2, 3],
        run: run(),
        rules: Rules {
            parameters: PARAMETERS as u64,
            top: 64,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16,
            clip_q16: ONE_Q16 * 3 / 2,
            tokens_per_step: 10,
            segment_tokens: 100,
            steps_max: 10,
            token_budget: 1_000_000,
            audit_rate_q16: ONE_Q16,
            audit_quorum: 2,
            span: 1,
            frontier_every_tokens: 200,
            class: None,
            founders,
        },
        genesis: from_f32(&[0.5; PARAMETERS]).unwrap().into(),
        identity: identity(peer),
        class: Hash([7; 32]),
        config: Config::default(),
        seed: peer as u64,
        incarnation: 1,
        address_book: Vec::new(),
        stored: Stored::default(),
    })
}

/// An honest history of three peers, of which the victim only listens, and what it heard meanwhile.
struct Overheard {
    mail: Vec<(usize, Vec<u8>)>,
    /// Every entry there is, in a causal order, with payloads.
    entries: Vec<Item>,
    hashes: BTreeSet<Hash>,
}

struct Talk {
    nodes: Vec<Node>,
    mail: VecDeque<(usize, usize, Vec<u8>)>,
    heard: Vec<(usize, Vec<u8>)>,
    entries: Vec<Item>,
}

impl Talk {
    fn handle(&mut self, peer: usize, input: Input) {
        self.nodes[peer].handle(Time::default(), input);
        while let Some(output) = self.nodes[peer].poll_output() {
            match output {
                Output::Send { to, bytes, .. } => {
                    let to = (0..self.nodes.len()).find(|n| id(*n) == to).unwrap();
                    self.mail.push_back((peer, to, bytes));
                }
                Output::Append { record, .. } if peer == VICTIM => {
                    let payload = record.payload.map(|payload| payload.to_vec());
                    self.entries.push(Item { entry: record.entry, payload });
                }
                Output::Event(Event::AuditReady { update }) if peer != VICTIM => {
                    self.handle(peer, Input::Judged { update, passed: true, replay: Hash([5; 32]) });
                }
                Output::AddressBook { .. }
                | Output::Append { .. }
                | Output::Close { .. }
                | Output::Compact(_)
                | Output::Dial { .. }
                | Output::DialThrough { .. }
                | Output::KeepChunk { .. } => {}
                Output::Datagram { .. } | Output::Event(_) | Output::Reset | Output::Signing { .. } => {}
            }
        }
    }

    /// Delivers everything, and what it leads to.
    fn settle(&mut self) {
        while let Some((from, to, bytes)) = self.mail.pop_front() {
            if to == VICTIM {
                self.heard.push((from, bytes.clone()));
            }
            self.handle(to, Input::Message { from: id(from), bytes });
        }
    }
}

fn draft(node: &Node, round: usize) -> Draft {
    let snapshot = node.snapshot();
    let end: Vec<f32> = (0..PARAMETERS).map(|i| ((i * 7 + round * 13) % 101) as f32 * 1e-4).collect();
    let (mut residual, mut payload) = (vec![0.0; PARAMETERS], Vec::new());
    let top = TopK::new(64).unwrap();
    compress(top, 0.0, &[0.0; PARAMETERS], &end, &mut residual, &mut payload).unwrap();
    Draft {
        views: vec![(0, snapshot.base)],
        epoch: snapshot.epoch,
        frontier: snapshot.frontier,
        segment: snapshot.segment,
        steps: 10,
        payload: payload.into(),
        top,
        loss_micronats: 1,
        trace: Hash([1; 32]),
        carry_before: snapshot.carry.map_or(Hash::NONE, |(root, _)| root),
        carry: Some((0..40_000usize).map(|n| (n * (round + 3)) as u8).collect()),
    }
}

fn overheard() -> &'static Overheard {
    static OVERHEARD: OnceLock<Overheard> = OnceLock::new();
    OVERHEARD.get_or_init(|| {
        let nodes = (0..3).map(|peer| node(peer, &[0, 1, 2])).collect();
        let mut talk = Talk { nodes, mail: VecDeque::new(), heard: Vec::new(), entries: Vec::new() };
        for (one, other) in [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)] {
            talk.handle(one, Input::Connected { peer: id(other), address: address(other), reach: Reach::Direct });
        }
        talk.settle();
        for round in 0..3 {
            for peer in 1..3 {
                let draft = draft(&talk.nodes[peer], round);
                talk.handle(peer, Input::Author(Box::new(draft)));
                talk.settle();
            }
        }
        let entries = talk.entries;
        let hashes = entries.iter().map(|item| Entry::check(item.entry.clone()).unwrap().hash()).collect();
        Overheard { mail: talk.heard, entries, hashes }
    })
}

/// Wire forms of one message of every kind, about another run.
fn foreign() -> &'static [Vec<u8>] {
    static FOREIGN: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FOREIGN.get_or_init(|| samples::messages().into_iter().chain(samples::long()).map(|(_, m)| m.encode()).collect())
}

fn lies() -> &'static [WireEntry] {
    static LIES: OnceLock<Vec<WireEntry>> = OnceLock::new();
    LIES.get_or_init(signed_lies)
}

/// What a neighbour signed although no peer may say it.
fn signed_lies() -> Vec<WireEntry> {
    let good = overheard().entries.iter().map(|item| Entry::check(item.entry.clone()).unwrap());
    let last = good.filter(|entry| entry.author() == id(2)).max_by_key(Entry::seq).unwrap();
    let next = Header { seq: last.seq() + 1, previous: last.hash(), ..last.to_header() };
    let mut lies = vec![Header { seq: u32::MAX, ..next.clone() }, Header { run: Hash([1; 32]), ..next.clone() }];
    for (_, entry) in samples::entries() {
        lies.push(Header { body: entry.header().body.clone(), ..next.clone() });
    }
    let mut greedy = next.clone();
    greedy.base.iter_mut().for_each(|component| component.count = u32::MAX);
    lies.push(greedy);
    let update =
        overheard().entries.iter().find_map(|item| Entry::check(item.entry.clone()).unwrap().update().cloned());
    lies.push(Header { body: Body::Update(update.unwrap()), ..next });
    lies.into_iter().map(|header| Entry::sign(&identity(2), header).to_wire()).collect()
}

/// How a message is spoilt on its way.
#[derive(Clone, Debug)]
enum Bend {
    Not,
    Cut(u16),
    Flip(u16, u8),
    Overwrite(u16, [u8; 4]),
    Join(u8, u16),
    Pack(u16, u8),
}

/// One thing that happens to the victim.
#[derive(Clone, Debug)]
enum Shout {
    Heard(u8, Bend),
    Sample(u8, bool, Bend),
    Lie(u8, bool),
    Rubbish(bool, Vec<u8>),
    Wait(u16),
}

fn bend() -> impl Strategy<Value = Bend> {
    prop_oneof![
        4 => Just(Bend::Not),
        2 => any::<u16>().prop_map(Bend::Cut),
        4 => (any::<u16>(), 0u8..8).prop_map(|(at, bit)| Bend::Flip(at, bit)),
        3 => (any::<u16>(), any::<[u8; 4]>()).prop_map(|(at, bytes)| Bend::Overwrite(at, bytes)),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(other, at)| Bend::Join(other, at)),
        2 => (any::<u16>(), 0u8..8).prop_map(|(at, bit)| Bend::Pack(at, bit)),
    ]
}

fn shouts() -> impl Strategy<Value = Vec<Shout>> {
    let shout = prop_oneof![
        8 => (any::<u8>(), bend()).prop_map(|(which, bend)| Shout::Heard(which, bend)),
        4 => (any::<u8>(), any::<bool>(), bend()).prop_map(|(which, from, bend)| Shout::Sample(which, from, bend)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, from)| Shout::Lie(which, from)),
        1 => (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)).prop_map(|(f, b)| Shout::Rubbish(f, b)),
        2 => (0u16..20_000).prop_map(Shout::Wait),
    ];
    proptest::collection::vec(shout, 1..60)
}

fn bent(bytes: &[u8], bend: &Bend) -> Vec<u8> {
    let (mut bytes, length) = (bytes.to_vec(), bytes.len().max(1));
    let at = |at: &u16| usize::from(*at) % length;
    match bend {
        Bend::Not => {}
        Bend::Cut(to) => bytes.truncate(at(to)),
        Bend::Flip(place, bit) => bytes.iter_mut().skip(at(place)).take(1).for_each(|byte| *byte ^= 1 << bit),
        Bend::Overwrite(place, new) => bytes.iter_mut().skip(at(place)).zip(new).for_each(|(byte, new)| *byte = *new),
        Bend::Join(other, place) => {
            let mail = &overheard().mail;
            bytes.truncate(at(place));
            bytes.extend_from_slice(&mail[usize::from(*other) % mail.len()].1);
        }
        Bend::Pack(place, bit) => {
            let mut plain = Message::decode(&bytes).map(|message| plain(&message)).unwrap_or(bytes);
            let place = usize::from(*place) % plain.len().max(1);
            plain.iter_mut().skip(place.max(1)).take(1).for_each(|byte| *byte ^= 1 << bit);
            bytes = vec![plain.first().copied().unwrap_or(0) | 1];
            bytes.extend(zstd::bulk::compress(plain.get(1..).unwrap_or(&[]), 1).unwrap());
        }
    }
    bytes
}

/// The wire form without packing.
fn plain(message: &Message) -> Vec<u8> {
    let written = message.encode();
    match written[0] & 1 {
        0 => written,
        _ => {
            let mut plain = vec![written[0] & 6];
            plain.extend(zstd::bulk::decompress(&written[1..], 1 << 22).unwrap());
            plain
        }
    }
}

/// The victim and its two neighbours.
struct Scene {
    node: Node,
    now: Time,
    own: BTreeSet<Hash>,
}

impl Scene {
    fn new(founders: &[usize]) -> Self {
        let mut scene = Self { node: node(VICTIM, founders), now: Time::default(), own: BTreeSet::new() };
        scene.drain();
        scene
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            if let Output::Append { record, durable: true } = output {
                let entry = Entry::check(record.entry).unwrap();
                assert_eq!(entry.author(), id(VICTIM), "only its own entries are durable");
                self.own.insert(entry.hash());
            }
        }
    }

    /// Nothing but valid entries, held in full, and the state is theirs.
    fn check(&mut self) {
        let valid = |hash: &Hash| overheard().hashes.contains(hash) || self.own.contains(hash);
        let log = self.node.fold().log();
        assert!(log.records().all(|record| valid(&record.entry.hash())), "an entry that nobody may say is in the set");
        let held: u64 = log.version().iter().map(|(_, count)| u64::from(count)).sum();
        assert_eq!(held, log.records().count() as u64);
        assert_eq!(self.node.state_root(), self.node.fold().state_root(), "the remembered root is the state's");
    }

    fn hear(&mut self, from: usize, bytes: Vec<u8>) {
        for peer in 1..3 {
            if !self.node.neighbours().contains(&id(peer)) {
                self.node.handle(
                    self.now,
                    Input::Connected { peer: id(peer), address: address(peer), reach: Reach::Direct },
                );
            }
        }
        self.node.handle(self.now, Input::Message { from: id(from), bytes });
        self.drain();
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.node.handle_timeout(self.now);
        self.drain();
    }

    fn shout(&mut self, shout: Shout) {
        let speaker = |second: bool| 1 + usize::from(second);
        match shout {
            Shout::Heard(which, bend) => {
                let (from, bytes) = &overheard().mail[usize::from(which) % overheard().mail.len()];
                self.hear(*from, bent(bytes, &bend));
            }
            Shout::Sample(which, second, bend) => {
                let bytes = &foreign()[usize::from(which) % foreign().len()];
                self.hear(speaker(second), bent(bytes, &bend));
            }
            Shout::Lie(which, second) => {
                let entry = lies()[usize::from(which) % lies().len()].clone();
                let payload = overheard().entries.iter().find_map(|item| item.payload.clone());
                self.hear(speaker(second), Message::Entries { items: vec![Item { entry, payload }] }.encode());
            }
            Shout::Rubbish(second, bytes) => self.hear(speaker(second), bytes),
            Shout::Wait(milliseconds) => self.wait(milliseconds.into()),
        }
    }
}

#[test]
fn what_is_overheard_is_worth_bending() {
    let overheard = overheard();
    let kinds: BTreeSet<_> = overheard.mail.iter().map(|(_, bytes)| Message::decode(bytes).unwrap().kind()).collect();
    assert_eq!(kinds.len(), 4, "messages of every kind: {kinds:?}");
    let bodies = overheard.entries.iter().map(|item| Entry::check(item.entry.clone()).unwrap());
    let (updates, others): (Vec<_>, Vec<_>) = bodies.partition(|entry| entry.update().is_some());
    assert_eq!(updates.len(), 6);
    assert!(others.iter().any(|entry| entry.verdict().is_some()), "audits, too");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_changes_nothing_and_leaves_the_peer_able_to_hear(shouts in shouts()) {
        let mut scene = Scene::new(&[0, 1, 2]);
        for shout in shouts {
            scene.shout(shout);
            scene.check();
        }
        scene.wait(120_000); // nobody is sent away for longer
        for item in overheard().entries.clone() {
            scene.hear(1, Message::Entries { items: vec![item] }.encode());
        }
        scene.check();
        prop_assert!(overheard().hashes.iter().all(|hash| holds(&scene.node, hash)), "all valid entries are taken");
    }

    #[test]
    fn garbage_while_joining_changes_nothing(shouts in shouts()) {
        let mut scene = Scene::new(&[1, 2]);
        for shout in shouts {
            scene.shout(shout);
            scene.check();
        }
    }
}

fn holds(node: &Node, hash: &Hash) -> bool {
    node.fold().log().records().any(|record| record.entry.hash() == *hash)
}
