//! Strangers: other versions, no or stolen certificates, stalled messages, garbage. The peer refuses and carries on.

use std::{net::UdpSocket, time::Duration};

use murmur_quic::{ALPN, DialError, Disconnect, Priority, Refusal, TransportEvent};
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use tokio::time::timeout;

use crate::{
    peer::{PATIENCE, Peer, connect, localhost, until},
    stranger::{self, Shows},
};

/// TLS alerts in QUIC's error space (RFC 9001 §4.8).
const NO_APPLICATION_PROTOCOL: u8 = 120;
const CERTIFICATE_REQUIRED: u8 = 116;
const DECRYPT_ERROR: u8 = 51;

/// Dials `peer` and returns why it ended the connection.
async fn turned_away(peer: &Peer, alpn: &str, shows: &Shows) -> ConnectionError {
    let endpoint = stranger::dialing(alpn, shows);
    let dial = async {
        // A dialer's handshake may be done before the other side has looked at its certificate.
        match endpoint.connect(peer.addr(), "anyone").unwrap().await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    };
    timeout(PATIENCE, dial).await.expect("the stranger is told")
}

async fn next_refusal(peer: &mut Peer) -> Refusal {
    match peer.next().await {
        TransportEvent::Refused { reason, .. } => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn assert_alert(error: &ConnectionError, alert: u8) {
    let ConnectionError::ConnectionClosed(close) = error else { panic!("closed by {error:?}") };
    assert_eq!(close.error_code, TransportErrorCode::crypto(alert));
}

#[tokio::test]
async fn a_dialer_of_another_version_is_told_so() {
    let mut peer = Peer::start(1);
    let error = turned_away(&peer, "murmur/0", &Shows::Its(2)).await;
    assert_alert(&error, NO_APPLICATION_PROTOCOL);
    assert_eq!(next_refusal(&mut peer).await, Refusal::Version);
    assert_eq!(peer.transport.traffic().refused, 1);
}

#[tokio::test]
async fn a_listener_of_another_version_is_recognized() {
    let mut peer = Peer::start(1);
    let endpoint = stranger::listening("murmur/0", 2);
    peer.transport.dial(endpoint.local_addr().unwrap(), None);
    match peer.next().await {
        TransportEvent::DialFailed { reason, .. } => assert_eq!(reason, DialError::Version),
        other => panic!("expected a failed dial, got {other:?}"),
    }
}

#[tokio::test]
async fn a_dialer_without_a_certificate_is_refused() {
    let mut peer = Peer::start(1);
    let error = turned_away(&peer, ALPN, &Shows::Nothing).await;
    assert_alert(&error, CERTIFICATE_REQUIRED);
    assert_eq!(next_refusal(&mut peer).await, Refusal::NoCertificate);
}

#[tokio::test]
async fn a_copied_certificate_is_worth_nothing_without_its_key() {
    let mut peer = Peer::start(1);
    let error = turned_away(&peer, ALPN, &Shows::Stolen(2, 3)).await;
    assert_alert(&error, DECRYPT_ERROR);
    let refusal = next_refusal(&mut peer).await;
    assert!(matches!(refusal, Refusal::Certificate(_)), "{refusal:?}");
}

#[tokio::test]
async fn someone_with_a_copy_of_our_own_identity_is_refused() {
    let mut peer = Peer::start(1);
    turned_away(&peer, ALPN, &Shows::Its(1)).await;
    assert_eq!(next_refusal(&mut peer).await, Refusal::SelfConnection);
}

#[tokio::test]
async fn a_stalled_message_is_dropped_and_its_connection_lives() {
    let mut peer = Peer::start_with(1, |config| config.message_timeout = Duration::from_millis(100));
    let endpoint = stranger::dialing(ALPN, &Shows::Its(2));
    let connection = endpoint.connect(peer.addr(), "anyone").unwrap().await.unwrap();
    let (stranger_id, _) = peer.next_connected().await;

    let mut stalled = connection.open_uni().await.unwrap();
    stalled.write_all(b"and then ").await.unwrap();
    let stopped = timeout(PATIENCE, stalled.stopped()).await.expect("the stall ends").unwrap();
    assert_eq!(stopped, Some(VarInt::from_u32(1)));
    assert_eq!(peer.transport.traffic().messages_rx_timed_out, 1);

    let mut whole = connection.open_uni().await.unwrap();
    whole.write_all(b"in time").await.unwrap();
    whole.finish().unwrap();
    assert_eq!(peer.next_message().await, (stranger_id, b"in time".to_vec()));
}

#[tokio::test]
async fn a_stranger_that_stalls_every_stream_it_may_open_delays_only_itself() {
    let mut peer = Peer::start_with(1, |config| config.message_timeout = Duration::from_millis(500));
    let mut honest = Peer::start(3);
    connect(&mut honest, &mut peer).await;
    let endpoint = stranger::dialing(ALPN, &Shows::Its(2));
    let connection = endpoint.connect(peer.addr(), "anyone").unwrap().await.unwrap();
    let (stranger_id, _) = peer.next_connected().await;
    let mut stalled = Vec::new();
    for _ in 0..64 {
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(b"and then ").await.unwrap();
        stalled.push(stream);
    }
    honest.transport.send(peer.id, Priority::Bulk, vec![7; 1 << 20].into()).unwrap();
    assert_eq!(peer.next_message().await.0, honest.id);
    until("every stall is ended", || peer.transport.traffic().messages_rx_timed_out == 64).await;
    // Streams are given back once their sender lets go of them; one that does not has no more to stall.
    drop(stalled);
    let mut whole = timeout(PATIENCE, connection.open_uni()).await.expect("streams are given back").unwrap();
    whole.write_all(b"in time").await.unwrap();
    whole.finish().unwrap();
    assert_eq!(peer.next_message().await, (stranger_id, b"in time".to_vec()));
}

#[tokio::test]
async fn a_flood_of_connections_ends_none_of_those_that_are_up() {
    let mut peer = Peer::start_with(1, |config| config.connections_per_ip_max = 4);
    let mut honest = Peer::start(2);
    connect(&mut honest, &mut peer).await;
    let endpoint = stranger::dialing(ALPN, &Shows::Its(3));
    let mut floods = Vec::new();
    for _ in 0..200 {
        floods.push(endpoint.connect(peer.addr(), "anyone").unwrap());
    }
    until("most are refused", || peer.transport.traffic().refused >= 150).await;
    assert!(peer.transport.connections() <= 4);
    honest.transport.send(peer.id, Priority::Control, "still here?".into()).unwrap();
    loop {
        match peer.next().await {
            TransportEvent::Message { from, bytes } if from == honest.id => {
                assert_eq!(bytes, b"still here?");
                break;
            }
            TransportEvent::Refused { .. } | TransportEvent::Connected { .. } | TransportEvent::Disconnected { .. } => {
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn half_a_message_is_no_message() {
    let mut peer = Peer::start(1);
    let endpoint = stranger::dialing(ALPN, &Shows::Its(2));
    let connection = endpoint.connect(peer.addr(), "anyone").unwrap().await.unwrap();
    let (stranger_id, _) = peer.next_connected().await;

    let mut given_up = connection.open_uni().await.unwrap();
    given_up.write_all(b"half").await.unwrap();
    given_up.reset(VarInt::from_u32(0)).unwrap();
    until("the loss is counted", || peer.transport.traffic().messages_rx_aborted == 1).await;
    let mut cut_off = connection.open_uni().await.unwrap();
    cut_off.write_all(b"half").await.unwrap();
    connection.close(VarInt::from_u32(99), b"\x1b[31mtext of a stranger");
    match peer.next().await {
        TransportEvent::Disconnected { peer, reason } => {
            assert_eq!(peer, stranger_id);
            assert_eq!(reason, Disconnect::Failed("closed with unknown code 99".to_owned()));
        }
        other => panic!("expected the end of a connection, got {other:?}"),
    }
}

/// Reproducible noise (Knuth's MMIX generator).
struct Noise(u64);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    /// A datagram: noise, or noise that begins like a QUIC packet.
    fn datagram(&mut self, number: usize) -> Vec<u8> {
        let mut datagram: Vec<u8> = (0..number * 7 % 1400).map(|_| self.byte()).collect();
        let start: &[u8] = match number % 4 {
            0 => &[0xc0, 0, 0, 0, 1, 8],
            1 => &[0xc0, 0, 0, 0, 0, 20],
            2 => &[0x40],
            _ => &[],
        };
        let bytes = start.len().min(datagram.len());
        datagram[..bytes].copy_from_slice(&start[..bytes]);
        datagram
    }
}

#[tokio::test]
async fn garbage_is_counted_and_harms_nobody() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    connect(&mut alice, &mut bob).await;
    let socket = UdpSocket::bind(localhost()).unwrap();
    let mut noise = Noise(1);
    let before = alice.transport.traffic();
    for number in 0..600 {
        socket.send_to(&noise.datagram(number), alice.addr()).unwrap();
        if number % 20 == 0 {
            // Lets the peer read, or the system drops the rest.
            tokio::task::yield_now().await;
        }
    }
    until("some garbage is seen", || alice.transport.traffic().udp_rx_not_quic >= 50).await;
    assert!(alice.transport.traffic().udp_rx_bytes > before.udp_rx_bytes + 20_000);

    bob.transport.send(alice.id, Priority::Control, "still here?".into()).unwrap();
    assert_eq!(next_message_past_refusals(&mut alice).await, b"still here?");
    let mut carol = Peer::start(3);
    carol.transport.dial(alice.addr(), Some(alice.id));
    assert_eq!(carol.next_connected().await, (alice.id, true));
}

async fn next_message_past_refusals(peer: &mut Peer) -> Vec<u8> {
    loop {
        match peer.next().await {
            TransportEvent::Refused { .. } => {}
            TransportEvent::Message { bytes, .. } => return bytes,
            other => panic!("expected a message, got {other:?}"),
        }
    }
}
