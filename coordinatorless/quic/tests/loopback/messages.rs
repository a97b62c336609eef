//! A message arrives whole or not at all, and a peer that stalls delays no other.

use bytes::Bytes;
use murmur_collectives::PeerId;
use murmur_quic::{CloseReason, Priority, SendError};
use tokio::time::timeout;

use crate::peer::{PATIENCE, Peer, connect, until};

const KIB: usize = 1024;

/// `count` bytes that differ from their neighbours and from other messages.
fn message(count: usize) -> Bytes {
    (0..count).map(|index| (index * 31 + count + index / 251) as u8).collect()
}

#[tokio::test]
async fn messages_of_every_size_arrive_whole_in_both_directions() {
    let limit = 300 * KIB;
    let start = |secret| Peer::start_with(secret, |config| config.message_bytes_max = limit);
    let (mut alice, mut bob) = (start(1), start(2));
    connect(&mut alice, &mut bob).await;
    for size in [0, 1, 1199, 1200, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, limit - 1, limit] {
        alice.transport.send(bob.id, Priority::Payload, message(size)).unwrap();
        bob.transport.send(alice.id, Priority::Control, message(size)).unwrap();
        assert_eq!(bob.next_message().await, (alice.id, message(size).to_vec()), "size {size}");
        assert_eq!(alice.next_message().await, (bob.id, message(size).to_vec()), "size {size}");
    }
    until("all is acknowledged", || alice.transport.traffic().messages_tx == 9).await;
    assert_eq!(bob.transport.traffic().messages_rx, 9);
    assert_eq!(alice.transport.traffic().messages_tx_bytes, bob.transport.traffic().messages_rx_bytes);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_to_the_caller() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    let limit = 4 * KIB * KIB;
    assert_eq!(alice.transport.send(bob.id, Priority::Control, "hi".into()), Err(SendError::NotConnected));
    connect(&mut alice, &mut bob).await;
    let refused = alice.transport.send(bob.id, Priority::Control, vec![0; limit + 1].into());
    assert_eq!(refused, Err(SendError::TooLong { bytes: limit + 1, limit }));
}

#[tokio::test]
async fn one_byte_over_the_limit_ends_the_connection_and_is_counted() {
    let mut generous = Peer::start(1);
    let mut strict = Peer::start_with(2, |config| config.message_bytes_max = 100 * KIB);
    connect(&mut generous, &mut strict).await;
    generous.transport.send(strict.id, Priority::Payload, message(100 * KIB)).unwrap();
    assert_eq!(strict.next_message().await.1.len(), 100 * KIB);
    assert_eq!(strict.transport.traffic().messages_rx_too_long, 0);

    generous.transport.send(strict.id, Priority::Payload, message(100 * KIB + 1)).unwrap();
    let by_us = "closed by us: a message was too long".to_owned();
    assert_eq!(strict.next_disconnected().await, (generous.id, by_us));
    let by_peer = "closed by the peer: a message was too long".to_owned();
    assert_eq!(generous.next_disconnected().await, (strict.id, by_peer));
    assert_eq!(strict.transport.traffic().messages_rx_too_long, 1);
}

#[tokio::test]
async fn what_is_lost_with_its_connection_is_counted() {
    let (mut alice, mut sleepy) = (Peer::start(1), Peer::start_with(2, |config| config.events_max = 1));
    connect(&mut alice, &mut sleepy).await;
    let sent = fill(&alice, sleepy.id, 256 * KIB) as u64;
    alice.transport.close(sleepy.id, CloseReason::Unneeded);
    assert_eq!(alice.next_disconnected().await, (sleepy.id, "closed by us: not needed".to_owned()));
    let traffic = alice.transport.traffic();
    assert_eq!(traffic.messages_tx + traffic.messages_tx_lost, sent);
    assert!(traffic.messages_tx_lost > sent / 2, "{} of {sent} lost", traffic.messages_tx_lost);
}

/// Sends bulk to `to` until its queue is full. Returns how many messages fit.
fn fill(from: &Peer, to: PeerId, size: usize) -> usize {
    let mut sent = 0;
    while from.transport.send(to, Priority::Bulk, message(size)).is_ok() {
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn a_peer_that_takes_nothing_delays_no_other() {
    let mut alice = Peer::start_with(1, |config| config.send_queue_bytes_max = 16 * KIB * KIB);
    let mut sleepy = Peer::start_with(2, |config| config.events_max = 1);
    let mut carol = Peer::start(3);
    connect(&mut alice, &mut sleepy).await;
    connect(&mut alice, &mut carol).await;
    let stuck = fill(&alice, sleepy.id, 256 * KIB);
    assert_eq!(stuck, 32, "bulk may fill half of the queue");
    assert_eq!(alice.transport.send(sleepy.id, Priority::Bulk, message(256 * KIB)), Err(SendError::Full));

    for number in 0..50 {
        alice.transport.send(carol.id, Priority::Bulk, message(number * KIB)).unwrap();
        assert_eq!(carol.next_message().await, (alice.id, message(number * KIB).to_vec()));
    }
    // What the sleeper has acknowledged lies in its window. Of long messages only two are assembled for a caller who
    // takes none.
    until("all is acknowledged", || alice.transport.traffic().messages_tx == 50 + stuck as u64).await;
    assert!(sleepy.transport.traffic().messages_rx <= 2);
    // When it wakes up, nothing is lost, and what is urgent did not have to queue behind the bulk.
    alice.transport.send(sleepy.id, Priority::Control, "wake up".into()).unwrap();
    until("the call is acknowledged", || alice.transport.traffic().messages_tx == 51 + stuck as u64).await;
    let mut heard_after = None;
    for index in 0..=stuck {
        let (_, bytes) = sleepy.next_message().await;
        if bytes == b"wake up" {
            heard_after = Some(index);
        } else {
            assert_eq!(bytes, message(256 * KIB));
        }
    }
    assert!(heard_after.is_some_and(|index| index < stuck / 2), "heard after {heard_after:?} of {stuck}");
}

#[tokio::test]
async fn shutdown_sends_what_is_queued_and_says_goodbye() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    connect(&mut alice, &mut bob).await;
    for _ in 0..50 {
        alice.transport.send(bob.id, Priority::Payload, message(20 * KIB)).unwrap();
    }
    let again = alice.transport.clone();
    timeout(PATIENCE, alice.transport.shutdown(PATIENCE / 2)).await.unwrap();
    assert_eq!(again.send(bob.id, Priority::Control, "late".into()), Err(SendError::NotConnected));
    for _ in 0..50 {
        assert_eq!(bob.next_message().await, (alice.id, message(20 * KIB).to_vec()));
    }
    assert_eq!(bob.next_disconnected().await, (alice.id, "closed by the peer: leaving".to_owned()));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_peer_that_takes_nothing() {
    let (mut alice, mut sleepy) = (Peer::start(1), Peer::start_with(2, |config| config.events_max = 1));
    connect(&mut alice, &mut sleepy).await;
    fill(&alice, sleepy.id, 256 * KIB);
    let brief = std::time::Duration::from_millis(100);
    timeout(PATIENCE / 4, alice.transport.shutdown(brief)).await.expect("shutdown is bounded");
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connections_and_ends_the_events() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    connect(&mut alice, &mut bob).await;
    drop(alice.transport);
    assert_eq!(bob.next_disconnected().await, (alice.id, "closed by the peer: leaving".to_owned()));
    let rest = async { while alice.events.recv().await.is_some() {} };
    timeout(PATIENCE, rest).await.expect("the events end");
}
