//! A rank as a process of its own, over the transport of any peer: the hidden `murmur baseline-rank`.
//!
//! Lines of JSON, in this order: it reads a [`Start`], says [`Said::Ready`] with its key and address, reads a [`Ranks`], connects
//! to those below it, says [`Said::Met`], waits for a line to begin, trains, says [`Said::Trained`], waits for a line to end, and
//! says [`Said::Done`].

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use murmur_collectives::{Collective, Identity, PeerId};
use murmur_quic::{Events, Priority, SendError, Traffic, Transport, TransportConfig, TransportEvent};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::rank::{Rank, Task};
use crate::bench::suite::Point;
use crate::error::{Exit, Failure};
use crate::run::identity_file;

/// How long the others may say nothing before they are given up.
const SILENCE: Duration = Duration::from_secs(120);

/// How long a full queue is left alone.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// How long the last messages may take.
const DRAIN: Duration = Duration::from_secs(30);

/// What a rank is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Name of the method.
    pub method: String,
    /// Settings after the method's own.
    pub sets: Vec<String>,
    /// Momentum of the outer step.
    pub momentum: f32,
    /// Which rank.
    pub rank: usize,
    /// How many there are.
    pub peers: usize,
    /// Where it listens.
    pub listen: IpAddr,
    /// Threads it computes with.
    pub threads: usize,
}

/// All ranks, by number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ranks(pub Vec<(String, SocketAddr)>);

/// What a rank says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It listens.
    Ready {
        /// Its key, hex.
        peer: String,
        /// Its address.
        address: SocketAddr,
    },
    /// It is connected to all.
    Met,
    /// It has trained.
    Trained,
    /// What it measured.
    Done {
        /// The loss along the way: tokens, seconds, bytes of this rank, loss. Empty if another rank has the same model.
        curve: Vec<(u64, f64, u64, f64)>,
        /// Seconds of training.
        seconds: f64,
        /// Bytes of UDP payload that it sent while training.
        sent_bytes: u64,
        /// Of the seconds, those in which it computed.
        compute_seconds: f64,
    },
}

/// Runs a rank, over stdin and stdout.
///
/// # Errors
/// [`Exit::NoPeers`] when a rank is gone or silent; those of [`super::in_process::train`].
pub fn run() -> Result<(), Failure> {
    let mut lines = io::stdin().lock().lines();
    let mut next = || -> Result<String, Failure> {
        let gone = || Failure::new(Exit::TryAgain, "the benchmark that started this rank is gone");
        lines.next().and_then(Result::ok).ok_or_else(gone)
    };
    let start: Start = read(&next()?)?;
    let task = Task::new(start.method.parse()?, start.peers, Some(start.momentum), &start.sets)?;
    let mut rank = Rank::new(&task, start.rank, start.threads)?;
    let runtime =
        Runtime::new().map_err(|error| Failure::new(Exit::Device, "cannot start the network").because(error))?;
    let identity = identity_file::generate()?;
    let mut network = Network::bind(&runtime, &identity, &start)?;
    let peer = identity.peer_id().to_string();
    say(&Said::Ready { peer, address: network.transport.local_addr() })?;
    network.meet(read(&next()?)?)?;
    say(&Said::Met)?;
    next()?;
    let trained = train(&mut rank, &mut network)?;
    say(&Said::Trained)?;
    // Others may still exchange something with this rank.
    next()?;
    let measures = start.rank == 0 || !task.method.has_one_model();
    say(&trained.done(network, measures.then_some(&mut rank))?)
}

/// What training took.
struct Trained {
    seconds: f64,
    compute: Duration,
    /// Bytes that the transport had sent when it began.
    before: u64,
}

fn train(rank: &mut Rank, network: &mut Network<'_>) -> Result<Trained, Failure> {
    let (begun, before) = (Instant::now(), network.transport.traffic().udp_tx_bytes);
    let mut compute = Duration::ZERO;
    loop {
        let sent = network.transport.traffic().udp_tx_bytes - before;
        rank.keep(begun.elapsed().as_secs_f64(), sent);
        if rank.is_over() {
            return Ok(Trained { seconds: begun.elapsed().as_secs_f64(), compute, before });
        }
        let computing = Instant::now();
        rank.contribute()?;
        compute += computing.elapsed();
        loop {
            while let Some(message) = rank.collective.poll() {
                network.send(message.to, message.bytes)?;
            }
            if rank.collective.is_ready() {
                break;
            }
            if let Some(bad) = rank.collective.failure() {
                return Err(Failure::new(Exit::Bug, "a round of a baseline cannot end").because(bad));
            }
            rank.collective.handle(network.receive()?);
        }
    }
}

impl Trained {
    /// Sends what is still queued, and measures the loss of `rank`, if it is given.
    fn done(self, network: Network<'_>, rank: Option<&mut Rank>) -> Result<Said, Failure> {
        let sent_bytes = network.end().udp_tx_bytes - self.before;
        let row = |point: Point| (point.tokens, point.seconds, point.bytes, point.loss);
        let curve = rank.map(Rank::curve).transpose()?.unwrap_or_default();
        let curve = curve.into_iter().map(row).collect();
        Ok(Said::Done { curve, seconds: self.seconds, sent_bytes, compute_seconds: self.compute.as_secs_f64() })
    }
}

/// The transport, and which peer is which rank.
struct Network<'a> {
    runtime: &'a Runtime,
    transport: Transport,
    events: Events,
    rank: usize,
    ranks: Vec<PeerId>,
    /// Messages that came while one was sent, in order.
    waiting: std::collections::VecDeque<(usize, Vec<u8>)>,
}

impl<'a> Network<'a> {
    fn bind(runtime: &'a Runtime, identity: &Identity, start: &Start) -> Result<Self, Failure> {
        let _inside = runtime.enter();
        let config = TransportConfig::new(SocketAddr::from((start.listen, 0)));
        let bound = Transport::bind(identity, config);
        let (transport, events) =
            bound.map_err(|error| Failure::new(Exit::Device, "cannot open the rank's socket").because(error))?;
        let waiting = std::collections::VecDeque::new();
        Ok(Self { runtime, transport, events, rank: start.rank, ranks: Vec::new(), waiting })
    }

    /// Connects to all ranks: dials those below, is dialed by those above.
    fn meet(&mut self, Ranks(ranks): Ranks) -> Result<(), Failure> {
        let own = self.transport.peer_id().to_string();
        let mut connected = std::collections::BTreeSet::new();
        for (peer, address) in ranks.iter().take(self.rank) {
            self.transport.dial(*address, parse_peer(peer));
        }
        while connected.len() + 1 < ranks.len() {
            if let TransportEvent::Connected { peer, .. } = self.event()? {
                connected.insert(peer.to_string());
            }
        }
        let known = ranks.iter().all(|(peer, _)| *peer == own || connected.contains(peer));
        let peers: Option<Vec<PeerId>> = ranks.iter().map(|(peer, _)| parse_peer(peer)).collect();
        match peers.filter(|_| known) {
            Some(peers) => self.ranks = peers,
            None => return Err(Failure::new(Exit::NoPeers, "a stranger connected to this rank")),
        }
        Ok(())
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<(), Failure> {
        let (peer, bytes) = (self.ranks[to], Bytes::from(bytes));
        let begun = Instant::now();
        loop {
            match self.transport.send(peer, Priority::Payload, bytes.clone()) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) if begun.elapsed() < SILENCE => {
                    let waited = self.runtime.block_on(async { timeout(QUEUE_FULL, self.events.recv()).await });
                    if let Ok(Some(event)) = waited {
                        let message = self.message(event)?;
                        self.waiting.extend(message);
                    }
                }
                Err(error) => {
                    let message = format!("cannot send to rank {to}");
                    return Err(Failure::new(Exit::NoPeers, message).because(error));
                }
            }
        }
    }

    fn receive(&mut self) -> Result<(usize, Vec<u8>), Failure> {
        if let Some(message) = self.waiting.pop_front() {
            return Ok(message);
        }
        loop {
            let event = self.event()?;
            if let Some(message) = self.message(event)? {
                return Ok(message);
            }
        }
    }

    fn message(&self, event: TransportEvent) -> Result<Option<(usize, Vec<u8>)>, Failure> {
        let rank = |peer: PeerId| self.ranks.iter().position(|other| *other == peer);
        match event {
            TransportEvent::Message { from, bytes } => Ok(rank(from).map(|rank| (rank, bytes))),
            TransportEvent::Disconnected { peer, reason } => {
                let message =
                    format!("rank {} is gone", rank(peer).map_or_else(|| "?".to_owned(), |rank| rank.to_string()));
                Err(Failure::new(Exit::NoPeers, message).because(reason))
            }
            TransportEvent::Connected { .. }
            | TransportEvent::Moved { .. }
            | TransportEvent::Datagram { .. }
            | TransportEvent::DialFailed { .. }
            | TransportEvent::DialThroughFailed { .. }
            | TransportEvent::Refused { .. } => Ok(None),
        }
    }

    fn event(&mut self) -> Result<TransportEvent, Failure> {
        let silent = || Failure::new(Exit::NoPeers, format!("no rank said anything for {} s", SILENCE.as_secs()));
        let next = self.runtime.block_on(async { timeout(SILENCE, self.events.recv()).await });
        next.ok().flatten().ok_or_else(silent)
    }

    /// Sends what is queued and closes; what was sent in all.
    fn end(self) -> Traffic {
        self.runtime.block_on(self.transport.clone().shutdown(DRAIN));
        self.transport.traffic()
    }
}

fn parse_peer(text: &str) -> Option<PeerId> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok().map(PeerId)
}

fn read<T: for<'a> Deserialize<'a>>(line: &str) -> Result<T, Failure> {
    serde_json::from_str(line)
        .map_err(|error| Failure::new(Exit::Usage, "this line is not what a rank reads").because(error))
}

fn say(said: &Said) -> Result<(), Failure> {
    let line = serde_json::to_string(said).expect("what a rank says is JSON");
    let gone = |error| Failure::new(Exit::TryAgain, "nobody hears this rank").because(error);
    writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()).map_err(gone)
}
