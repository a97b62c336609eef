//! The state that the tasks of a transport share. It names none of the tasks, so that no modules depend on each other in a
//! circle.

use std::{net::SocketAddr, sync::Arc};

use quinn::Endpoint;
use tokio::runtime::Handle;

use crate::{
    candidate::Candidate,
    config::TransportConfig,
    error::CloseReason,
    event::EventSender,
    occupancy::Occupancy,
    queue::SendQueue,
    registry::{Admission, Registry},
    relay_path::RelayPaths,
    relay_quota::RelayQuota,
    tls::Tls,
    traffic::Counters,
};

/// The state that all tasks of a transport share.
pub(crate) struct Shared {
    pub(crate) config: TransportConfig,
    pub(crate) tls: Tls,
    pub(crate) registry: Arc<Registry>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) occupancy: Occupancy,
    pub(crate) events: EventSender,
    pub(crate) endpoint: Endpoint,
    /// Relayed paths, and their placeholder addresses.
    pub(crate) relay_paths: Arc<RelayPaths>,
    /// How much this peer forwards as a relay.
    pub(crate) relay_quota: RelayQuota,
    /// The settings of accepted connections that are relayed.
    pub(crate) accepting_relayed: Arc<quinn::ServerConfig>,
    pub(crate) runtime: Handle,
    pub(crate) addr: SocketAddr,
}

impl Shared {
    /// Offers the registry a connection that passed its handshake. A connection that it replaces is closed.
    pub(crate) fn admit(&self, candidate: Candidate) -> Admission {
        let connection = candidate.connection.clone();
        let queue = || SendQueue::new(self.config.send_queue_bytes_max, self.config.send_queue_messages_max);
        let admission = self.registry.admit(candidate, queue);
        if let Admission::Replaces(_, before) = &admission {
            before.close(CloseReason::Replaced);
        }
        if let Admission::Stopping = &admission {
            connection.close(CloseReason::Leaving.code(), b"");
        }
        admission
    }
}
