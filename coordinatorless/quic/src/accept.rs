//! Accepting: from the first packet of an incoming connection to a welcome or a refusal.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use quinn::{Connection, ConnectionError, Incoming};
use rustls::AlertDescription;
use tokio::time::timeout;

use crate::{
    candidate::Candidate,
    connection::{self, Announcement},
    error::{CloseReason, Refusal, brief},
    event::TransportEvent,
    link::Link,
    registry::{Admission, Slot},
    shared::Shared,
    tls::alert,
};

/// Accepts until the endpoint is closed.
pub(crate) async fn accept_all(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        handle_incoming(&shared, incoming);
    }
}

/// Starts the handshake if a slot is free. When half of the slots are taken, the client must first validate its address by a
/// Retry (RFC 9000 §8.1.2), which stores nothing here.
fn handle_incoming(shared: &Arc<Shared>, incoming: Incoming) {
    let addr = canonical(incoming.remote_address());
    let (max, per_ip_max) = (shared.config.connections_max, shared.config.connections_per_ip_max);
    if shared.registry.slots_taken() * 2 >= max && !incoming.remote_address_validated() && incoming.may_retry() {
        shared.counters.retried.one();
        // Cannot fail: `may_retry` was checked above.
        let _ = incoming.retry();
        return;
    }
    match shared.registry.take_slot(limit_key(addr.ip()), max, per_ip_max) {
        Ok(slot) => drop(tokio::spawn(complete_handshake(shared.clone(), incoming, addr, slot))),
        Err(reason) => {
            incoming.refuse();
            report_refusal(shared, addr, reason);
        }
    }
}

/// `addr` as IPv4 if it is an IPv4 address in IPv6-mapped form, which an IPv6 socket reports.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        IpAddr::V6(_) => addr, // with its scope, without which a link-local address is ambiguous
    }
}

/// The key under which connections per address are counted: of IPv6 the first 64 bits, because a host can use all addresses
/// that share them (RFC 4291 §2.5.4).
fn limit_key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

async fn complete_handshake(shared: Arc<Shared>, incoming: Incoming, addr: SocketAddr, slot: Slot) {
    let connecting = match shared.relay_paths.resolve(addr) {
        Some(_) => incoming.accept_with(shared.accepting_relayed.clone()),
        None => incoming.accept(),
    };
    let connecting = match connecting {
        Ok(connecting) => connecting,
        Err(error) => return report_refusal(&shared, addr, refusal(&error)),
    };
    match timeout(shared.config.handshake_timeout, connecting).await {
        Err(_) => report_refusal(&shared, addr, Refusal::TimedOut),
        Ok(Err(error)) => report_refusal(&shared, addr, refusal(&error)),
        Ok(Ok(connection)) => admit(&shared, connection, addr, slot).await,
    }
}

async fn admit(shared: &Arc<Shared>, connection: Connection, addr: SocketAddr, slot: Slot) {
    let relay = shared.relay_paths.resolve(addr).map(|(relay, _)| relay);
    let candidate = match Candidate::new(connection, false, relay) {
        Ok(candidate) => candidate,
        Err(error) => return report_refusal(shared, addr, Refusal::Certificate(error.to_string())),
    };
    let (link, announcement) = match shared.admit(candidate) {
        Admission::First(link) => (link, Announcement::AtOnce),
        Admission::Replaces(link, before) => (link, Announcement::AfterEndOf(before)),
        Admission::Supersedes(link, before) => (link, Announcement::ContinuationOf(before)),
        Admission::Loses(link, _) => return close_duplicate(shared, &link, addr),
        Admission::Stopping => return report_refusal(shared, addr, Refusal::Full),
    };
    shared.counters.accepted.one();
    send_welcome(&link.connection).await;
    connection::serve(shared.clone(), link, announcement, addr, slot).await;
}

fn close_duplicate(shared: &Shared, link: &Link, addr: SocketAddr) {
    link.close(CloseReason::Duplicate);
    link.ended.raise();
    report_refusal(shared, addr, Refusal::AlreadyConnected(link.peer));
}

/// Sends the welcome: the connection's first stream, empty. If that fails, the connection has failed, which
/// [`connection::serve`] notices.
async fn send_welcome(connection: &Connection) {
    if let Ok(mut stream) = connection.open_uni().await {
        let _ = stream.set_priority(1).and_then(|()| stream.finish());
    }
}

fn report_refusal(shared: &Shared, addr: SocketAddr, reason: Refusal) {
    shared.counters.refused.one();
    tracing::debug!(%addr, %reason, "refused a connection");
    shared.events.offer(TransportEvent::Refused { addr, reason });
}

/// The reason of a failed handshake.
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
    fn ipv4_is_reported_as_ipv4_and_a_link_local_address_keeps_its_scope() {
        for (seen, reported) in [
            ("[::ffff:192.0.2.1]:7", "192.0.2.1:7"),
            ("192.0.2.1:7", "192.0.2.1:7"),
            ("[2001:db8::1]:7", "[2001:db8::1]:7"),
            ("[fe80::1%3]:7", "[fe80::1%3]:7"),
        ] {
            assert_eq!(canonical(seen.parse().unwrap()).to_string(), reported);
        }
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one() {
        let key = |text: &str| limit_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2:3:4"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
