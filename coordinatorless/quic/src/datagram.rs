//! Datagrams: what may be lost and must not wait. QUIC sends them ahead of every stream (RFC 9221).
//!
//! The first byte says what a datagram is: one for the caller, or a packet on its way through a relay. Both are limited
//! per connection, so that nobody can drown the others.

use std::sync::Arc;

use bytes::Bytes;
use murmur_collectives::PeerId;
use tokio::time::Instant;

use crate::{
    bucket::Bucket,
    error::SendError,
    link::Link,
    relay::{self, Frame, Halves},
    shared::Shared,
};

/// The longest datagram of the caller's, in bytes: fits the shortest path that QUIC allows.
pub const DATAGRAM_BYTES_MAX: usize = 1000;

/// The first byte of a datagram for the caller.
const FOR_CALLER: u8 = 0;

/// Datagrams for the caller that a peer may send per second, and how many at once. A SWIM member sends about two a probe
/// period; the rest is room for bursts of rumours.
const PER_SECOND: u64 = 500;
const AT_ONCE: u64 = 1000;

/// Queues `datagram` on the connection to `to`. Never waits; the oldest unsent ones make room.
pub(crate) fn send(shared: &Shared, to: PeerId, datagram: &[u8]) -> Result<(), SendError> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(SendError::TooLong { bytes: datagram.len(), limit: DATAGRAM_BYTES_MAX });
    }
    let link = shared.registry.link(&to).ok_or(SendError::NotConnected)?;
    let mut marked = Vec::with_capacity(1 + datagram.len());
    marked.push(FOR_CALLER);
    marked.extend_from_slice(datagram);
    link.connection.send_datagram(marked.into()).map_err(|_| SendError::NotConnected)
}

/// Reads datagrams until the connection ends.
pub(crate) async fn read(shared: Arc<Shared>, link: Arc<Link>) {
    let mut allowance = Bucket::new(PER_SECOND, AT_ONCE, Instant::now());
    let mut halves = Halves::default();
    while let Ok(datagram) = link.connection.read_datagram().await {
        let taken = match datagram.first() {
            Some(&FOR_CALLER) => give(&shared, &link, datagram.slice(1..), &mut allowance),
            Some(_) => Frame::read(&datagram).is_some_and(|frame| relay::take(&shared, &link, frame, &mut halves)),
            None => false,
        };
        if !taken {
            shared.counters.datagrams_rx_dropped.one();
        }
    }
}

fn give(shared: &Shared, link: &Link, bytes: Bytes, allowance: &mut Bucket) -> bool {
    let allowed = bytes.len() <= DATAGRAM_BYTES_MAX && allowance.take(1, Instant::now());
    let given = allowed && shared.events.offer_datagram(link.peer, bytes);
    if given {
        shared.counters.datagrams_rx.one();
    }
    given
}
