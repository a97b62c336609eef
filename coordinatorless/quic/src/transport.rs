//! The handle of the caller.

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
    occupancy::{Occupancy, Sending},
    queue::{Priority, Pushed},
    registry::Registry,
    relay,
    relay_path::{RelayPaths, RelaySocket},
    relay_quota::RelayQuota,
    shared::Shared,
    socket::{self, CountingSocket},
    tls::Tls,
    traffic::{Counters, Traffic},
};

/// A UDP socket and the connections over it. A handle that is cheap to clone. When the last one is dropped, all connections are
/// closed at once and queued messages are lost; [`shutdown`](Self::shutdown) sends them first.
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
    /// Opens the socket and begins to accept connections. Must be called inside a tokio runtime, which then runs all tasks.
    ///
    /// # Errors
    ///
    /// See [`BindError`]; nothing is left running.
    pub fn bind(identity: &Identity, config: TransportConfig) -> Result<(Self, Events), BindError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let counters = Arc::new(Counters::default());
        let tls = Tls::new(identity, &config)?;
        let (relay_paths, packets) = RelayPaths::new();
        let (endpoint, addr) = open(&tls, &config, counters.clone(), relay_paths.clone())?;
        let accepting_relayed = Arc::new(accepting(&tls, true)?);
        let relay_quota = RelayQuota::new(config.relay_sessions_max, config.relay_bytes_per_s_max);
        let registry = Arc::new(Registry::new(identity.peer_id(), config.handshake_timeout));
        let (events_in, events) = event::channel(config.events_max);
        let shared = Arc::new(Shared {
            config,
            tls,
            registry,
            counters,
            occupancy: Occupancy::new(),
            events: events_in,
            endpoint,
            relay_paths,
            relay_quota,
            accepting_relayed,
            runtime,
            addr,
        });
        shared.runtime.spawn(accept::accept_all(shared.clone()));
        shared.runtime.spawn(relay::send_outgoing(Arc::downgrade(&shared), packets));
        Ok((Self(Arc::new(Owner(shared))), events))
    }

    /// The identity of this peer.
    pub fn peer_id(&self) -> PeerId {
        self.shared().registry.own()
    }

    /// The address of the socket, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().addr
    }

    /// Dials `addr`. If `expect` is given, any other peer at that address is refused before it learns the identity of this one.
    /// The outcome is [`Connected`](crate::TransportEvent::Connected) with `dialed`, or [`DialFailed`](crate::TransportEvent::DialFailed),
    /// within `handshake_timeout`.
    pub fn dial(&self, addr: SocketAddr, expect: Option<PeerId>) {
        self.shared().runtime.spawn(dial::dial(self.shared().clone(), addr, None, expect));
    }

    /// Dials `peer` through `relay`, a connected peer that forwards packets and is connected to `peer`. The outcome is
    /// [`Connected`](crate::TransportEvent::Connected), or [`DialThroughFailed`](crate::TransportEvent::DialThroughFailed).
    pub fn dial_through(&self, relay: PeerId, peer: PeerId) {
        let shared = self.shared();
        let addr = shared.relay_paths.address_of(relay, peer);
        shared.runtime.spawn(dial::dial(shared.clone(), addr, Some(relay), Some(peer)));
    }

    /// Sends a datagram over the connection to `to`: ahead of all messages, unreliable and unordered.
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
            Pushed::Queued if priority == Priority::Bulk => Ok(()),
            Pushed::Queued => {
                self.shared().counters.messages_queued_bytes.add(bytes as u64);
                Ok(())
            }
            Pushed::Closed => Err(SendError::NotConnected),
            Pushed::Full => {
                self.shared().counters.messages_tx_full.one();
                Err(SendError::Full)
            }
        }
    }

    /// Closes the connection to `peer`, if there is one. Messages queued for it are dropped.
    pub fn close(&self, peer: PeerId, reason: CloseReason) {
        if let Some(link) = self.shared().registry.link(&peer) {
            link.close(reason);
        }
    }

    /// The number of connections and handshakes now, at most `connections_max`.
    pub fn connections(&self) -> usize {
        self.shared().registry.slots_taken()
    }

    /// The totals of what was sent, received and refused.
    pub fn traffic(&self) -> Traffic {
        self.shared().counters.snapshot()
    }

    /// What the up-link has carried and how long that kept it busy.
    pub fn sending(&self) -> Sending {
        self.shared().occupancy.totals()
    }

    /// Accepts no more connections, sends queued messages, and closes all connections; returns after at most `within`. The
    /// caller may take the events that follow, or drop them.
    pub async fn shutdown(self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut draining = JoinSet::new();
        for link in self.shared().registry.stop() {
            link.queue.finish();
            draining.spawn(async move {
                link.queue.drained().await;
                link.close(CloseReason::Leaving);
            });
        }
        // Closing the endpoint ends the connections that have not drained by the deadline.
        let _ = timeout_at(deadline, async { while draining.join_next().await.is_some() {} }).await;
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
    relay_paths: Arc<RelayPaths>,
) -> Result<(Endpoint, SocketAddr), BindError> {
    let accepting = accepting(tls, false)?;
    let mut endpoint_config = EndpointConfig::default();
    // Otherwise the fixed bit would not distinguish QUIC from other datagrams: see `udp_rx_not_quic`.
    endpoint_config.grease_quic_bit(false);
    let runtime = Arc::new(TokioRuntime);
    let open = || {
        let socket = runtime.wrap_udp_socket(socket::bind(config.bind)?)?;
        let socket = Arc::new(RelaySocket::new(Arc::new(CountingSocket::new(socket, counters)), relay_paths));
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config, Some(accepting), socket, runtime.clone())?;
        let addr = endpoint.local_addr()?;
        Ok((endpoint, addr))
    };
    open().map_err(|source| BindError::Socket { addr: config.bind, source })
}
