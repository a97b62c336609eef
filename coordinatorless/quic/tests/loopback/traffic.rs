//! The byte counts are those of the wire: a relay between two peers counts on its own and must agree.

use std::time::Duration;

use murmur_quic::Priority;

use crate::{
    peer::{Peer, until},
    relay::Relay,
};

#[tokio::test]
async fn the_counts_of_both_peers_are_those_of_the_wire_handshake_included() {
    let (mut alice, mut bob) = (Peer::start(1), Peer::start(2));
    let relay = Relay::start(bob.addr(), Duration::ZERO).await;
    alice.transport.dial(relay.addr, Some(bob.id));
    assert_eq!(alice.next_connected().await, (bob.id, true));
    assert_eq!(bob.next_connected().await, (alice.id, false));
    let handshake = alice.transport.traffic();
    // A first packet is padded to 1200 bytes, and each side sends at least one (RFC 9000 §14.1).
    assert!(handshake.udp_tx_bytes >= 1200 && handshake.udp_rx_bytes >= 1200, "{handshake:?}");

    let payload = 100_000;
    alice.transport.send(bob.id, Priority::Payload, vec![7; payload].into()).unwrap();
    assert_eq!(bob.next_message().await.1.len(), payload);
    assert_eq!(alice.transport.traffic().messages_queued_bytes, payload as u64);
    until("the up-link has carried the message", || alice.transport.sending().bytes == payload as f64).await;

    // Acknowledgements and keep-alives still pass, so compare until a quiet moment; a count that misses or
    // doubles anything never agrees.
    until("the counts agree", || {
        let (at_alice, at_bob) = (alice.transport.traffic(), bob.transport.traffic());
        [at_alice.udp_tx_bytes, at_alice.udp_tx_datagrams] == relay.dialer_sent()
            && [at_bob.udp_rx_bytes, at_bob.udp_rx_datagrams] == relay.dialer_sent()
            && [at_bob.udp_tx_bytes, at_bob.udp_tx_datagrams] == relay.accepter_sent()
            && [at_alice.udp_rx_bytes, at_alice.udp_rx_datagrams] == relay.accepter_sent()
    })
    .await;
    let sent = alice.transport.traffic().udp_tx_bytes - handshake.udp_tx_bytes;
    assert!(sent > payload as u64, "the message is in the count");
    assert!(sent < payload as u64 * 12 / 10, "{sent} bytes for a message of {payload}");
    assert_eq!(alice.transport.traffic().udp_rx_not_quic + bob.transport.traffic().udp_rx_not_quic, 0);
}
