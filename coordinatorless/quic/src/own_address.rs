//! The own addresses of a peer: those of its interfaces, and the external one of a port mapping.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use murmur_coordinatorless::Input;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    driver::Request,
    port_map::{PortMapNews, PortMapping},
    route::source_towards,
};

/// Documentation addresses, one of each version of IP, to find the default route with (RFC 5737, RFC 3849).
const DOCUMENTATION: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// Keeps a node informed of its own addresses: that of the interface of the default route, and that of a port mapping while
/// there is one.
///
/// A peer that listens on loopback has no address that others can dial, and asks no router; `report` is told so.
#[derive(Debug)]
pub struct OwnAddresses {
    mapping: Option<PortMapping>,
    updates: Option<JoinHandle<()>>,
}

impl OwnAddresses {
    /// Tells the node behind `requests` the addresses of a transport that listens on `listening`. With `port_map` the router is
    /// asked for a port mapping, and `report` is called at each change of it; a failure is never fatal. Must be called inside a
    /// tokio runtime.
    pub fn tell(
        listening: SocketAddr,
        requests: &mpsc::Sender<Request>,
        port_map: bool,
        report: impl Fn(&PortMapNews) + Send + 'static,
    ) -> Self {
        let (mapping, news) = match port_map.then(|| PortMapping::start(listening)) {
            Some(Ok((mapping, news))) => (Some(mapping), Some(news)),
            Some(Err(error)) => {
                report(&PortMapNews::Closed { reason: error.to_string() });
                (None, None)
            }
            None => (None, None),
        };
        if listening.ip().is_loopback() {
            return Self { mapping, updates: None };
        }
        // The owner of the node ends it by closing the channel, so this task must not keep the channel open.
        let updates = tokio::spawn(send_updates(listening, requests.downgrade(), news, report));
        Self { mapping, updates: Some(updates) }
    }

    /// Stops, and removes the port mapping within a few seconds.
    pub async fn retire(self) {
        if let Some(updates) = &self.updates {
            updates.abort();
        }
        if let Some(mapping) = self.mapping {
            mapping.remove().await;
        }
    }
}

async fn send_updates(
    listening: SocketAddr,
    requests: mpsc::WeakSender<Request>,
    news: Option<mpsc::Receiver<PortMapNews>>,
    report: impl Fn(&PortMapNews),
) {
    let tell = |external: Option<SocketAddr>| {
        let addresses = external.into_iter().chain(local_addresses(listening)).collect();
        send(requests.clone(), Request::Input(Input::OwnAddresses { addresses }))
    };
    tell(None).await;
    let Some(mut news) = news else { return };
    while let Some(next) = news.recv().await {
        report(&next);
        match next {
            PortMapNews::Open { external, .. } => tell(Some(external)).await,
            PortMapNews::Closed { .. } => tell(None).await,
        }
    }
}

async fn send(requests: mpsc::WeakSender<Request>, request: Request) {
    if let Some(requests) = requests.upgrade() {
        // Fails only if the node is gone.
        let _ = requests.send(request).await;
    }
}

/// The addresses at which peers on the same network reach a socket bound to `bound`: that address, or, if it is unspecified, the
/// source addresses of the default routes. Never loopback. Nothing is sent.
pub fn local_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    let addresses = match bound.ip() {
        // An IPv6 socket receives IPv4, too.
        IpAddr::V6(ip) if ip.is_unspecified() => DOCUMENTATION.into_iter().filter_map(outward).collect(),
        IpAddr::V4(ip) if ip.is_unspecified() => outward(bound.ip()).into_iter().collect(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
    };
    let usable = addresses.into_iter().filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(*ip));
    usable.map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// The source address of the default route, of the same version of IP as `any`: the one that the system picks for a datagram
/// to a documentation address. Nothing is sent.
pub fn outward(any: IpAddr) -> Option<IpAddr> {
    let destination = DOCUMENTATION.into_iter().find(|destination| destination.is_ipv4() == any.is_ipv4())?;
    source_towards(SocketAddr::new(destination, 9))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_on_loopback_tells_nothing_and_asks_no_router() {
        for (port_map, expected) in [
            (false, None),
            (true, Some("No port of the router is mapped: this peer listens on loopback, where nobody comes in.")),
        ] {
            let (requests, mut inbox) = mpsc::channel(4);
            let (said, mut sentences) = mpsc::unbounded_channel();
            let report = move |news: &PortMapNews| drop(said.send(news.to_string()));
            let own = OwnAddresses::tell(([127, 0, 0, 1], 4500).into(), &requests, port_map, report);
            own.retire().await;
            drop(requests);
            assert!(inbox.recv().await.is_none());
            assert_eq!(sentences.recv().await.as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn a_node_is_told_the_address_that_was_chosen() {
        let (requests, mut inbox) = mpsc::channel(4);
        let chosen: SocketAddr = ([10, 1, 2, 3], 4500).into();
        let own = OwnAddresses::tell(chosen, &requests, false, |_| {});
        let told = inbox.recv().await.unwrap();
        assert!(matches!(told, Request::Input(Input::OwnAddresses { addresses }) if addresses == [chosen]));
        own.retire().await;
    }

    #[test]
    fn an_address_that_was_chosen_is_the_local_one_and_loopback_is_none() {
        let chosen: SocketAddr = ([10, 1, 2, 3], 4500).into();
        assert_eq!(local_addresses(chosen), [chosen]);
        for hidden in ["127.0.0.1:1", "[::1]:1", "169.254.3.4:1", "[fe80::1]:1"] {
            assert_eq!(hidden.parse().map(local_addresses), Ok(Vec::new()), "{hidden}");
        }
        let anywhere = local_addresses(([0, 0, 0, 0], 4500).into());
        assert!(anywhere.len() <= 1 && anywhere.iter().all(|address| address.port() == 4500 && address.is_ipv4()));
    }
}
