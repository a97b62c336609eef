//! Port mapping: a port of the router is mapped to this peer, renewed, and removed at the end.
//!
//! The protocols are PCP (RFC 6887) and its predecessor NAT-PMP (RFC 6886) at the default router, then UPnP's Internet Gateway
//! Device protocol at the first router that answers. A failure is never fatal: a peer without a mapping can still dial, be dialed
//! after hole punching, and use relays. An address from a router is only a candidate: other peers trust it only after
//! they have seen this peer at it.

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

/// The lease of a mapping. A process that is killed leaves the mapping open until its lease ends. Renewed at half of it.
const LEASE: Duration = Duration::from_secs(20 * 60);

/// The time until the next attempt, after a router refused or did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// A mapping whose renewal failed is given up when less than this is left of its lease.
const LEASE_LEFT_MIN: Duration = Duration::from_secs(2);

/// The time limit for the removal of a mapping.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(3);

/// News queued for the caller.
const NEWS_MAX: usize = 8;

/// Why no mapping is requested: the caller's fault. Nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PortMapError {
    /// No other machine can reach a loopback address, with or without a mapping.
    #[error("this peer listens on loopback, where nobody comes in")]
    Loopback,
    /// Only IPv4 ports are mapped.
    #[error("this peer listens on an IPv6 address, and ports are mapped for IPv4")]
    Ipv6,
    /// The socket has no port yet.
    #[error("this peer has no port yet")]
    NoPort,
    /// The caller is not inside a tokio runtime.
    #[error("nothing runs that could ask the router")]
    NoRuntime,
}

/// A change of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMapNews {
    /// The router forwards packets for `external` to this peer.
    Open {
        /// The external address and port.
        external: SocketAddr,
        /// The protocol of the mapping.
        by: &'static str,
    },
    /// There is no mapping; another attempt follows later.
    Closed {
        /// The reason, without a full stop.
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

/// A port mapping that is renewed until [`remove`](Self::remove). If it is dropped, the mapping ends with its lease.
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
    /// Begins to request a mapping to the port of `listening`. The first news come after the router's answer, or after about ten
    /// seconds without one; further news come at each change.
    ///
    /// # Errors
    /// [`PortMapError`] if no mapping to `listening` is possible.
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

    /// Removes the mapping. Returns when the router has done so, or after three seconds.
    pub async fn remove(mut self) {
        drop(self.stop.take());
        if timeout(REMOVAL_TIMEOUT, &mut self.keeper).await.is_err() {
            self.keeper.abort();
        }
    }
}

/// Opens a mapping, renews it, and opens it again when it is lost, until `stop`.
async fn keep(inner: u16, news: mpsc::Sender<PortMapNews>, mut stop: oneshot::Receiver<()>) {
    let mut reported = false;
    loop {
        let opened = tokio::select! {
            opened = router::open(inner, LEASE) => opened,
            _ = &mut stop => return,
        };
        let reason = match opened {
            Ok(lease) => match renew_until_lost(lease, &news, &mut stop).await {
                Some(reason) => {
                    reported = false;
                    reason
                }
                None => return,
            },
            Err(reason) => reason,
        };
        // A router that never answers is reported once, not every few minutes.
        if !core::mem::replace(&mut reported, true) && news.send(PortMapNews::Closed { reason }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(RETRY_AFTER) => {}
            _ = &mut stop => return,
        }
    }
}

/// Renews a mapping. Returns the reason when it is lost; `None` after `stop`, when it has been removed.
async fn renew_until_lost(
    mut lease: Lease,
    news: &mpsc::Sender<PortMapNews>,
    stop: &mut oneshot::Receiver<()>,
) -> Option<String> {
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
            () = sleep(lease.time_left() / 2) => {}
            _ = &mut *stop => {
                lease.close().await;
                return None;
            }
        }
        match lease.renew(LEASE).await {
            Ok(()) => {}
            Err(reason) if lease.time_left() < LEASE_LEFT_MIN => return Some(reason),
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
    async fn no_router_is_asked_for_an_address_that_no_mapping_could_serve() {
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
