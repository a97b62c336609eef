//! A transport with its events, as a test holds it.

use std::{net::SocketAddr, time::Duration};

use murmur_collectives::{Identity, PeerId};
use murmur_quic::{Events, Transport, TransportConfig, TransportEvent};
use tokio::time::{interval, timeout};

/// No wait of a passing test comes near this, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) transport: Transport,
    pub(crate) events: Events,
}

impl Peer {
    pub(crate) fn start(secret: u8) -> Self {
        Self::start_with(secret, |_| {})
    }

    pub(crate) fn start_with(secret: u8, adjust: impl FnOnce(&mut TransportConfig)) -> Self {
        let mut config = TransportConfig::new(localhost());
        // A busy machine is not a dead peer.
        config.handshake_timeout = PATIENCE / 3;
        config.idle_timeout = PATIENCE;
        adjust(&mut config);
        let identity = Identity::from_secret(&[secret; 32]);
        let (transport, events) = Transport::bind(&identity, config).unwrap();
        Self { id: identity.peer_id(), transport, events }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    pub(crate) async fn next(&mut self) -> TransportEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event was due").expect("the transport runs")
    }

    /// The next event, which must be a message.
    pub(crate) async fn next_message(&mut self) -> (PeerId, Vec<u8>) {
        match self.next().await {
            TransportEvent::Message { from, bytes } => (from, bytes),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// The next event, which must say that a peer is connected, and by whose dial.
    pub(crate) async fn next_connected(&mut self) -> (PeerId, bool) {
        match self.next().await {
            TransportEvent::Connected { peer, dialed, .. } => (peer, dialed),
            other => panic!("expected a connection, got {other:?}"),
        }
    }

    /// The next event, which must be the end of a connection; its reason in words.
    pub(crate) async fn next_disconnected(&mut self) -> (PeerId, String) {
        match self.next().await {
            TransportEvent::Disconnected { peer, reason } => (peer, reason.to_string()),
            other => panic!("expected the end of a connection, got {other:?}"),
        }
    }
}

pub(crate) fn localhost() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// `dialer` dials `accepter`; both know when this returns.
pub(crate) async fn connect(dialer: &mut Peer, accepter: &mut Peer) {
    let addr = accepter.addr();
    connect_at(dialer, accepter, addr).await;
}

/// `dialer` dials `accepter` at `addr`; returns when both sides are connected.
pub(crate) async fn connect_at(dialer: &mut Peer, accepter: &mut Peer, addr: SocketAddr) {
    dialer.transport.dial(addr, Some(accepter.id));
    assert_eq!(dialer.next_connected().await, (accepter.id, true));
    assert_eq!(accepter.next_connected().await, (dialer.id, false));
}

/// Waits until `holds` does, and fails after [`PATIENCE`].
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let mut tick = interval(Duration::from_millis(2));
    let waiting = async {
        while !holds() {
            tick.tick().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
