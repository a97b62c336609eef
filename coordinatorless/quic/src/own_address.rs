//! Where this peer is: what only its own machine and its router know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use murmur_coordinatorless::Input;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    driver::Request,
    port_map::{PortMapNews, PortMapping},
    route::source_towards,
};

/// Addresses nobody has, one of each version of IP, that the default route leads to (RFC 5737, RFC 3849).
const ABROAD: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// Keeps a node told of its own addresses: those of the interface that leads outside, and a mapped port as it comes and goes.
///
/// A peer that listens on loopback has none worth telling, and no router is asked; `report` hears that.
#[derive(Debug)]
pub struct OwnAddresses {
    mapping: Option<PortMapping>,
    teller: Option<JoinHandle<()>>,
}

impl OwnAddresses {
    /// Tells the node behind `requests` where a transport that listens on `listening` is. With `port_map` the router is asked
    /// to keep a port open, and `report` hears how that goes: one sentence a change, never anything fatal. To be called
    /// inside a tokio runtime.
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
            return Self { mapping, teller: None };
        }
        // Whoever runs the node decides how long it lasts, so this must not keep the channel open.
        let teller = tokio::spawn(keep_told(listening, requests.downgrade(), news, report));
        Self { mapping, teller: Some(teller) }
    }

    /// Gives the port back, within a few seconds.
    pub async fn retire(self) {
        if let Some(teller) = &self.teller {
            teller.abort();
        }
        if let Some(mapping) = self.mapping {
            mapping.remove().await;
        }
    }
}

async fn keep_told(
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
        // A node that is gone needs no addresses.
        let _ = requests.send(request).await;
    }
}

/// The addresses at which others on the same network reach a socket bound to `bound`: that address, or for one that listens
/// everywhere, those from which the system would send to the rest of the world. Never loopback; nothing is sent to find out.
pub fn local_addresses(bound: SocketAddr) -> Vec<SocketAddr> {
    let addresses = match bound.ip() {
        // A socket for IPv6 takes both.
        IpAddr::V6(ip) if ip.is_unspecified() => ABROAD.into_iter().filter_map(outward).collect(),
        IpAddr::V4(ip) if ip.is_unspecified() => outward(bound.ip()).into_iter().collect(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
    };
    let usable = addresses.into_iter().filter(|ip| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(*ip));
    usable.map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// The address of the interface that leads outside, of the same version of IP as `any`: what the system picks for a datagram
/// to a documentation address. Nothing is sent.
pub fn outward(any: IpAddr) -> Option<IpAddr> {
    let there = ABROAD.into_iter().find(|there| there.is_ipv4() == any.is_ipv4())?;
    source_towards(SocketAddr::new(there, 9))
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
