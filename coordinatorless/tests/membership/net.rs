//! A simulated network for membership tests: connections, datagrams and virtual time from a seed. Unlike the swarm
//! tests' network it addresses nodes by index, so that two nodes may share an identity, and it is light enough for
//! hundreds of nodes.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use murmur_collectives::{Entry, Founder, Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{
    Closing, Config, DownReason, Event, Input, Kind, Message, Node, Output, PeerAddress, Reach, Setup, Stored,
    StoredEntry, Time,
};
use murmur_kernels::from_f32;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// One-way delay of every datagram and message.
const ONE_WAY_DELAY: Duration = Duration::from_millis(20);

/// Inputs in flight. An input sent on a connection is lost if that connection was replaced meanwhile.
enum InFlight {
    Dial { by: usize, address: SocketAddr, expect: Option<PeerId> },
    OnConnection { from: usize, connection: u64, input: Input },
    Local(Input),
}

pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) config: Config,
    pub(crate) loss_percent: u64,
    pub(crate) nodes: BTreeMap<usize, Node>,
    pub(crate) events: Vec<(usize, Event)>,
    pub(crate) books: BTreeMap<usize, Vec<PeerAddress>>,
    /// Datagrams and messages sent by each node.
    pub(crate) sent: BTreeMap<usize, (u64, u64)>,
    pub(crate) closed: Vec<(usize, Closing)>,
    /// Stored log of each node, and its newest own record.
    disks: BTreeMap<usize, (Vec<StoredEntry>, Option<StoredEntry>)>,
    /// Each signature in order: the node that made it, and the author, sequence number and hash of the entry.
    pub(crate) signed: Vec<(usize, PeerId, u32, Hash)>,
    /// Connections opened so far.
    pub(crate) connections_made: u64,
    /// Nodes on one side of a partition; empty without one.
    pub(crate) apart: BTreeSet<usize>,
    stopped: BTreeSet<usize>,
    keys: BTreeMap<usize, Identity>,
    key_numbers: BTreeMap<usize, usize>,
    /// Connections of each node by peer: the other node's index and the connection number.
    connections: BTreeMap<usize, BTreeMap<PeerId, (usize, u64)>>,
    in_flight: BTreeMap<(Time, u64), (usize, InFlight)>,
    /// The next timeout of each node.
    timers: BTreeMap<usize, Time>,
    sequence: u64,
    pub(crate) rng: ChaCha8Rng,
    rules: Rules,
    genesis: Vec<i64>,
}

pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(index + 1).expect("few enough")))
}

pub(crate) fn identity(key: usize) -> Identity {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&(key as u64).to_le_bytes());
    Identity::from_secret(&secret)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Time until a dial without an answer fails.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

impl Net {
    pub(crate) fn new(seed: u64, founders: usize) -> Self {
        let rules = Rules {
            parameters: 64,
            top: 64,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16,
            clip_q16: ONE_Q16,
            tokens_per_step: 10,
            segment_tokens: 100,
            steps_max: 10,
            frontier_every_tokens: 0,
            class: None,
            token_budget: 1_000_000,
            audit_rate_q16: 0,
            audit_quorum: 2,
            span: 1,
            founders: (0..founders).map(|key| Node::founder(&identity(key))).collect::<Vec<Founder>>(),
        };
        Self {
            now: Time::default(),
            config: Config::default(),
            loss_percent: 0,
            nodes: BTreeMap::new(),
            events: Vec::new(),
            books: BTreeMap::new(),
            sent: BTreeMap::new(),
            closed: Vec::new(),
            disks: BTreeMap::new(),
            signed: Vec::new(),
            connections_made: 0,
            apart: BTreeSet::new(),
            stopped: BTreeSet::new(),
            keys: BTreeMap::new(),
            key_numbers: BTreeMap::new(),
            connections: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            timers: BTreeMap::new(),
            sequence: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            rules,
            genesis: from_f32(&[0.5; 64]).expect("finite"),
        }
    }

    /// A network of `peers` nodes, each introduced to the first, after they have joined.
    pub(crate) fn founded(seed: u64, peers: usize) -> Self {
        let mut net = Self::new(seed, peers);
        net.settle_in(peers);
        net
    }

    pub(crate) fn settle_in(&mut self, peers: usize) {
        for index in 0..peers {
            self.start(index, index);
            self.introduce(index, 0);
            self.pass(Duration::from_millis(50));
        }
        self.pass(seconds(10));
    }

    /// Starts a node at `index` on a copy of the present disk of `original`.
    pub(crate) fn start_copy(&mut self, index: usize, original: usize) {
        let key = self.key_numbers[&original];
        self.disks.insert(index, self.disks[&original].clone());
        self.books.insert(index, self.books.get(&original).cloned().unwrap_or_default());
        self.start_on_disk(index, key);
    }

    /// Starts a node at `index` with key number `key` and only its former address book.
    pub(crate) fn start(&mut self, index: usize, key: usize) {
        self.disks.remove(&index);
        self.start_on_disk(index, key);
    }

    /// Starts a node at `index` with key number `key` on its former disk.
    pub(crate) fn start_on_disk(&mut self, index: usize, key: usize) {
        let (entries, head) = self.disks.get(&index).cloned().unwrap_or_default();
        self.key_numbers.insert(index, key);
        let node = Node::new(Setup {
            manifest: vec![1],
            run: Hash([9; 32]),
            rules: self.rules.clone(),
            genesis: self.genesis.clone().into(),
            identity: identity(key),
            class: Hash([7; 32]),
            config: self.config.clone(),
            seed: index as u64,
            incarnation: self.now.0 + 1,
            address_book: self.books.get(&index).cloned().unwrap_or_default(),
            stored: Stored { entries, head, ..Stored::default() },
        });
        self.nodes.insert(index, node);
        self.keys.insert(index, identity(key));
        self.drain(index);
    }

    pub(crate) fn introduce(&mut self, index: usize, to: usize) {
        if index != to {
            self.handle(index, Input::Introduce { address: address(to) });
        }
    }

    /// Kills the process. Its connections break at once.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes.remove(&index);
        self.timers.remove(&index);
        self.stopped.remove(&index);
        self.in_flight.retain(|_, (to, _)| *to != index);
        for (other, _) in self.connections.remove(&index).unwrap_or_default().into_values() {
            self.drop_end(other, index);
        }
    }

    /// Stops the process; inputs to it wait until `wake`.
    pub(crate) fn stop(&mut self, index: usize) {
        self.stopped.insert(index);
    }

    pub(crate) fn wake(&mut self, index: usize) {
        self.stopped.remove(&index);
        let overdue: Vec<_> = self.in_flight.keys().filter(|(at, _)| *at <= self.now).copied().collect();
        for key in overdue {
            if let Some((to, in_flight)) = self.in_flight.remove(&key) {
                self.deliver(to, in_flight);
            }
        }
    }

    /// Partitions the nodes and breaks every connection between the two sides.
    pub(crate) fn cut(&mut self, apart: impl Iterator<Item = usize>) {
        self.apart = apart.collect();
        for index in self.apart.clone() {
            let others: Vec<usize> = self.connections[&index]
                .values()
                .map(|(other, _)| *other)
                .filter(|o| !self.apart.contains(o))
                .collect();
            for other in others {
                self.drop_end(index, other);
                self.drop_end(other, index);
            }
        }
    }

    fn drop_end(&mut self, index: usize, other: usize) {
        let peer = self.keys[&other].peer_id();
        let connections = self.connections.entry(index).or_default();
        if connections.get(&peer).is_some_and(|(at, _)| *at == other) {
            connections.remove(&peer);
            self.schedule(index, Duration::ZERO, InFlight::Local(Input::Disconnected { peer }));
        }
    }

    /// Breaks the connection between two nodes.
    pub(crate) fn part(&mut self, a: usize, b: usize) {
        self.drop_end(a, b);
        self.drop_end(b, a);
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.sequence += 1;
        self.connections_made += 1;
        let number = self.sequence;
        for (local, remote) in [(a, b), (b, a)] {
            let peer = self.keys[&remote].peer_id();
            let before = self.connections.entry(local).or_default().insert(peer, (remote, number));
            if let Some((other, _)) = before.filter(|(other, _)| *other != remote) {
                // The transport keeps the newer of two connections with one key and closes the older one at its far
                // end.
                self.drop_end(other, local);
            }
            self.schedule(
                local,
                Duration::ZERO,
                InFlight::Local(Input::Connected { peer, address: address(remote), reach: Reach::Direct }),
            );
        }
    }

    fn schedule(&mut self, to: usize, delay: Duration, input: InFlight) {
        self.sequence += 1;
        self.in_flight.insert((self.now + delay, self.sequence), (to, input));
    }

    pub(crate) fn handle(&mut self, index: usize, input: Input) {
        if let Some(node) = self.nodes.get_mut(&index) {
            node.handle(self.now, input);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        while let Some(output) = self.nodes.get_mut(&index).and_then(Node::poll_output) {
            match output {
                Output::AddressBook { peers } => drop(self.books.insert(index, peers)),
                Output::Close { peer, reason } => self.close(index, peer, reason),
                Output::Datagram { to, bytes } => self.send(index, to, None, bytes),
                Output::DialThrough { .. } => {} // these networks have no relays
                Output::Dial { address, expect } => {
                    let to = usize::from(address.port()) - 1;
                    self.schedule(to, ONE_WAY_DELAY, InFlight::Dial { by: index, address, expect });
                }
                Output::Event(event) => self.events.push((index, event)),
                Output::Send { to, kind, bytes } => self.send(index, to, Some(kind), bytes),
                Output::Append { record, durable } => self.store(index, record, durable),
                Output::KeepChunk { .. } | Output::Reset => {}
                Output::Compact(_) | Output::Signing { .. } => {} // no work, so nothing becomes final
            }
        }
        match self.nodes.get(&index).and_then(Node::poll_timeout) {
            Some(at) => self.timers.insert(index, at),
            None => self.timers.remove(&index),
        };
    }

    fn store(&mut self, index: usize, record: StoredEntry, durable: bool) {
        let (entries, head) = self.disks.entry(index).or_default();
        if durable {
            *head = Some(record.clone());
            let entry = Entry::check(record.entry.clone()).expect("signed by this node");
            // A restarted or copied node fetches entries of its own chain from peers and appends them again. Only the
            // first append is a signature.
            let (author, seq, hash) = (entry.author(), entry.seq(), entry.hash());
            if !self.signed.iter().any(|(_, a, s, h)| (*a, *s, *h) == (author, seq, hash)) {
                self.signed.push((index, author, seq, hash));
            }
        }
        entries.push(record);
    }

    /// Nodes connected with the node at `index`.
    pub(crate) fn connected(&self, index: usize) -> Vec<usize> {
        self.connections.get(&index).into_iter().flatten().map(|(_, (other, _))| *other).collect()
    }

    fn close(&mut self, index: usize, peer: PeerId, reason: Closing) {
        self.closed.push((index, reason));
        let gone = self.connections.entry(index).or_default().remove(&peer);
        gone.into_iter().for_each(|(other, _)| self.drop_end(other, index));
    }

    fn send(&mut self, index: usize, to: PeerId, kind: Option<Kind>, bytes: Vec<u8>) {
        let sent = self.sent.entry(index).or_default();
        *(if kind.is_some() { &mut sent.1 } else { &mut sent.0 }) += 1;
        let lost = kind.is_none() && self.rng.next_u64() % 100 < self.loss_percent;
        let Some((other, connection)) = self.connections.entry(index).or_default().get(&to).copied() else { return };
        let from = self.keys[&index].peer_id();
        let input = match kind {
            Some(_) => Input::Message { from, bytes },
            None => Input::Datagram { from, bytes },
        };
        if !lost {
            self.schedule(other, ONE_WAY_DELAY, InFlight::OnConnection { from: index, connection, input });
        }
    }

    fn deliver(&mut self, to: usize, input: InFlight) {
        match input {
            InFlight::Dial { by, address, expect } => self.answer_dial(by, to, address, expect),
            InFlight::Local(input) => self.handle(to, input),
            InFlight::OnConnection { from, connection, input } => {
                let is_open = self.connections.entry(to).or_default().values().any(|open| *open == (from, connection));
                if is_open {
                    self.handle(to, input);
                }
            }
        }
    }

    fn answer_dial(&mut self, by: usize, to: usize, address: SocketAddr, expect: Option<PeerId>) {
        let apart = self.apart.contains(&by) != self.apart.contains(&to);
        let remote = self.keys.get(&to).map(Identity::peer_id).filter(|_| self.nodes.contains_key(&to) && !apart);
        let connected = self.connections.entry(by).or_default().values().any(|(other, _)| *other == to);
        let itself = remote == Some(self.keys[&by].peer_id());
        if !self.nodes.contains_key(&by) {
            return;
        }
        let expected = expect.is_none_or(|expect| remote == Some(expect));
        if remote.is_none() || itself || connected || !expected {
            let twin = itself && by != to;
            let retry = remote.is_none();
            // Only a dial to an address without a node waits for the timeout; a refusal is immediate.
            let after = if retry { DIAL_TIMEOUT } else { Duration::ZERO };
            let failed = Input::DialFailed { address, retry };
            self.schedule(by, after, InFlight::Local(if twin { Input::Twin { address } } else { failed }));
        } else {
            self.connect(by, to);
        }
    }

    /// Advances virtual time by `duration`.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let is_running = |(_, (to, _)): &(&(Time, u64), &(usize, InFlight))| !self.stopped.contains(to);
            let in_flight = self.in_flight.iter().find(is_running).map(|(key, _)| *key);
            let running = self.timers.iter().filter(|(index, _)| !self.stopped.contains(index));
            let timer = running.map(|(index, at)| (*at, *index)).min();
            let next = in_flight.map(|(at, _)| at).into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            match (in_flight.filter(|(at, _)| *at <= next), timer) {
                (Some(key), _) => {
                    let (to, in_flight) = self.in_flight.remove(&key).expect("found above");
                    self.deliver(to, in_flight);
                }
                (None, Some((_, index))) => {
                    if let Some(node) = self.nodes.get_mut(&index) {
                        node.handle_timeout(self.now);
                    }
                    self.drain(index);
                }
                (None, None) => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn id(&self, index: usize) -> PeerId {
        self.keys[&index].peer_id()
    }

    pub(crate) fn has_event(&self, index: usize, event: &Event) -> bool {
        self.events.iter().any(|(at, reported)| *at == index && reported == event)
    }

    /// The reason of the newest `MemberDown` for `other` that the node at `index` reported.
    pub(crate) fn down(&self, index: usize, other: usize) -> Option<DownReason> {
        let other = self.id(other);
        self.events.iter().rev().find_map(|(at, event)| {
            let Event::MemberDown { peer, reason } = event else { return None };
            (*at == index && *peer == other).then_some(*reason)
        })
    }

    /// The membership counts that live nodes report.
    pub(crate) fn member_counts(&self) -> BTreeSet<usize> {
        self.nodes.values().map(|node| node.members().len()).collect()
    }

    /// Hands the node at `to` a message, or raw bytes as a datagram, that a hostile node could send as `from`.
    pub(crate) fn inject(&mut self, from: usize, to: usize, message: Option<&Message>, bytes: Vec<u8>) {
        let from = self.id(from);
        let input = match message {
            Some(message) => Input::Message { from, bytes: message.encode() },
            None => Input::Datagram { from, bytes },
        };
        self.handle(to, input);
    }
}
