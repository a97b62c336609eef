//! One connection of a pair, as the tasks that serve it share it.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use murmur_collectives::PeerId;
use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::{candidate::Candidate, error::CloseReason, flag::Flag, queue::SendQueue};

/// A connection, its queue, and what other connections of the same pair must know of it.
pub(crate) struct Link {
    pub(crate) peer: PeerId,
    pub(crate) connection: quinn::Connection,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) dialed: bool,
    /// The relay that forwards its packets; `None` if it is direct.
    pub(crate) relay: Option<PeerId>,
    pub(crate) since: Instant,
    pub(crate) queue: Arc<SendQueue>,
    /// It lost the tie-break: nothing new is sent on it, and its end is not reported.
    pub(crate) retired: Flag,
    /// `Connected` was given to the caller, for this connection or for one that it superseded.
    pub(crate) announced: Flag,
    /// All its events were given to the caller.
    pub(crate) ended: Flag,
    /// Retired connections of the same pair, whose messages and ends come before the end of this one.
    /// Guarded by the registry: see [`Registry::take_predecessors`](crate::registry::Registry::take_predecessors).
    predecessors: Mutex<Vec<Arc<Link>>>,
    closed_for: OnceLock<CloseReason>,
    /// The shortest round trip seen so far, in microseconds.
    shortest_rtt_us: AtomicU64,
}

impl Link {
    pub(crate) fn new(candidate: Candidate, queue: Arc<SendQueue>) -> Self {
        let Candidate { peer, connection, certificate, dialed, relay } = candidate;
        Self {
            peer,
            connection,
            certificate,
            dialed,
            relay,
            since: Instant::now(),
            queue,
            retired: Flag::new(),
            announced: Flag::new(),
            ended: Flag::new(),
            predecessors: Mutex::default(),
            closed_for: OnceLock::new(),
            shortest_rtt_us: AtomicU64::new(u64::MAX),
        }
    }

    pub(crate) fn predecessors(&self) -> MutexGuard<'_, Vec<Arc<Self>>> {
        self.predecessors.lock().expect("no code panics while it holds the predecessors")
    }

    pub(crate) fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// The shortest round trip of those at which it was asked for. While a link is saturated, the present one is longer.
    pub(crate) fn shortest_rtt(&self) -> Duration {
        let now = u64::try_from(self.connection.rtt().as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.shortest_rtt_us.fetch_min(now, Relaxed).min(now))
    }

    /// Ends the connection and tells the peer why. The first reason given counts.
    pub(crate) fn close(&self, reason: CloseReason) {
        if self.closed_for.set(reason).is_ok() {
            self.connection.close(reason.code(), b"");
        }
    }

    /// The reason that was given to [`close`](Self::close) first; `None` if this side did not close it.
    pub(crate) fn closed_for(&self) -> Option<CloseReason> {
        self.closed_for.get().copied()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({:?}, {})", self.peer, self.connection.remote_address())
    }
}
