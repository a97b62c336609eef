//! Who gets connected to whom, and how often.

use std::{net::UdpSocket, time::Duration};

use murmur_quic::{CloseReason, DialError, Priority, Refusal, TransportEvent};
use tokio::time::{Instant, timeout};

use crate::{
    peer::{PATIENCE, Peer, connect, localhost, until},
    relay::Relay,
};

async fn next_dial_error(peer: &mut Peer) -> DialError {
    match peer.next().await {
        TransportEvent::DialFailed { reason, .. } => reason,
        other => panic!("expected a failed dial, got {other:?}"),
    }
}

/// The refusal of the next incoming connection.
async fn next_refusal(peer: &mut Peer) -> Refusal {
    match peer.next().await {
        TransportEvent::Refused { reason, .. } => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn a_peer_does_not_connect_to_itself() {
    let mut peer = Peer::start(1);
    peer.transport.dial(peer.addr(), None);
    let (mut failed, mut refused) = (None, None);
    while failed.is_none() || refused.is_none() {
        match peer.next().await {
            TransportEvent::DialFailed { reason, .. } => failed = Some(reason),
            TransportEvent::Refused { reason, .. } => refused = Some(reason),
            other => panic!("expected both ends of a refused dial, got {other:?}"),
        }
    }
    assert_eq!(failed, Some(DialError::SelfConnection));
    assert!(matches!(refused, Some(Refusal::Aborted(_))), "{refused:?}");
}

#[tokio::test]
async fn another_process_with_the_same_identity_is_known_as_such() {
    let (mut dialer, other) = (Peer::start(1), Peer::start(1));
    dialer.transport.dial(other.addr(), None);
    match dialer.next().await {
        TransportEvent::DialFailed { reason, .. } => assert_eq!(reason, DialError::Twin),
        other => panic!("expected a failed dial, got {other:?}"),
    }
}

#[tokio::test]
async fn another_peer_than_the_expected_one_is_refused_and_learns_nothing() {
    let (mut alice, mut mallory, bob) = (Peer::start(1), Peer::start(2), Peer::start(3));
    alice.transport.dial(mallory.addr(), Some(bob.id));
    let reason = next_dial_error(&mut alice).await;
    assert_eq!(reason, DialError::WrongPeer { expected: bob.id, found: mallory.id });
    let refusal = next_refusal(&mut mallory).await;
    assert!(matches!(refusal, Refusal::Aborted(_)), "{refusal:?}");
}

#[tokio::test]
async fn a_silent_address_fails_within_the_handshake_timeout() {
    let mut peer = Peer::start_with(1, |config| config.handshake_timeout = Duration::from_millis(200));
    let silent = UdpSocket::bind(localhost()).unwrap();
    let closed = UdpSocket::bind(localhost()).unwrap().local_addr().unwrap();
    for addr in [silent.local_addr().unwrap(), closed] {
        let dialed_at = Instant::now();
        peer.transport.dial(addr, None);
        assert_eq!(next_dial_error(&mut peer).await, DialError::TimedOut(Duration::from_millis(200)));
        assert!(dialed_at.elapsed() < PATIENCE / 4, "took {:?}", dialed_at.elapsed());
    }
}

#[tokio::test]
async fn an_address_is_dialed_once_at_a_time_and_a_peer_is_connected_once() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    alice.transport.dial(bob.addr(), None);
    alice.transport.dial(bob.addr(), None);
    assert_eq!(next_dial_error(&mut alice).await, DialError::AlreadyDialing);
    assert_eq!(alice.next_connected().await, (bob.id, true));
    assert_eq!(bob.next_connected().await, (alice.id, false));

    alice.transport.dial(bob.addr(), None);
    assert_eq!(next_dial_error(&mut alice).await, DialError::AlreadyConnected(bob.id));
    bob.transport.dial(alice.addr(), Some(alice.id));
    let reason = loop {
        match bob.next().await {
            TransportEvent::DialFailed { reason, .. } => break reason,
            // Of Alice's second dial.
            TransportEvent::Refused { .. } => {}
            other => panic!("expected a failed dial, got {other:?}"),
        }
    };
    assert_eq!(reason, DialError::AlreadyConnected(alice.id));
    until("one connection each", || (alice.transport.connections(), bob.transport.connections()) == (1, 1)).await;
}

/// What one side of a simultaneous dial has seen.
#[derive(Debug, Default)]
struct Seen {
    connected: usize,
    dials_answered: usize,
    messages: Vec<Vec<u8>>,
}

impl Seen {
    /// Takes events until the dial is answered and `messages` messages have come.
    async fn gather(&mut self, peer: &mut Peer, messages: usize) {
        while self.connected == 0 || self.dials_answered == 0 || self.messages.len() < messages {
            match peer.next().await {
                TransportEvent::Connected { peer: other, dialed, .. } => {
                    self.connected += 1;
                    self.dials_answered += usize::from(dialed);
                    for number in 0..10u8 {
                        peer.transport.send(other, Priority::Control, vec![number].into()).unwrap();
                    }
                }
                TransportEvent::DialFailed { reason, .. } => {
                    assert!(matches!(reason, DialError::AlreadyConnected(_)), "{reason:?}");
                    self.dials_answered += 1;
                }
                TransportEvent::Message { bytes, .. } => self.messages.push(bytes),
                // The other's dial, given up because we connected first.
                TransportEvent::Refused { .. } => {}
                TransportEvent::Disconnected { reason, .. } => panic!("disconnected: {reason}"),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

/// Two peers dial each other at once, over links with this latency.
async fn dial_each_other(secrets: [u8; 2], latency: Duration) {
    let start = |secret| Peer::start_with(secret, |config| config.handover = Duration::from_millis(500));
    let (mut alice, mut bob) = (start(secrets[0]), start(secrets[1]));
    let (to_alice, to_bob) = (Relay::start(alice.addr(), latency).await, Relay::start(bob.addr(), latency).await);
    alice.transport.dial(to_bob.addr, Some(bob.id));
    bob.transport.dial(to_alice.addr, Some(alice.id));
    let (mut at_alice, mut at_bob) = (Seen::default(), Seen::default());
    tokio::join!(at_alice.gather(&mut alice, 10), at_bob.gather(&mut bob, 10));
    for seen in [&mut at_alice, &mut at_bob] {
        seen.messages.sort();
        assert_eq!(seen.messages, (0..10u8).map(|number| vec![number]).collect::<Vec<_>>());
    }

    until("one connection each", || (alice.transport.connections(), bob.transport.connections()) == (1, 1)).await;
    alice.transport.close(bob.id, CloseReason::Unneeded);
    for (peer, seen, words) in
        [(&mut alice, &at_alice, "closed by us: not needed"), (&mut bob, &at_bob, "closed by the peer: not needed")]
    {
        assert_eq!((seen.connected, seen.dials_answered), (1, 1));
        assert_eq!(next_disconnected_past_refusals(peer).await, words);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_that_dial_each_other_at_once_get_one_connection_and_lose_no_message() {
    // With latency both handshakes are sure to overlap; without, anything may happen.
    for round in 0..5 {
        dial_each_other([2 * round + 1, 2 * round + 2], Duration::from_millis(25)).await;
        dial_each_other([2 * round + 1, 2 * round + 2], Duration::ZERO).await;
    }
}

async fn next_disconnected_past_refusals(peer: &mut Peer) -> String {
    loop {
        match peer.next().await {
            TransportEvent::Refused { .. } => {}
            TransportEvent::Disconnected { reason, .. } => return reason.to_string(),
            other => panic!("expected the end of a connection, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_restarted_peer_replaces_its_lost_connection_at_once() {
    // Whichever of the two is the smaller, and whichever dialed before.
    for (secrets, survivor_dialed) in [((1, 2), true), ((1, 2), false), ((2, 1), true), ((2, 1), false)] {
        let (mut survivor, mut before) = (Peer::start(secrets.0), Peer::start(secrets.1));
        match survivor_dialed {
            true => connect(&mut survivor, &mut before).await,
            false => connect(&mut before, &mut survivor).await,
        }
        let mut after = Peer::start(secrets.1);
        after.transport.dial(survivor.addr(), Some(survivor.id));
        let lost = "closed by us: replaced by a newer connection".to_owned();
        assert_eq!(survivor.next_disconnected().await, (before.id, lost));
        assert_eq!(survivor.next_connected().await, (after.id, false));
        assert_eq!(after.next_connected().await, (survivor.id, true));
        let told = "closed by the peer: replaced by a newer connection".to_owned();
        assert_eq!(before.next_disconnected().await, (survivor.id, told));

        survivor.transport.send(after.id, Priority::Control, "welcome back".into()).unwrap();
        assert_eq!(after.next_message().await, (survivor.id, b"welcome back".to_vec()));
    }
}

#[tokio::test]
async fn a_full_peer_says_so_and_has_room_again_when_someone_leaves() {
    for by_ip in [true, false] {
        let mut host = Peer::start_with(1, |config| match by_ip {
            true => config.connections_per_ip_max = 1,
            false => config.connections_max = 1,
        });
        let (mut first, mut second) = (Peer::start(2), Peer::start(3));
        connect(&mut first, &mut host).await;
        second.transport.dial(host.addr(), None);
        assert_eq!(next_dial_error(&mut second).await, DialError::PeerFull);
        let refusal = next_refusal(&mut host).await;
        assert_eq!(refusal, if by_ip { Refusal::FullForAddress } else { Refusal::Full });

        timeout(PATIENCE, first.transport.shutdown(PATIENCE)).await.unwrap();
        assert_eq!(host.next_disconnected().await, (first.id, "closed by the peer: leaving".to_owned()));
        until("a free slot", || host.transport.connections() == 0).await;
        connect(&mut second, &mut host).await;
    }
}

#[tokio::test]
async fn a_crowded_peer_asks_newcomers_to_prove_their_address() {
    let mut host = Peer::start_with(1, |config| config.connections_max = 2);
    let (mut first, mut second) = (Peer::start(2), Peer::start(3));
    connect(&mut first, &mut host).await;
    assert_eq!(host.transport.traffic().retried, 0);
    connect(&mut second, &mut host).await;
    assert_eq!(host.transport.traffic().retried, 1);
}
