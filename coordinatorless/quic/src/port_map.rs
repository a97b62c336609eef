//! A port of the router that leads to this peer, where a router offers that: asked for, renewed, and given back.
//!
//! First PCP (RFC 6887) and its elder NAT-PMP (RFC 6886) at the default router, then UPnP's Internet Gateway Device at whatever
//! router answers. Nothing here is fatal: without a mapping a peer is reached as it is without this module. What a router
//! says is believed only about this peer's own address, and by others only if they see the peer there.

mod router;

use core::{fmt, time::Duration};
use std::net::{IpAddr, SocketAddr};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use router::Lease;

/// How long a mapping is asked for. Whoever is killed leaves it open for as long, and it is renewed twice in that time.
const LEASE: Duration = Duration::from_secs(20 * 60);

/// A router that refused, or was not there, is asked again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// A mapping that ends sooner than this is given up when it cannot be renewed.
const LEASE_REST: Duration = Duration::from_secs(2);

/// The router has this long to take a mapping back.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(3);

/// News of a mapping that wait to be heard.
const NEWS_MAX: usize = 8;

/// Why no mapping is asked for. The caller's doing; nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortMapError {
    /// Nobody outside can reach it whatever the router does.
    #[error("this peer listens on loopback, where nobody comes in")]
    Loopback,
    /// These protocols, as used here, map ports of IPv4.
    #[error("this peer listens on an IPv6 address, and ports are mapped for IPv4")]
    Ipv6,
    /// The socket has no port yet.
    #[error("this peer has no port yet")]
    NoPort,
    /// Not inside a tokio runtime.
    #[error("nothing runs that could ask the router")]
    NoRuntime,
}

/// What becomes of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMapNews {
    /// What arrives at `external` is passed on to this peer.
    Open {
        /// The router's outer address and port.
        external: SocketAddr,
        /// The protocol that the router speaks.
        by: &'static str,
    },
    /// There is none; it is tried again later.
    Closed {
        /// A sentence.
        reason: String,
    },
}

impl fmt::Display for PortMapNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { external, by } => write!(f, "The router passes {external} on to this peer ({by})."),
            Self::Closed { reason } => write!(f, "No port of the router is mapped: {reason}."),
        }
    }
}

/// A port kept open until [`remove`](Self::remove). Dropped, it is no longer renewed, and ends with its lease.
#[derive(Debug)]
pub struct PortMapping {
    stop: Option<oneshot::Sender<()>>,
    keeper: JoinHandle<()>,
}

impl Drop for PortMapping {
    fn drop(&mut self) {
        if self.stop.is_some() {
            self.keeper.abort();
        }
    }
}

impl PortMapping {
    /// Begins to ask for a mapping to the port of `listening`, and says how it goes: first when the router has answered or
    /// none has, about ten seconds at most, then whenever something changes.
    ///
    /// # Errors
    /// [`PortMapError`] when there is nothing to ask for.
    pub fn start(listening: SocketAddr) -> Result<(Self, mpsc::Receiver<PortMapNews>), PortMapError> {
        let runtime = Handle::try_current().map_err(|_| PortMapError::NoRuntime)?;
        let inner = match listening.ip() {
            ip if ip.is_loopback() => return Err(PortMapError::Loopback),
            IpAddr::V6(ip) if !ip.is_unspecified() => return Err(PortMapError::Ipv6),
            IpAddr::V6(_) | IpAddr::V4(_) if listening.port() == 0 => return Err(PortMapError::NoPort),
            IpAddr::V6(_) | IpAddr::V4(_) => listening.port(),
        };
        let (news, told) = mpsc::channel(NEWS_MAX);
        let (stop, stopped) = oneshot::channel();
        let keeper = runtime.spawn(keep(inner, news, stopped));
        Ok((Self { stop: Some(stop), keeper }, told))
    }

    /// Has the router take the mapping back. Returns when it has, or after three seconds.
    pub async fn remove(mut self) {
        drop(self.stop.take());
        if timeout(REMOVAL_PATIENCE, &mut self.keeper).await.is_err() {
            self.keeper.abort();
        }
    }
}

/// Opens a port, keeps it open, and opens it again when it is lost, until `stop`.
async fn keep(inner: u16, news: mpsc::Sender<PortMapNews>, mut stop: oneshot::Receiver<()>) {
    let mut quiet = false;
    loop {
        let opened = tokio::select! {
            opened = router::open(inner, LEASE) => opened,
            _ = &mut stop => return,
        };
        let reason = match opened {
            Ok(lease) => match hold(lease, &news, &mut stop).await {
                Some(reason) => {
                    quiet = false;
                    reason
                }
                None => return,
            },
            Err(reason) => reason,
        };
        // A router that never answers is worth one line, not one every few minutes.
        if !core::mem::replace(&mut quiet, true) && news.send(PortMapNews::Closed { reason }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(RETRY_AFTER) => {}
            _ = &mut stop => return,
        }
    }
}

/// Renews a mapping until it is lost, and says why, or until `stop`, and gives it back.
async fn hold(mut lease: Lease, news: &mpsc::Sender<PortMapNews>, stop: &mut oneshot::Receiver<()>) -> Option<String> {
    let mut told = None;
    loop {
        if told != Some(lease.external()) {
            told = Some(lease.external());
            let open = PortMapNews::Open { external: lease.external(), by: lease.protocol() };
            if news.send(open).await.is_err() {
                lease.close().await;
                return None;
            }
        }
        tokio::select! {
            () = sleep(lease.rest() / 2) => {}
            _ = &mut *stop => {
                lease.close().await;
                return None;
            }
        }
        match lease.renew(LEASE).await {
            Ok(()) => {}
            Err(reason) if lease.rest() < LEASE_REST => return Some(reason),
            Err(reason) => tracing::debug!(reason, "the router did not renew a mapping, yet"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(listening: &str) -> PortMapError {
        PortMapping::start(listening.parse().unwrap()).unwrap_err()
    }

    #[tokio::test]
    async fn no_router_is_asked_where_nobody_could_come_in() {
        assert_eq!(refused("127.0.0.1:4500"), PortMapError::Loopback);
        assert_eq!(refused("[::1]:4500"), PortMapError::Loopback);
        assert_eq!(refused("[2001:db8::1]:4500"), PortMapError::Ipv6);
        assert_eq!(refused("0.0.0.0:0"), PortMapError::NoPort);
    }

    #[test]
    fn news_are_one_sentence() {
        let open = PortMapNews::Open { external: "203.0.113.9:4500".parse().unwrap(), by: "PCP" };
        assert_eq!(open.to_string(), "The router passes 203.0.113.9:4500 on to this peer (PCP).");
        let closed = PortMapNews::Closed { reason: "no router answers".to_owned() };
        assert_eq!(closed.to_string(), "No port of the router is mapped: no router answers.");
        assert_eq!(refused("0.0.0.0:4500"), PortMapError::NoRuntime);
    }
}
