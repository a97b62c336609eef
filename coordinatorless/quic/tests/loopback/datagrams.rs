//! Datagrams: past every queue, at most once, and never so many that others suffer.

use std::collections::BTreeSet;

use bytes::Bytes;
use murmur_collectives::PeerId;
use murmur_quic::{ALPN, DATAGRAM_BYTES_MAX, Priority, SendError, TransportEvent};
use tokio::time::{Duration, interval};

use crate::{
    peer::{Peer, connect, until},
    stranger::{self, Shows},
    throttle::Throttle,
};

const KIB: usize = 1024;

async fn next_datagram(peer: &mut Peer) -> (PeerId, Bytes) {
    match peer.next().await {
        TransportEvent::Datagram { from, bytes } => (from, bytes),
        other => panic!("expected a datagram, got {other:?}"),
    }
}

#[tokio::test]
async fn datagrams_of_every_allowed_size_arrive_in_both_directions() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    assert_eq!(alice.transport.send_datagram(bob.id, b"hi"), Err(SendError::NotConnected));
    connect(&mut alice, &mut bob).await;
    for size in [0, 1, 500, DATAGRAM_BYTES_MAX] {
        alice.transport.send_datagram(bob.id, &vec![7; size]).unwrap();
        assert_eq!(next_datagram(&mut bob).await, (alice.id, vec![7; size].into()));
        bob.transport.send_datagram(alice.id, &vec![8; size]).unwrap();
        assert_eq!(next_datagram(&mut alice).await, (bob.id, vec![8; size].into()));
    }
    let long = alice.transport.send_datagram(bob.id, &vec![0; DATAGRAM_BYTES_MAX + 1]);
    assert_eq!(long, Err(SendError::TooLong { bytes: DATAGRAM_BYTES_MAX + 1, limit: DATAGRAM_BYTES_MAX }));
    assert_eq!(alice.transport.traffic().datagrams_tx, 4);
    assert_eq!((bob.transport.traffic().datagrams_rx, alice.transport.traffic().datagrams_tx_lost), (4, 2));
}

#[tokio::test]
async fn a_caller_who_is_behind_with_messages_hears_datagrams_first() {
    let (mut alice, mut sleepy) = (Peer::start(1), Peer::start_with(2, |config| config.events_max = 4));
    connect(&mut alice, &mut sleepy).await;
    for _ in 0..20 {
        alice.transport.send(sleepy.id, Priority::Payload, vec![1; 100 * KIB].into()).unwrap();
    }
    until("messages wait", || sleepy.transport.traffic().messages_rx >= 2).await;
    alice.transport.send_datagram(sleepy.id, b"alive?").unwrap();
    until("the datagram has come", || sleepy.transport.traffic().datagrams_rx == 1).await;
    assert_eq!(next_datagram(&mut sleepy).await, (alice.id, "alive?".into()));
}

#[tokio::test]
async fn a_flood_of_datagrams_is_dropped_and_others_are_heard() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    connect(&mut bob, &mut alice).await;
    let endpoint = stranger::dialing(ALPN, &Shows::Its(3));
    let flooder = endpoint.connect(alice.addr(), "anyone").unwrap().await.unwrap();
    let (flooder_id, _) = alice.next_connected().await;
    let mut tick = interval(Duration::from_millis(1));
    while alice.transport.traffic().datagrams_rx_dropped < 500 {
        for kind in [0u8, 0, 0, 0, 1, 2, 3, 255] {
            // Well-formed for the caller, frames to nobody, and kinds that do not exist.
            let _ = flooder.send_datagram([&[kind][..], &[9; 100]].concat().into());
        }
        tick.tick().await;
    }
    bob.transport.send(alice.id, Priority::Control, "still here?".into()).unwrap();
    loop {
        match alice.next().await {
            TransportEvent::Datagram { from, .. } => assert_eq!(from, flooder_id),
            TransportEvent::Message { from, bytes } => {
                assert_eq!((from, bytes), (bob.id, b"still here?".to_vec()));
                break;
            }
            other => panic!("expected a message, got {other:?}"),
        }
    }
}

/// What happened on a link while `payloads` messages crossed it.
#[derive(Debug, Default)]
struct Crossing {
    round_trips: usize,
    datagrams_sent: usize,
    datagrams_heard: BTreeSet<usize>,
}

/// Fills the way from `alice` to `bob` with payloads and bulk, and talks beside them until all have arrived.
async fn cross(alice: &mut Peer, bob: &mut Peer, payloads: usize) -> Crossing {
    for number in 0..payloads {
        let priority = if number % 2 == 0 { Priority::Payload } else { Priority::Bulk };
        alice.transport.send(bob.id, priority, vec![number as u8; 256 * KIB].into()).unwrap();
    }
    let (mut crossing, mut arrived, mut tick) = (Crossing::default(), 0, interval(Duration::from_millis(40)));
    alice.transport.send(bob.id, Priority::Control, "ping".into()).unwrap();
    while arrived < payloads {
        tokio::select! {
            event = bob.next() => match event {
                TransportEvent::Message { bytes, .. } if bytes == b"ping" => {
                    bob.transport.send(alice.id, Priority::Control, "pong".into()).unwrap();
                }
                TransportEvent::Message { .. } => arrived += 1,
                TransportEvent::Datagram { bytes, .. } => {
                    crossing.datagrams_heard.insert(usize::from_le_bytes(bytes[..8].try_into().unwrap()));
                }
                other => panic!("unexpected {other:?}"),
            },
            event = alice.next() => match event {
                TransportEvent::Message { bytes, .. } if bytes == b"pong" => {
                    crossing.round_trips += 1;
                    alice.transport.send(bob.id, Priority::Control, "ping".into()).unwrap();
                }
                other => panic!("unexpected {other:?}"),
            },
            _ = tick.tick() => {
                alice.transport.send_datagram(bob.id, &crossing.datagrams_sent.to_le_bytes()).unwrap();
                crossing.datagrams_sent += 1;
            }
        }
    }
    crossing
}

#[tokio::test]
async fn control_and_datagrams_pass_a_10_mbit_link_full_of_payloads() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    let link = Throttle::start(bob.addr(), 1_250_000, 128 * KIB).await;
    alice.transport.dial(link.addr, Some(bob.id));
    assert_eq!(alice.next_connected().await, (bob.id, true));
    assert_eq!(bob.next_connected().await, (alice.id, false));
    let crossing = cross(&mut alice, &mut bob, 20).await;
    println!(
        "while 5 MiB crossed 10 Mbit/s: {} round trips of control, {} of {} datagrams heard, {} packets dropped",
        crossing.round_trips,
        crossing.datagrams_heard.len(),
        crossing.datagrams_sent,
        link.dropped()
    );
    // Starved control would make one round trip, or none. The queue of the link alone allows about forty.
    assert!(crossing.round_trips >= 8, "{crossing:?}");
    assert!(crossing.datagrams_heard.len() * 2 > crossing.datagrams_sent, "{crossing:?}");
}
