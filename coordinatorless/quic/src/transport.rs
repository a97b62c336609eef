//! The handle that a caller holds.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use murmur_collectives::{Identity, PeerId};
use quinn::{Endpoint, EndpointConfig, Runtime, TokioRuntime};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{
    accept,
    config::TransportConfig,
    datagram, dial,
    error::{BindError, CloseReason, SendError},
    event::{self, Events},
    path::{PathSocket, Paths},
    queue::{Priority, Pushed},
    registry::Registry,
    relay,
    shared::Shared,
    socket::{self, CountingSocket},
    switchboard::Switchboard,
    tls::Tls,
    traffic::{Counters, Traffic},
};

/// One UDP socket, the connections to other peers over it, and messages over those. A cheap handle: clone it freely.
/// When the last one is dropped all connections are closed at once; [`shutdown`](Self::shutdown) is kinder.
#[derive(Clone)]
pub struct Transport(Arc<Owner>);

/// Closes the endpoint when the last handle is gone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.registry.stop();
        self.0.endpoint.close(CloseReason::Leaving.code(), b"");
    }
}

impl Transport {
    /// Opens the socket and begins to accept. To be called inside a tokio runtime, which then runs everything.
    ///
    /// # Errors
    ///
    /// See [`BindError`]; nothing is left running.
    pub fn bind(identity: &Identity, config: TransportConfig) -> Result<(Self, Events), BindError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let counters = Arc::new(Counters::default());
        let tls = Tls::new(identity, &config)?;
        let (paths, packets) = Paths::new();
        let (endpoint, addr) = open(&tls, &config, counters.clone(), paths.clone())?;
        let accepting_relayed = Arc::new(accepting(&tls, true)?);
        let switchboard = Switchboard::new(config.relay_sessions_max, config.relay_bytes_per_s_max);
        let registry = Arc::new(Registry::new(identity.peer_id(), config.handshake_timeout));
        let (events_in, events) = event::channel(config.events_max);
        let shared = Arc::new(Shared {
            config,
            tls,
            registry,
            counters,
            events: events_in,
            endpoint,
            paths,
            switchboard,
            accepting_relayed,
            runtime,
            addr,
        });
        shared.runtime.spawn(accept::accept_all(shared.clone()));
        shared.runtime.spawn(relay::send_all(Arc::downgrade(&shared), packets));
        Ok((Self(Arc::new(Owner(shared))), events))
    }

    /// Who we are to other peers.
    pub fn peer_id(&self) -> PeerId {
        self.shared().registry.own()
    }

    /// The address of the socket, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().addr
    }

    /// Dials `addr`. If `expect` is given, anyone else there is refused before learning who we are. The outcome comes
    /// as [`Connected`](crate::TransportEvent::Connected) with `dialed`, or [`DialFailed`](crate::TransportEvent::DialFailed),
    /// within `handshake_timeout`.
    pub fn dial(&self, addr: SocketAddr, expect: Option<PeerId>) {
        self.shared().runtime.spawn(dial::dial(self.shared().clone(), addr, None, expect));
    }

    /// Dials `peer` through `relay`, a connected peer that volunteers and is connected to `peer`. The outcome comes as
    /// [`Connected`](crate::TransportEvent::Connected), or [`DialThroughFailed`](crate::TransportEvent::DialThroughFailed).
    pub fn dial_through(&self, relay: PeerId, peer: PeerId) {
        let shared = self.shared();
        let addr = shared.paths.to(relay, peer);
        shared.runtime.spawn(dial::dial(shared.clone(), addr, Some(relay), Some(peer)));
    }

    /// Sends a datagram over the connection to `to`: ahead of all messages, at most once, in no order.
    ///
    /// # Errors
    ///
    /// The datagram is dropped: see [`SendError`].
    pub fn send_datagram(&self, to: PeerId, datagram: &[u8]) -> Result<(), SendError> {
        let sent = datagram::send(self.shared(), to, datagram);
        let counters = &self.shared().counters;
        let counter = if sent.is_ok() { &counters.datagrams_tx } else { &counters.datagrams_tx_lost };
        counter.one();
        sent
    }

    /// Queues `message` for `to`. Never waits.
    ///
    /// # Errors
    ///
    /// The message is dropped: see [`SendError`].
    pub fn send(&self, to: PeerId, priority: Priority, message: Bytes) -> Result<(), SendError> {
        let (bytes, limit) = (message.len(), self.shared().config.message_bytes_max);
        if bytes > limit {
            return Err(SendError::TooLong { bytes, limit });
        }
        let link = self.shared().registry.link(&to).ok_or(SendError::NotConnected)?;
        match link.queue.push(priority, message) {
            Pushed::Queued => Ok(()),
            Pushed::Closed => Err(SendError::NotConnected),
            Pushed::Full => {
                self.shared().counters.messages_tx_full.one();
                Err(SendError::Full)
            }
        }
    }

    /// Ends the connection to `peer` at once, if there is one. What is queued for it is dropped.
    pub fn close(&self, peer: PeerId, reason: CloseReason) {
        if let Some(link) = self.shared().registry.link(&peer) {
            link.close(reason);
        }
    }

    /// Connections and handshakes at the moment, of at most `connections_max`.
    pub fn connections(&self) -> usize {
        self.shared().registry.places()
    }

    /// What was sent, received and refused so far.
    pub fn traffic(&self) -> Traffic {
        self.shared().counters.snapshot()
    }

    /// Takes no more connections, sends what is queued, and closes all connections; returns after at most `within`.
    /// The events that this brings are worth taking but need not be taken.
    pub async fn shutdown(self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut farewells = JoinSet::new();
        for link in self.shared().registry.stop() {
            link.queue.finish();
            farewells.spawn(async move {
                link.queue.drained().await;
                link.close(CloseReason::Leaving);
            });
        }
        // What has not drained by the deadline is cut off by closing the endpoint.
        let _ = timeout_at(deadline, async { while farewells.join_next().await.is_some() {} }).await;
        self.shared().endpoint.close(CloseReason::Leaving.code(), b"");
        let _ = timeout_at(deadline, self.shared().endpoint.wait_idle()).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transport({:?}, {})", self.shared().registry.own(), self.local_addr())
    }
}

fn accepting(tls: &Tls, relayed: bool) -> Result<quinn::ServerConfig, BindError> {
    tls.accepting(relayed).map_err(|e| BindError::Certificate(e.to_string()))
}

/// Opens the counted socket and the QUIC endpoint on it.
fn open(
    tls: &Tls,
    config: &TransportConfig,
    counters: Arc<Counters>,
    paths: Arc<Paths>,
) -> Result<(Endpoint, SocketAddr), BindError> {
    let accepting = accepting(tls, false)?;
    let mut endpoint_config = EndpointConfig::default();
    // So that the fixed bit tells QUIC from garbage: see `udp_rx_not_quic`.
    endpoint_config.grease_quic_bit(false);
    let runtime = Arc::new(TokioRuntime);
    let open = || {
        let socket = runtime.wrap_udp_socket(socket::bind(config.bind)?)?;
        let socket = Arc::new(PathSocket::new(Arc::new(CountingSocket::new(socket, counters)), paths));
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config, Some(accepting), socket, runtime.clone())?;
        let addr = endpoint.local_addr()?;
        Ok((endpoint, addr))
    };
    open().map_err(|source| BindError::Socket { addr: config.bind, source })
}
