//! Connections through a third peer, and the direct ones that take over.

use std::time::Duration;

use bytes::Bytes;
use murmur_collectives::PeerId;
use murmur_quic::{DialError, Priority, TransportEvent};

use crate::peer::{Peer, connect};

const KIB: usize = 1024;

fn message(count: usize) -> Bytes {
    (0..count).map(|index| (index * 31 + count + index / 251) as u8).collect()
}

/// Two peers, each connected to the third and not to each other.
async fn trio(sessions: usize) -> (Peer, Peer, Peer) {
    let mut relay = Peer::start_with(1, |config| {
        config.relay_sessions_max = sessions;
        config.relay_bytes_per_s_max = 100 * 1024 * 1024;
    });
    let (mut alice, mut bob) = (Peer::start(2), Peer::start(3));
    connect(&mut alice, &mut relay).await;
    connect(&mut bob, &mut relay).await;
    (relay, alice, bob)
}

async fn next_relayed(peer: &mut Peer) -> (PeerId, bool, Option<PeerId>) {
    match peer.next().await {
        TransportEvent::Connected { peer, dialed, relay, .. } => (peer, dialed, relay),
        other => panic!("expected a connection, got {other:?}"),
    }
}

async fn connect_through(relay: &Peer, alice: &mut Peer, bob: &mut Peer) {
    alice.transport.dial_through(relay.id, bob.id);
    assert_eq!(next_relayed(alice).await, (bob.id, true, Some(relay.id)));
    assert_eq!(next_relayed(bob).await, (alice.id, false, Some(relay.id)));
}

#[tokio::test]
async fn messages_of_every_size_cross_a_relay_in_both_directions() {
    let (relay, mut alice, mut bob) = trio(1).await;
    connect_through(&relay, &mut alice, &mut bob).await;
    for size in [0, 1, 1200, 64 * KIB, 1024 * KIB] {
        alice.transport.send(bob.id, Priority::Payload, message(size)).unwrap();
        bob.transport.send(alice.id, Priority::Control, message(size)).unwrap();
        assert_eq!(bob.next_message().await, (alice.id, message(size).to_vec()), "size {size}");
        assert_eq!(alice.next_message().await, (bob.id, message(size).to_vec()), "size {size}");
    }
    alice.transport.send_datagram(bob.id, b"alive?").unwrap();
    assert!(matches!(bob.next().await, TransportEvent::Datagram { from, .. } if from == alice.id));
    let relayed = relay.transport.traffic();
    assert!(relayed.relayed_bytes > 2 * 1024 * KIB as u64, "{relayed:?}");
    assert_eq!(relayed.messages_rx, 0, "the relay sees packets, not messages");
}

#[tokio::test]
async fn a_direct_connection_takes_over_and_nothing_is_lost() {
    let (relay, mut alice, mut bob) = trio(1).await;
    connect_through(&relay, &mut alice, &mut bob).await;
    for number in 0..40 {
        alice.transport.send(bob.id, Priority::Payload, message(1000 * number)).unwrap();
    }
    alice.transport.dial(bob.addr(), Some(bob.id));
    let (mut sizes, mut moved) = (Vec::new(), 0);
    while sizes.len() < 40 || moved < 1 {
        match bob.next().await {
            TransportEvent::Message { bytes, .. } => sizes.push(bytes.len()),
            TransportEvent::Moved { peer, addr } => {
                assert_eq!((peer, addr), (alice.id, alice.addr()));
                moved += 1;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    sizes.sort_unstable();
    assert_eq!(sizes, (0..40).map(|number| 1000 * number).collect::<Vec<_>>());
    let mut told = [false; 2];
    while told != [true; 2] {
        match alice.next().await {
            TransportEvent::Moved { peer, addr } => told[usize::from((peer, addr) != (bob.id, bob.addr()))] = true,
            TransportEvent::DialFailed { reason: DialError::AlreadyConnected(_), .. } => told[1] = true,
            other => panic!("unexpected {other:?}"),
        }
    }
    // From here on messages take the direct path. (Acknowledgements of earlier ones may still pass the relay.)
    let before = relay.transport.traffic().relayed_bytes;
    bob.transport.send(alice.id, Priority::Payload, message(1024 * KIB)).unwrap();
    assert_eq!(alice.next_message().await.1.len(), 1024 * KIB);
    let after = relay.transport.traffic().relayed_bytes;
    assert!(after - before < 512 * KIB as u64, "{} bytes through the relay", after - before);
}

#[tokio::test]
async fn who_does_not_volunteer_passes_nothing_on() {
    let mut relay = Peer::start(1);
    let mut alice = Peer::start_with(2, |config| config.handshake_timeout = Duration::from_secs(1));
    let mut bob = Peer::start(3);
    connect(&mut bob, &mut relay).await;
    alice.transport.dial(relay.addr(), Some(relay.id));
    assert_eq!(alice.next_connected().await, (relay.id, true));
    alice.transport.dial_through(relay.id, bob.id);
    match alice.next().await {
        TransportEvent::DialThroughFailed { relay: by, peer, reason } => {
            assert_eq!((by, peer), (relay.id, bob.id));
            assert!(matches!(reason, DialError::TimedOut(_)), "{reason:?}");
        }
        other => panic!("expected a failed dial, got {other:?}"),
    }
    assert!(relay.transport.traffic().relay_refused > 0);
    assert_eq!(relay.transport.traffic().relayed, 0);
}

#[tokio::test]
async fn a_relay_does_not_become_a_chain() {
    // alice -- relay -- bob, and carol behind bob: bob volunteers, but his way to alice is relayed itself.
    let (relay, mut alice, mut bob) = trio(4).await;
    let mut carol = Peer::start_with(4, |config| config.handshake_timeout = Duration::from_secs(1));
    connect_through(&relay, &mut alice, &mut bob).await;
    carol.transport.dial(bob.addr(), Some(bob.id));
    assert_eq!(carol.next_connected().await, (bob.id, true));
    carol.transport.dial_through(bob.id, alice.id);
    assert!(matches!(carol.next().await, TransportEvent::DialThroughFailed { .. }));
    assert!(bob.transport.traffic().relay_refused > 0);
}
