//! The state that every task of a transport holds. It knows none of the tasks, so each of them can use it.

use std::{net::SocketAddr, sync::Arc};

use quinn::Endpoint;
use tokio::runtime::Handle;

use crate::{
    candidate::Candidate,
    config::TransportConfig,
    error::CloseReason,
    event::EventSender,
    path::Paths,
    queue::SendQueue,
    registry::{Admission, Registry},
    switchboard::Switchboard,
    tls::Tls,
    traffic::Counters,
};

/// What all tasks of a transport share.
pub(crate) struct Shared {
    pub(crate) config: TransportConfig,
    pub(crate) tls: Tls,
    pub(crate) registry: Arc<Registry>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) events: EventSender,
    pub(crate) endpoint: Endpoint,
    /// Ways through relays, and their stand-in addresses.
    pub(crate) paths: Arc<Paths>,
    /// What this peer passes on for others.
    pub(crate) switchboard: Switchboard,
    pub(crate) accepting_relayed: Arc<quinn::ServerConfig>,
    pub(crate) runtime: Handle,
    pub(crate) addr: SocketAddr,
}

impl Shared {
    /// Enters a connection that passed its handshake into the registry. One that it replaces is closed.
    pub(crate) fn admit(&self, candidate: Candidate) -> Admission {
        let connection = candidate.connection.clone();
        let queue = || SendQueue::new(self.config.send_queue_bytes_max, self.config.send_queue_messages_max);
        let admission = self.registry.admit(candidate, queue);
        if let Admission::Replaces(_, elder) = &admission {
            elder.close(CloseReason::Replaced);
        }
        if let Admission::Stopping = &admission {
            connection.close(CloseReason::Leaving.code(), b"");
        }
        admission
    }
}
