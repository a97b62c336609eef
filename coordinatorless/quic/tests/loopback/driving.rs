//! Nodes on their drivers: what these make of a host that fails, of neighbours that close connections with whatever code
//! they like, and of two processes with one identity, which take each other's connections.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use murmur_collectives::{Hash, Identity, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::{Compacted, Config, Event, Input, Node, PeerAddress, Setup, Stored, StoredEntry};
use murmur_quic::{CloseReason, Host, Request, TransportEvent, drive};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::peer::{PATIENCE, Peer, until};

/// A host that keeps what it is told. On its disk, if that is full, nothing fits; it numbers the errors it gives.
#[derive(Default)]
struct Witness {
    is_full: bool,
    errors: u32,
    seen: Arc<Mutex<Seen>>,
}

/// What a host was told.
#[derive(Default)]
struct Seen {
    events: Vec<Event>,
    /// Own entries that the node signed.
    signed: Vec<StoredEntry>,
}

impl Seen {
    fn told(&self, event: &Event) -> bool {
        self.events.contains(event)
    }

    /// Whether `peer` is a neighbour after all that was told.
    fn has(&self, peer: PeerId) -> bool {
        let (joined, departed) = (Event::Joined { peer }, Event::Departed { peer });
        self.events.iter().rfind(|event| [&joined, &departed].contains(event)) == Some(&joined)
    }
}

/// The how manyth error of the disk this is.
#[derive(Debug, PartialEq)]
struct Full(u32);

impl Witness {
    fn store(&mut self) -> Result<(), Full> {
        self.errors += u32::from(self.is_full);
        if self.is_full { Err(Full(self.errors)) } else { Ok(()) }
    }
}

impl Host for Witness {
    type Error = Full;

    fn append(&mut self, record: &StoredEntry, durable: bool) -> Result<(), Full> {
        if durable {
            self.seen.lock().unwrap().signed.push(record.clone());
        }
        self.store()
    }

    fn address_book(&mut self, _: &[PeerAddress]) {}

    fn compact(&mut self, _: &Compacted) -> Result<(), Full> {
        self.store()
    }

    fn keep_chunk(&mut self, _: Hash, _: u32, _: &[u8]) {}

    fn signing(&mut self, _: &[u8]) -> Result<(), Full> {
        self.store()
    }

    fn reset(&mut self) -> Result<(), Full> {
        self.store()
    }

    fn event(&mut self, event: Event, _: &mut Node) {
        self.seen.lock().unwrap().events.push(event);
    }

    fn count(&mut self, _: bool, _: &'static str, _: usize) {}

    fn settled(&mut self, _: Duration) {}
}

/// One of the founders of a run, which enrolls as soon as it runs unless it has a past.
fn founder(secret: u8, incarnation: u64, stored: Stored) -> Node {
    let identity = |secret| Identity::from_secret(&[secret; 32]);
    let rules = Rules {
        parameters: 4096,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 10,
        segment_tokens: 100,
        steps_max: 10,
        token_budget: 1000,
        frontier_every_tokens: 0,
        class: None,
        audit_rate_q16: 0,
        audit_quorum: 2,
        span: 1,
        founders: [1, 2].map(|secret| Node::founder(&identity(secret))).into(),
    };
    Node::new(Setup {
        manifest: Vec::new(),
        run: Hash([1; 32]),
        rules,
        genesis: vec![0; 4096].into(),
        identity: identity(secret),
        class: Hash([2; 32]),
        config: Config::default(),
        seed: incarnation,
        incarnation,
        address_book: Vec::new(),
        stored,
    })
}

/// A node on its driver.
struct Driven {
    id: PeerId,
    address: SocketAddr,
    requests: mpsc::Sender<Request>,
    seen: Arc<Mutex<Seen>>,
    driving: JoinHandle<Result<(), Full>>,
}

impl Driven {
    fn start(secret: u8, incarnation: u64, stored: Stored) -> Self {
        let Peer { id, transport, events } = Peer::start(secret);
        let (address, seen) = (transport.local_addr(), Arc::default());
        let (requests, inbox) = mpsc::channel(8);
        let mut host = Witness { seen: Arc::clone(&seen), ..Witness::default() };
        let node = founder(secret, incarnation, stored);
        let driving = tokio::spawn(async move { drive(node, transport, events, inbox, &mut host).await });
        Self { id, address, requests, seen, driving }
    }

    async fn introduce(&self, address: SocketAddr) {
        assert!(self.requests.send(Request::Input(Input::Introduce { address })).await.is_ok());
    }

    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        until(what, || holds(&self.seen.lock().unwrap())).await;
    }

    /// Stops it; it must have run until now.
    async fn stop(self) {
        assert!(self.requests.send(Request::Stop).await.is_ok(), "it still runs");
        assert_eq!(timeout(PATIENCE, self.driving).await.unwrap().unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn the_first_error_of_a_host_ends_the_driver_and_comes_out_as_it_is() {
    let peer = Peer::start(1);
    let (_requests, inbox) = mpsc::channel(1);
    let mut host = Witness { is_full: true, ..Witness::default() };
    let driving = drive(founder(1, 1, Stored::default()), peer.transport, peer.events, inbox, &mut host);
    assert_eq!(timeout(PATIENCE, driving).await.expect("it ends by itself"), Err(Full(1)));
    assert_eq!(host.errors, 1, "nothing is asked of a disk that failed");
}

#[tokio::test]
async fn no_code_with_which_others_close_stops_a_peer() {
    let driven = Driven::start(1, 1, Stored::default());
    let codes = [CloseReason::Evicted, CloseReason::Replaced, CloseReason::Duplicate, CloseReason::Incompatible];
    // Each from two throw-away identities: as many as an audit's quorum.
    for (secret, code) in (3..).zip(codes.iter().flat_map(|code| [code, code])) {
        let mut stranger = Peer::start(secret);
        stranger.transport.dial(driven.address, Some(driven.id));
        // The node's datagrams pass everything else.
        while !matches!(stranger.next().await, TransportEvent::Connected { .. }) {}
        stranger.transport.close(driven.id, *code);
        stranger.transport.shutdown(PATIENCE).await;
    }
    let seen = driven.seen.clone();
    driven.stop().await;
    let stops = |event: &Event| matches!(event, Event::Evicted { .. } | Event::IdentityInUse);
    assert!(!seen.lock().unwrap().events.iter().any(stops));
}

#[tokio::test]
async fn the_copy_of_a_peer_that_lives_is_told_to_stop_and_signs_nothing() {
    let neighbour = Driven::start(1, 1, Stored::default());
    let original = Driven::start(2, 1, Stored::default());
    original.introduce(neighbour.address).await;
    original
        .until("it has enrolled, and has a neighbour", |seen| !seen.signed.is_empty() && seen.has(neighbour.id))
        .await;
    let entries = original.seen.lock().unwrap().signed.clone();
    let copy = Driven::start(2, 2, Stored { head: entries.last().cloned(), entries, ..Stored::default() });
    copy.introduce(neighbour.address).await;
    copy.until("the second is told to stop", |seen| seen.told(&Event::IdentityInUse)).await;
    original.until("the first is told of it", |seen| seen.told(&Event::Usurped)).await;
    original.until("the first has its connection back", |seen| seen.has(neighbour.id)).await;
    assert!(copy.seen.lock().unwrap().signed.is_empty());
    assert!(!original.seen.lock().unwrap().told(&Event::IdentityInUse));
    for driven in [copy, original, neighbour] {
        driven.stop().await;
    }
}
