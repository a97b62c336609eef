//! A simulated network of nodes in virtual time: random delays, losses, duplicates, and nodes that are killed and
//! restarted.

mod queries;

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use murmur_collectives::{Entry, Founder, Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{Config, Draft, Event, Input, Message, Node, Output, Reach, Setup, Stored, Time};
use murmur_kernels::{CHUNK, compress, from_f32};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::disk::Disk;

/// Two chunks and a short one.
pub(crate) const PARAMETERS: usize = 8200;

/// Seed, network faults and rules of a test.
#[derive(Clone, Copy)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) loss_percent: u64,
    pub(crate) double_percent: u64,
    pub(crate) audit_rate_q16: u32,
    pub(crate) frontier_every_tokens: u64,
}

impl World {
    pub(crate) fn calm(seed: u64) -> Self {
        Self { seed, loss_percent: 0, double_percent: 0, audit_rate_q16: 0, frontier_every_tokens: 0 }
    }
}

/// What the network delivers to a node.
#[derive(Clone)]
enum Delivery {
    Connected(PeerId, SocketAddr),
    Disconnected(PeerId),
    DialFailed(SocketAddr),
    Message(PeerId, Vec<u8>),
    Datagram(PeerId, Vec<u8>),
}

impl From<Delivery> for Input {
    fn from(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Connected(peer, address) => Self::Connected { peer, address, reach: Reach::Direct },
            Delivery::Disconnected(peer) => Self::Disconnected { peer },
            Delivery::DialFailed(address) => Self::DialFailed { address, retry: true },
            Delivery::Message(from, bytes) => Self::Message { from, bytes },
            Delivery::Datagram(from, bytes) => Self::Datagram { from, bytes },
        }
    }
}

pub(crate) struct Net {
    world: World,
    rules: Rules,
    run: Hash,
    pub(crate) now: Time,
    rng: ChaCha8Rng,
    identities: Vec<Identity>,
    pub(crate) nodes: BTreeMap<usize, Node>,
    pub(crate) disks: BTreeMap<usize, Disk>,
    in_flight: BTreeMap<(Time, u64), (usize, Delivery)>,
    sequence: u64,
    pub(crate) links: BTreeSet<(usize, usize)>,
    pub(crate) events: Vec<(usize, Event)>,
    /// Hash of each signed entry by author and sequence number, to detect an honest node that forks its own chain.
    signed: BTreeMap<(PeerId, u32), Hash>,
    /// Peers whose updates fail every honest audit.
    pub(crate) cheats: BTreeSet<usize>,
    pub(crate) bytes: u64,
    pub(crate) chunks_sent: u64,
    /// While set, dials fail.
    pub(crate) cut: bool,
    /// While set, dials stay unanswered.
    pub(crate) silent: bool,
    /// Peers that send no chunk of a payload.
    pub(crate) withholds: BTreeSet<usize>,
    /// Peers that send wrong ones.
    pub(crate) spoils: BTreeSet<usize>,
    /// Payloads sent in chunks, and with their entries: how many messages.
    pub(crate) payload_messages: [u64; 2],
    /// Configuration of nodes started from now on.
    pub(crate) config: Config,
}

impl Net {
    /// A network of `peers` identities, of which the first `founders` found the run. No node runs yet.
    pub(crate) fn new(world: World, peers: usize, founders: usize) -> Self {
        let identities: Vec<Identity> = (0..peers).map(|n| Identity::from_secret(&[n as u8 + 1; 32])).collect();
        let rules = Rules {
            parameters: PARAMETERS as u64,
            top: 64,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16 / 2,
            clip_q16: ONE_Q16 * 3 / 2,
            tokens_per_step: 10,
            segment_tokens: 100,
            steps_max: 10,
            token_budget: 1_000_000,
            audit_rate_q16: world.audit_rate_q16,
            audit_quorum: 2,
            span: 1,
            frontier_every_tokens: world.frontier_every_tokens,
            class: None,
            founders: identities[..founders].iter().map(Node::founder).collect::<Vec<Founder>>(),
        };
        Self {
            world,
            rules,
            run: Hash([9; 32]),
            now: Time::default(),
            rng: ChaCha8Rng::seed_from_u64(world.seed),
            identities,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            links: BTreeSet::new(),
            events: Vec::new(),
            signed: BTreeMap::new(),
            cheats: BTreeSet::new(),
            bytes: 0,
            chunks_sent: 0,
            cut: false,
            silent: false,
            withholds: BTreeSet::new(),
            spoils: BTreeSet::new(),
            payload_messages: [0; 2],
            config: Config::default(),
        }
    }

    /// The same, with a model of so many parameters, all of which an update carries.
    pub(crate) fn dense(world: World, peers: usize, parameters: u64) -> Self {
        let mut net = Self::new(world, peers, peers);
        (net.rules.parameters, net.rules.top) = (parameters, CHUNK as u16);
        net
    }

    pub(crate) fn id(&self, peer: usize) -> PeerId {
        self.identities[peer].peer_id()
    }

    pub(crate) fn genesis() -> Vec<i64> {
        from_f32(&vec![0.5; PARAMETERS]).expect("finite")
    }

    pub(crate) fn identity(&self, peer: usize) -> &Identity {
        &self.identities[peer]
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn run_id(&self) -> Hash {
        self.run
    }

    /// Starts a node from its disk and connects it with all running nodes.
    pub(crate) fn start(&mut self, peer: usize) {
        let disk = self.disks.entry(peer).or_default().clone();
        let config = self.config.clone();
        let mut node = Node::new(Setup {
            manifest: vec![1, 2, 3],
            run: self.run,
            rules: self.rules.clone(),
            genesis: from_f32(&vec![0.5; self.rules.parameter_count()]).expect("finite").into(),
            identity: self.identities[peer].clone(),
            class: Hash([7; 32]),
            config,
            seed: peer as u64,
            incarnation: self.now.0 + 1,
            address_book: disk.address_book,
            stored: Stored {
                entries: disk.entries,
                compacted: disk.compacted,
                fetched: disk.fetched,
                signing: disk.signing,
                head: disk.head,
                carries: disk.carries,
            },
        });
        node.handle_timeout(self.now);
        self.nodes.insert(peer, node);
        self.drain(peer);
        let others: Vec<usize> = self.nodes.keys().copied().filter(|other| *other != peer).collect();
        others.into_iter().for_each(|other| self.connect(peer, other));
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        if !self.links.insert((a.min(b), a.max(b))) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            self.schedule(one, &Delivery::Connected(self.id(other), address(other)));
        }
    }

    pub(crate) fn disconnect(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))) {
            for (one, other) in [(a, b), (b, a)] {
                self.schedule(one, &Delivery::Disconnected(self.id(other)));
            }
        }
    }

    /// Kills a node; only its disk remains.
    pub(crate) fn kill(&mut self, peer: usize) {
        self.nodes.remove(&peer);
        self.in_flight.retain(|_, (to, _)| *to != peer);
        let others: Vec<usize> = self.nodes.keys().copied().collect();
        others.into_iter().for_each(|other| self.disconnect(peer, other));
    }

    /// Damages the log file: only its first record is left. The head file stays intact.
    pub(crate) fn damage_log(&mut self, peer: usize) {
        self.disks.entry(peer).or_default().entries.truncate(1);
    }

    /// Indices of the state chunks that a node has stored so far.
    pub(crate) fn chunks_kept(&self, peer: usize) -> Vec<u32> {
        let fetched = self.disks.get(&peer).and_then(|disk| disk.fetched.as_ref());
        fetched.map_or_else(Vec::new, |fetched| fetched.chunks.iter().copied().collect())
    }

    /// Flips a bit in a stored chunk.
    pub(crate) fn spoil_chunk(&mut self, peer: usize, index: u32) {
        let fetched = self.disks.get_mut(&peer).and_then(|disk| disk.fetched.as_mut());
        if let Some(fetched) = fetched.filter(|fetched| fetched.chunks.contains(&index)) {
            fetched.state[index as usize * CHUNK] ^= 1;
        }
    }

    /// Loses the stored state of the final frontier, as a damaged file would.
    pub(crate) fn lose_final_state(&mut self, peer: usize) {
        self.disks.entry(peer).or_default().compacted = None;
    }

    fn schedule(&mut self, to: usize, delivery: &Delivery) {
        let is_lossy = matches!(delivery, Delivery::Message(..) | Delivery::Datagram(..));
        let copies = match self.rng.next_u64() % 100 {
            draw if is_lossy && draw < self.world.loss_percent => 0,
            draw if is_lossy && draw < self.world.loss_percent + self.world.double_percent => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_micros(1000 + self.rng.next_u64() % 50_000);
            let delay = if is_lossy { delay } else { Duration::from_micros(1) };
            self.sequence += 1;
            self.in_flight.insert((self.now + delay, self.sequence), (to, delivery.clone()));
        }
    }

    /// Hands raw bytes to a node as a message from another, as a hostile peer could send them.
    pub(crate) fn inject(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        let from = self.id(from);
        self.handle(to, Input::Message { from, bytes });
    }

    pub(crate) fn handle(&mut self, peer: usize, input: Input) {
        if let Some(node) = self.nodes.get_mut(&peer) {
            node.handle(self.now, input);
            self.drain(peer);
        }
    }

    fn drain(&mut self, peer: usize) {
        while let Some(output) = self.nodes.get_mut(&peer).and_then(Node::poll_output) {
            let disk = self.disks.entry(peer).or_default();
            match output {
                Output::Append { record, durable } => {
                    if durable {
                        disk.head = Some(record.clone());
                        let entry = Entry::check(record.entry.clone()).expect("signed by this node");
                        let (name, hash) = ((entry.author(), entry.seq()), entry.hash());
                        assert_eq!(*self.signed.entry(name).or_insert(hash), hash, "peer {peer} forks its own chain");
                    }
                    disk.entries.push(record);
                }
                Output::Compact(compacted) => {
                    disk.entries = compacted.records;
                    disk.compacted = Some((compacted.proof, compacted.state));
                    disk.fetched = None;
                }
                Output::KeepChunk { root, index, bytes } => disk.keep_chunk((root, index), &bytes),
                Output::Signing { bytes } => disk.signing = Some(bytes),
                Output::Reset => (disk.entries, disk.compacted) = (Vec::new(), None),
                Output::Send { to, bytes, .. } => {
                    let Some(bytes) = self.sent_by(peer, bytes) else { continue };
                    self.bytes += bytes.len() as u64;
                    self.chunks_sent += u64::from(matches!(Message::decode(&bytes), Ok(Message::Chunk { .. })));
                    let to = self.index(to);
                    let from = self.id(peer);
                    if self.links.contains(&(peer.min(to), peer.max(to))) {
                        self.schedule(to, &Delivery::Message(from, bytes));
                    }
                }
                Output::Datagram { to, bytes } => {
                    self.bytes += bytes.len() as u64;
                    let to = self.index(to);
                    let from = self.id(peer);
                    if self.links.contains(&(peer.min(to), peer.max(to))) {
                        self.schedule(to, &Delivery::Datagram(from, bytes));
                    }
                }
                Output::Close { peer: other, .. } => self.disconnect(peer, self.index(other)),
                Output::AddressBook { peers } => disk.address_book = peers,
                Output::Dial { .. } if self.silent => {}
                Output::Dial { address, .. } => {
                    let other = usize::from(address.port());
                    if self.nodes.contains_key(&other) && !self.cut {
                        self.connect(peer, other);
                    } else {
                        self.schedule(peer, &Delivery::DialFailed(address));
                    }
                }
                Output::DialThrough { .. } => {} // these networks have no relays
                Output::Event(event) => self.on_event(peer, &event),
            }
        }
    }

    fn on_event(&mut self, peer: usize, event: &Event) {
        self.events.push((peer, event.clone()));
        if let Event::AuditReady { update } = *event {
            let passed = !self.cheats.contains(&self.index(update.author));
            let is_replayable = self.nodes[&peer].audit_job(update).is_some();
            // A peer that messages were lost to may have caught up since from a checkpoint, which has no old payloads.
            assert!(is_replayable || self.world.loss_percent > 0, "an audit that is ready has all it needs");
            let judged = Input::Judged { update, passed, replay: Hash([5; 32]) };
            self.handle(peer, if is_replayable { judged } else { Input::Unjudged { update } });
        }
    }

    pub(crate) fn index(&self, peer: PeerId) -> usize {
        self.identities.iter().position(|identity| identity.peer_id() == peer).expect("a peer of this network")
    }

    /// Advances virtual time by `duration`.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let in_flight = self.in_flight.keys().next().map(|(at, _)| *at);
            let timer = self.nodes.values().filter_map(Node::poll_timeout).min();
            let Some(next) = in_flight.into_iter().chain(timer).min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            match in_flight.filter(|at| *at <= next) {
                Some(_) => {
                    let (_, (to, delivery)) = self.in_flight.pop_first().expect("found above");
                    self.handle(to, delivery.into());
                }
                None => self.handle_timeouts(next),
            }
        }
        self.now = end;
    }

    fn handle_timeouts(&mut self, at: Time) {
        let due: Vec<usize> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.poll_timeout().is_some_and(|t| t <= at))
            .map(|(p, _)| *p)
            .collect();
        for peer in due {
            if let Some(node) = self.nodes.get_mut(&peer) {
                node.handle_timeout(at);
            }
            self.drain(peer);
        }
    }

    /// Authors a segment, if the node may train.
    pub(crate) fn author(&mut self, peer: usize) {
        if self.nodes.get(&peer).is_some_and(Node::is_caught_up) {
            let draft = self.draft(peer);
            self.handle(peer, Input::Author(Box::new(draft)));
        }
    }

    /// A simulated segment on the node's present state, with a random gradient and carry.
    pub(crate) fn draft(&mut self, peer: usize) -> Draft {
        let snapshot = self.nodes[&peer].snapshot();
        let parameters = self.rules.parameter_count();
        let start = vec![0.0; parameters];
        let end: Vec<f32> = (0..parameters).map(|_| (self.rng.next_u64() % 1000) as f32 * 1e-5).collect();
        let (mut residual, mut payload) = (vec![0.0; parameters], Vec::new());
        let top = self.rules.top_k();
        compress(top, 0.9, &start, &end, &mut residual, &mut payload).expect("finite");
        let carry: Arc<[u8]> = (0..34_000u32).map(|n| (n as u64 ^ self.rng.next_u64()) as u8).collect();
        let disk = self.disks.entry(peer).or_default();
        disk.carries.push(carry.clone());
        if disk.carries.len() > 2 {
            disk.carries.remove(0);
        }
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
            carry: Some(carry),
        }
    }

    /// Every live node authors `rounds` times, with virtual time in between.
    pub(crate) fn train(&mut self, rounds: usize) {
        for _ in 0..rounds {
            let peers: Vec<usize> = self.nodes.keys().copied().collect();
            for peer in peers {
                self.author(peer);
                self.pass(Duration::from_millis(30));
            }
        }
    }
}

pub(crate) fn address(peer: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], peer as u16))
}
