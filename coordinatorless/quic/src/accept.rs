//! Accepting: from a stranger's first packet to a welcome or a refusal.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use quinn::{Connection, ConnectionError, Incoming};
use rustls::AlertDescription;
use tokio::time::timeout;

use crate::{
    candidate::Candidate,
    connection::{self, Turn},
    error::{CloseReason, Refusal, brief},
    event::TransportEvent,
    link::Link,
    registry::{Admission, Place},
    shared::Shared,
    tls::alert,
};

/// Accepts until the endpoint is closed.
pub(crate) async fn accept_all(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        receive(&shared, incoming);
    }
}

/// Gives a first packet a place, or an answer that costs us nothing to remember.
fn receive(shared: &Arc<Shared>, incoming: Incoming) {
    let addr = plain(incoming.remote_address());
    let (max, per_ip_max) = (shared.config.connections_max, shared.config.connections_per_ip_max);
    if shared.registry.places() * 2 >= max && !incoming.remote_address_validated() && incoming.may_retry() {
        shared.counters.retried.one();
        // Cannot fail: asked one line above.
        let _ = incoming.retry();
        return;
    }
    match shared.registry.enter(site(addr.ip()), max, per_ip_max) {
        Ok(place) => drop(tokio::spawn(answer(shared.clone(), incoming, addr, place))),
        Err(reason) => {
            incoming.refuse();
            refused(shared, addr, reason);
        }
    }
}

/// `addr` without the disguise in which IPv4 comes to an IPv6 socket.
pub(crate) fn plain(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        IpAddr::V6(_) => addr, // with the scope that a link-local one cannot do without
    }
}

/// What counts as one address: of IPv6 the first 64 bits, as every host has the other 64 to itself (RFC 4291 §2.5.4).
fn site(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

async fn answer(shared: Arc<Shared>, incoming: Incoming, addr: SocketAddr, place: Place) {
    let connecting = match shared.paths.through(addr) {
        Some(_) => incoming.accept_with(shared.accepting_relayed.clone()),
        None => incoming.accept(),
    };
    let connecting = match connecting {
        Ok(connecting) => connecting,
        Err(error) => return refused(&shared, addr, refusal(&error)),
    };
    match timeout(shared.config.handshake_timeout, connecting).await {
        Err(_) => refused(&shared, addr, Refusal::TimedOut),
        Ok(Err(error)) => refused(&shared, addr, refusal(&error)),
        Ok(Ok(connection)) => admit(&shared, connection, addr, place).await,
    }
}

async fn admit(shared: &Arc<Shared>, connection: Connection, addr: SocketAddr, place: Place) {
    let relay = shared.paths.through(addr).map(|(relay, _)| relay);
    let candidate = match Candidate::new(connection, false, relay) {
        Ok(candidate) => candidate,
        Err(error) => return refused(shared, addr, Refusal::Certificate(error.to_string())),
    };
    let (link, turn) = match shared.admit(candidate) {
        Admission::First(link) => (link, Turn::First),
        Admission::Replaces(link, elder) => (link, Turn::After(elder)),
        Admission::Supersedes(link, elder) => (link, Turn::Silently(elder)),
        Admission::Loses(link, _) => return turn_away(shared, &link, addr),
        Admission::Stopping => return refused(shared, addr, Refusal::Full),
    };
    shared.counters.accepted.one();
    welcome(&link.connection).await;
    connection::run(shared.clone(), link, turn, addr, place).await;
}

fn turn_away(shared: &Shared, link: &Link, addr: SocketAddr) {
    link.close(CloseReason::Duplicate);
    link.ended.raise();
    refused(shared, addr, Refusal::AlreadyConnected(link.peer));
}

/// Opens the connection's first stream and ends it empty. If that fails the connection has failed, which
/// [`connection::run`] will find.
async fn welcome(connection: &Connection) {
    if let Ok(mut stream) = connection.open_uni().await {
        let _ = stream.set_priority(1).and_then(|()| stream.finish());
    }
}

fn refused(shared: &Shared, addr: SocketAddr, reason: Refusal) {
    shared.counters.refused.one();
    tracing::debug!(%addr, %reason, "refused a connection");
    shared.events.offer(TransportEvent::Refused { addr, reason });
}

/// What a failed handshake says about the dialer.
fn refusal(error: &ConnectionError) -> Refusal {
    match error {
        ConnectionError::TransportError(ours) => match alert(ours.code) {
            Some(AlertDescription::NoApplicationProtocol) => Refusal::Version,
            Some(AlertDescription::CertificateRequired) => Refusal::NoCertificate,
            Some(AlertDescription::AccessDenied) => Refusal::SelfConnection,
            Some(AlertDescription::BadCertificate | AlertDescription::DecryptError) => {
                Refusal::Certificate(ours.reason.clone())
            }
            Some(_) | None => Refusal::Handshake(brief(error)),
        },
        ConnectionError::TimedOut => Refusal::TimedOut,
        ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) | ConnectionError::Reset => {
            Refusal::Aborted(brief(error))
        }
        ConnectionError::VersionMismatch => Refusal::Version,
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Refusal::Handshake(brief(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_told_as_ipv4_and_a_link_local_address_keeps_its_scope() {
        for (seen, told) in [
            ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            assert_eq!(plain(seen.parse().unwrap()).to_string(), told);
        }
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let site = |text: &str| site(text.parse().unwrap());
        assert_eq!(site("2001:db8::1"), site("2001:db8::ffff:2:3:4"));
        assert_ne!(site("2001:db8::1"), site("2001:db8:0:1::1"));
        assert_ne!(site("192.0.2.1"), site("192.0.2.2"));
    }
}
