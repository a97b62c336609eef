//! Peers whose sockets take both versions of IP. Where the machine has no IPv6 these tests say so.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use bytes::Bytes;
use murmur_quic::{DialError, Priority, TransportEvent};

use crate::peer::{Peer, connect_at};

fn has_ipv6() -> bool {
    let has = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        println!("skipped: this machine has no IPv6");
    }
    has
}

fn dual(secret: u8) -> Peer {
    Peer::start_with(secret, |config| {
        config.bind = (Ipv6Addr::UNSPECIFIED, 0).into();
        config.relay_sessions_max = 4;
    })
}

fn at(text: &str, peer: &Peer) -> SocketAddr {
    format!("{text}:{}", peer.addr().port()).parse().unwrap()
}

#[tokio::test]
async fn each_version_of_ip_reaches_it_and_is_told_as_what_it_is() {
    if !has_ipv6() {
        return;
    }
    let mut both = dual(1);
    let mut six = Peer::start_with(3, |config| config.bind = (Ipv6Addr::LOCALHOST, 0).into());
    let mut four = Peer::start(2);
    let addresses = [at("127.0.0.1", &both), at("[::1]", &both)];
    for (peer, addr_of_both) in [&mut four, &mut six].into_iter().zip(addresses) {
        peer.transport.dial(addr_of_both, Some(both.id));
        assert!(matches!(peer.next().await, TransportEvent::Connected { addr, .. } if addr == addr_of_both));
        let told = both.next().await;
        assert!(matches!(told, TransportEvent::Connected { addr, .. } if addr == peer.addr()), "{told:?}");
    }
    four.transport.dial(six.addr(), Some(six.id));
    assert!(matches!(four.next().await, TransportEvent::DialFailed { reason: DialError::Address(_), .. }));
}

#[tokio::test]
async fn ipv4_that_is_written_as_ipv6_is_dialed_as_ipv4() {
    if !has_ipv6() {
        return;
    }
    let (mut four, mut other) = (Peer::start(1), Peer::start(2));
    let written = at("[::ffff:127.0.0.1]", &other);
    connect_at(&mut four, &mut other, written).await;
}

#[tokio::test]
async fn a_relay_joins_those_that_have_no_version_of_ip_in_common() {
    if !has_ipv6() {
        return;
    }
    // In both directions: the one that dials must know the answer's stand-in address by the form that it dialed.
    for dual_dials in [true, false] {
        let (mut relay, mut six, mut four) = (dual(1), dual(2), Peer::start(3));
        let addresses = [at("[::1]", &relay), at("127.0.0.1", &relay)];
        connect_at(&mut six, &mut relay, addresses[0]).await;
        connect_at(&mut four, &mut relay, addresses[1]).await;
        let (dialer, accepter) = if dual_dials { (&mut six, &mut four) } else { (&mut four, &mut six) };
        dialer.transport.dial_through(relay.id, accepter.id);
        assert_eq!(dialer.next_connected().await, (accepter.id, true));
        assert_eq!(accepter.next_connected().await, (dialer.id, false));
        dialer.transport.send(accepter.id, Priority::Control, Bytes::from_static(b"across")).unwrap();
        assert_eq!(accepter.next_message().await, (dialer.id, b"across".to_vec()));
    }
}
