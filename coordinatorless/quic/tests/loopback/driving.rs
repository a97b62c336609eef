//! What the driver makes of a host that fails, and of neighbours that close connections with whatever code they like.

use std::time::Duration;

use murmur_collectives::{Hash, Identity, ONE_Q16, Rules};
use murmur_coordinatorless::{Compacted, Config, Event, Node, PeerAddress, Setup, Stored, StoredEntry};
use murmur_quic::{CloseReason, Host, Request, TransportEvent, drive};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::peer::{PATIENCE, Peer};

/// A host that keeps what it is told. On its disk, if that is full, nothing fits; it numbers the errors it gives.
#[derive(Default)]
struct Witness {
    is_full: bool,
    errors: u32,
    events: Vec<Event>,
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

    fn append(&mut self, _: &StoredEntry, _: bool) -> Result<(), Full> {
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
        self.events.push(event);
    }

    fn count(&mut self, _: bool, _: &'static str, _: usize) {}

    fn settled(&mut self, _: Duration) {}
}

/// A founder, which enrolls as soon as it runs.
fn founder(identity: Identity) -> Node {
    let rules = Rules {
        parameters: 4096,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 10,
        steps_max: 10,
        token_budget: 1000,
        frontier_every_tokens: 0,
        class: None,
        audit_rate_q16: 0,
        audit_quorum: 2,
        founders: vec![Node::founder(&identity)],
    };
    Node::new(Setup {
        manifest: Vec::new(),
        run: Hash([1; 32]),
        rules,
        genesis: vec![0; 4096].into(),
        identity,
        class: Hash([2; 32]),
        config: Config { enroll_early: true, ..Config::default() },
        seed: 1,
        incarnation: 1,
        address_book: Vec::new(),
        stored: Stored::default(),
    })
}

#[tokio::test]
async fn the_first_error_of_a_host_ends_the_driver_and_comes_out_as_it_is() {
    let peer = Peer::start(1);
    let (_requests, inbox) = mpsc::channel(1);
    let mut host = Witness { is_full: true, ..Witness::default() };
    let driving = drive(founder(Identity::from_secret(&[1; 32])), peer.transport, peer.events, inbox, &mut host);
    assert_eq!(timeout(PATIENCE, driving).await.expect("it ends by itself"), Err(Full(1)));
    assert_eq!(host.errors, 1, "nothing is asked of a disk that failed");
}

#[tokio::test]
async fn no_code_with_which_others_close_stops_a_peer() {
    let Peer { id, transport, events } = Peer::start(1);
    let there = transport.local_addr();
    let (requests, inbox) = mpsc::channel(1);
    let driving = tokio::spawn(async move {
        let mut host = Witness::default();
        let outcome = drive(founder(Identity::from_secret(&[1; 32])), transport, events, inbox, &mut host).await;
        (outcome, host.events)
    });
    let codes = [CloseReason::Evicted, CloseReason::Replaced, CloseReason::Duplicate, CloseReason::Incompatible];
    // Each from two throw-away identities: as many as an audit's quorum.
    for (secret, code) in (2..).zip(codes.iter().flat_map(|code| [code, code])) {
        let mut stranger = Peer::start(secret);
        stranger.transport.dial(there, Some(id));
        // The node's datagrams pass everything else.
        while !matches!(stranger.next().await, TransportEvent::Connected { .. }) {}
        stranger.transport.close(id, *code);
        stranger.transport.shutdown(PATIENCE).await;
    }
    let (said, hears) = oneshot::channel();
    let look = Request::Look(Box::new(move |node: &mut Node| {
        let _ = said.send(node.id());
    }));
    assert!(requests.send(look).await.is_ok(), "it still runs");
    assert_eq!(timeout(PATIENCE, hears).await.unwrap(), Ok(id));
    assert!(requests.send(Request::Stop).await.is_ok());
    let (outcome, events) = timeout(PATIENCE, driving).await.unwrap().unwrap();
    assert_eq!(outcome, Ok(()));
    let stops = |event: &Event| matches!(event, Event::Evicted { .. } | Event::IdentityInUse);
    assert!(!events.iter().any(stops), "{events:?}");
}
