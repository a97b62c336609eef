//! A network on which nodes only live together: connections, datagrams and time, in virtual time from a seed. Unlike the
//! swarm's, it knows nodes by place, so that two may have one identity, and it is light enough for hundreds.

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

/// One-way delay of everything.
const DELAY: Duration = Duration::from_millis(20);

/// Inputs on their way. A connection has a number, so that what was sent on an old one is lost with it.
enum Mail {
    Dialed { by: usize, address: SocketAddr, expect: Option<PeerId> },
    On { from: usize, connection: u64, input: Input },
    Alone(Input),
}

pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) config: Config,
    pub(crate) loss_percent: u64,
    pub(crate) nodes: BTreeMap<usize, Node>,
    pub(crate) events: Vec<(usize, Event)>,
    pub(crate) books: BTreeMap<usize, Vec<PeerAddress>>,
    /// Datagrams and messages sent.
    pub(crate) sent: BTreeMap<usize, (u64, u64)>,
    pub(crate) closed: Vec<(usize, Closing)>,
    /// The stored log of each place, and its newest own record.
    disks: BTreeMap<usize, (Vec<StoredEntry>, Option<StoredEntry>)>,
    /// Which place signed what at each position of a chain, in the order of signing.
    pub(crate) signed: Vec<(usize, PeerId, u32, Hash)>,
    /// Connections made.
    pub(crate) connections_made: u64,
    /// Nodes on the other side of a partition.
    pub(crate) apart: BTreeSet<usize>,
    asleep: BTreeSet<usize>,
    keys: BTreeMap<usize, Identity>,
    keys_of: BTreeMap<usize, usize>,
    /// For each node its connections: who is there, which place that is, and the connection's number.
    connections: BTreeMap<usize, BTreeMap<PeerId, (usize, u64)>>,
    mail: BTreeMap<(Time, u64), (usize, Mail)>,
    /// What each node says of its next timeout.
    due: BTreeMap<usize, Time>,
    count: u64,
    pub(crate) rng: ChaCha8Rng,
    rules: Rules,
    genesis: Vec<i64>,
}

pub(crate) fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(place + 1).expect("few enough")))
}

pub(crate) fn identity(key: usize) -> Identity {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&(key as u64).to_le_bytes());
    Identity::from_secret(&secret)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long a dial waits that nobody answers.
const UNANSWERED: Duration = Duration::from_secs(5);

impl Net {
    pub(crate) fn new(seed: u64, founders: usize) -> Self {
        let rules = Rules {
            parameters: 64,
            top: 64,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16,
            clip_q16: ONE_Q16,
            tokens_per_step: 10,
            steps_max: 10,
            frontier_every_tokens: 0,
            class: None,
            token_budget: 1_000_000,
            audit_rate_q16: 0,
            audit_quorum: 2,
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
            asleep: BTreeSet::new(),
            keys: BTreeMap::new(),
            keys_of: BTreeMap::new(),
            connections: BTreeMap::new(),
            mail: BTreeMap::new(),
            due: BTreeMap::new(),
            count: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            rules,
            genesis: from_f32(&[0.5; 64]).expect("finite"),
        }
    }

    /// `peers` nodes, introduced to the first one after another, and given time.
    pub(crate) fn founded(seed: u64, peers: usize) -> Self {
        let mut net = Self::new(seed, peers);
        net.settle_in(peers);
        net
    }

    pub(crate) fn settle_in(&mut self, peers: usize) {
        for place in 0..peers {
            self.start(place, place);
            self.introduce(place, 0);
            self.pass(Duration::from_millis(50));
        }
        self.pass(seconds(10));
    }

    /// Starts a node at `place` on a copy of what `original` has on its disk now.
    pub(crate) fn start_copy(&mut self, place: usize, original: usize) {
        let key = self.keys_of[&original];
        self.disks.insert(place, self.disks[&original].clone());
        self.books.insert(place, self.books.get(&original).cloned().unwrap_or_default());
        self.start_on_disk(place, key);
    }

    /// Starts a node with the key numbered `key` at `place`, with nothing but the address book it had there.
    pub(crate) fn start(&mut self, place: usize, key: usize) {
        self.disks.remove(&place);
        self.start_on_disk(place, key);
    }

    /// Starts a node with the key numbered `key` at `place`, with what it had stored there.
    pub(crate) fn start_on_disk(&mut self, place: usize, key: usize) {
        let (entries, head) = self.disks.get(&place).cloned().unwrap_or_default();
        self.keys_of.insert(place, key);
        let node = Node::new(Setup {
            manifest: vec![1],
            run: Hash([9; 32]),
            rules: self.rules.clone(),
            genesis: self.genesis.clone().into(),
            identity: identity(key),
            class: Hash([7; 32]),
            config: self.config.clone(),
            seed: place as u64,
            incarnation: self.now.0 + 1,
            address_book: self.books.get(&place).cloned().unwrap_or_default(),
            stored: Stored { entries, head, ..Stored::default() },
        });
        self.nodes.insert(place, node);
        self.keys.insert(place, identity(key));
        self.drain(place);
    }

    pub(crate) fn introduce(&mut self, place: usize, to: usize) {
        if place != to {
            self.handle(place, Input::Introduce { address: address(to) });
        }
    }

    /// The process is gone; its connections break at once.
    pub(crate) fn kill(&mut self, place: usize) {
        self.nodes.remove(&place);
        self.due.remove(&place);
        self.asleep.remove(&place);
        self.mail.retain(|_, (to, _)| *to != place);
        for peer in self.connections.remove(&place).unwrap_or_default().into_values() {
            self.lose(peer.0, place);
        }
    }

    /// From now on the node does nothing, and what is sent to it waits.
    pub(crate) fn stop(&mut self, place: usize) {
        self.asleep.insert(place);
    }

    pub(crate) fn wake(&mut self, place: usize) {
        self.asleep.remove(&place);
        let missed: Vec<_> = self.mail.keys().filter(|(at, _)| *at <= self.now).copied().collect();
        for key in missed {
            if let Some((to, mail)) = self.mail.remove(&key) {
                self.deliver(to, mail);
            }
        }
    }

    /// Breaks every connection between the two sides.
    pub(crate) fn cut(&mut self, apart: impl Iterator<Item = usize>) {
        self.apart = apart.collect();
        for place in self.apart.clone() {
            let others: Vec<usize> = self.connections[&place]
                .values()
                .map(|(other, _)| *other)
                .filter(|o| !self.apart.contains(o))
                .collect();
            for other in others {
                self.lose(place, other);
                self.lose(other, place);
            }
        }
    }

    fn lose(&mut self, place: usize, other: usize) {
        let peer = self.keys[&other].peer_id();
        let connections = self.connections.entry(place).or_default();
        if connections.get(&peer).is_some_and(|(at, _)| *at == other) {
            connections.remove(&peer);
            self.post(place, Duration::ZERO, Mail::Alone(Input::Disconnected { peer }));
        }
    }

    /// The connection between two places breaks.
    pub(crate) fn part(&mut self, a: usize, b: usize) {
        self.lose(a, b);
        self.lose(b, a);
    }

    fn connect(&mut self, a: usize, b: usize) {
        self.count += 1;
        self.connections_made += 1;
        let number = self.count;
        for (here, there) in [(a, b), (b, a)] {
            let peer = self.keys[&there].peer_id();
            let before = self.connections.entry(here).or_default().insert(peer, (there, number));
            if let Some((other, _)) = before.filter(|(other, _)| *other != there) {
                // The transport keeps the newer of two connections with one key; the older one's far end is cut off.
                self.lose(other, here);
            }
            self.post(
                here,
                Duration::ZERO,
                Mail::Alone(Input::Connected { peer, address: address(there), reach: Reach::Direct }),
            );
        }
    }

    fn post(&mut self, to: usize, delay: Duration, mail: Mail) {
        self.count += 1;
        self.mail.insert((self.now + delay, self.count), (to, mail));
    }

    pub(crate) fn handle(&mut self, place: usize, input: Input) {
        if let Some(node) = self.nodes.get_mut(&place) {
            node.handle(self.now, input);
            self.drain(place);
        }
    }

    fn drain(&mut self, place: usize) {
        while let Some(output) = self.nodes.get_mut(&place).and_then(Node::poll_output) {
            match output {
                Output::AddressBook { peers } => drop(self.books.insert(place, peers)),
                Output::Close { peer, reason } => self.close(place, peer, reason),
                Output::Datagram { to, bytes } => self.send(place, to, None, bytes),
                Output::DialThrough { .. } => {} // nobody volunteers here
                Output::Dial { address, expect } => {
                    let to = usize::from(address.port()) - 1;
                    self.post(to, DELAY, Mail::Dialed { by: place, address, expect });
                }
                Output::Event(event) => self.events.push((place, event)),
                Output::Send { to, kind, bytes } => self.send(place, to, Some(kind), bytes),
                Output::Append { record, durable } => self.store(place, record, durable),
                Output::KeepChunk { .. } | Output::Reset => {}
                Output::Compact(_) | Output::Signing { .. } => {} // no work, so nothing becomes final
            }
        }
        match self.nodes.get(&place).and_then(Node::poll_timeout) {
            Some(at) => self.due.insert(place, at),
            None => self.due.remove(&place),
        };
    }

    fn store(&mut self, place: usize, record: StoredEntry, durable: bool) {
        let (entries, head) = self.disks.entry(place).or_default();
        if durable {
            *head = Some(record.clone());
            let entry = Entry::check(record.entry.clone()).expect("signed by this node");
            // One that others hold came back from them: it was signed at another place.
            let (author, seq, hash) = (entry.author(), entry.seq(), entry.hash());
            if !self.signed.iter().any(|(_, a, s, h)| (*a, *s, *h) == (author, seq, hash)) {
                self.signed.push((place, author, seq, hash));
            }
        }
        entries.push(record);
    }

    /// Who `place` is connected with.
    pub(crate) fn connected(&self, place: usize) -> Vec<usize> {
        self.connections.get(&place).into_iter().flatten().map(|(_, (other, _))| *other).collect()
    }

    fn close(&mut self, place: usize, peer: PeerId, reason: Closing) {
        self.closed.push((place, reason));
        let gone = self.connections.entry(place).or_default().remove(&peer);
        gone.into_iter().for_each(|(other, _)| self.lose(other, place));
    }

    fn send(&mut self, place: usize, to: PeerId, kind: Option<Kind>, bytes: Vec<u8>) {
        let sent = self.sent.entry(place).or_default();
        *(if kind.is_some() { &mut sent.1 } else { &mut sent.0 }) += 1;
        let lost = kind.is_none() && self.rng.next_u64() % 100 < self.loss_percent;
        let Some((other, connection)) = self.connections.entry(place).or_default().get(&to).copied() else { return };
        let from = self.keys[&place].peer_id();
        let input = match kind {
            Some(_) => Input::Message { from, bytes },
            None => Input::Datagram { from, bytes },
        };
        if !lost {
            self.post(other, DELAY, Mail::On { from: place, connection, input });
        }
    }

    fn deliver(&mut self, to: usize, mail: Mail) {
        match mail {
            Mail::Dialed { by, address, expect } => self.answer_dial(by, to, address, expect),
            Mail::Alone(input) => self.handle(to, input),
            Mail::On { from, connection, input } => {
                let up = self.connections.entry(to).or_default().values().any(|up| *up == (from, connection));
                if up {
                    self.handle(to, input);
                }
            }
        }
    }

    fn answer_dial(&mut self, by: usize, to: usize, address: SocketAddr, expect: Option<PeerId>) {
        let apart = self.apart.contains(&by) != self.apart.contains(&to);
        let there = self.keys.get(&to).map(Identity::peer_id).filter(|_| self.nodes.contains_key(&to) && !apart);
        let connected = self.connections.entry(by).or_default().values().any(|(other, _)| *other == to);
        let itself = there == Some(self.keys[&by].peer_id());
        if !self.nodes.contains_key(&by) {
            return;
        }
        let expected = expect.is_none_or(|expect| there == Some(expect));
        if there.is_none() || itself || connected || !expected {
            let twin = itself && by != to;
            let retry = there.is_none();
            // Where nobody is, nobody answers.
            let after = if retry { UNANSWERED } else { Duration::ZERO };
            let failed = Input::DialFailed { address, retry };
            self.post(by, after, Mail::Alone(if twin { Input::Twin { address } } else { failed }));
        } else {
            self.connect(by, to);
        }
    }

    /// Lets `duration` pass.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let awake = |(_, (to, _)): &(&(Time, u64), &(usize, Mail))| !self.asleep.contains(to);
            let mail = self.mail.iter().find(awake).map(|(key, _)| *key);
            let awake = self.due.iter().filter(|(place, _)| !self.asleep.contains(place));
            let timer = awake.map(|(place, at)| (*at, *place)).min();
            let next = mail.map(|(at, _)| at).into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            match (mail.filter(|(at, _)| *at <= next), timer) {
                (Some(key), _) => {
                    let (to, mail) = self.mail.remove(&key).expect("there is mail");
                    self.deliver(to, mail);
                }
                (None, Some((_, place))) => {
                    if let Some(node) = self.nodes.get_mut(&place) {
                        node.handle_timeout(self.now);
                    }
                    self.drain(place);
                }
                (None, None) => break,
            }
        }
        self.now = end;
    }

    pub(crate) fn id(&self, place: usize) -> PeerId {
        self.keys[&place].peer_id()
    }

    pub(crate) fn has_event(&self, place: usize, event: &Event) -> bool {
        self.events.iter().any(|(at, told)| *at == place && told == event)
    }

    /// Why `place` was last told that another is down, if it was.
    pub(crate) fn down(&self, place: usize, other: usize) -> Option<DownReason> {
        let other = self.id(other);
        self.events.iter().rev().find_map(|(at, event)| {
            let Event::MemberDown { peer, reason } = event else { return None };
            (*at == place && *peer == other).then_some(*reason)
        })
    }

    /// How many members each live node knows.
    pub(crate) fn member_counts(&self) -> BTreeSet<usize> {
        self.nodes.values().map(|node| node.members().len()).collect()
    }

    /// Bytes from one place to another as a hostile peer would send them: a datagram, or a message.
    pub(crate) fn inject(&mut self, from: usize, to: usize, message: Option<&Message>, bytes: Vec<u8>) {
        let from = self.id(from);
        let input = match message {
            Some(message) => Input::Message { from, bytes: message.encode() },
            None => Input::Datagram { from, bytes },
        };
        self.handle(to, input);
    }
}
