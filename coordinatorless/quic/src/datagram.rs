//! Datagrams: short, unreliable, and sent ahead of every stream (RFC 9221).
//!
//! The first byte says whether a datagram is for the caller or carries a relayed packet. Each kind is rate-limited, so that
//! one peer cannot crowd out the others.

use std::sync::Arc;

use bytes::Bytes;
use murmur_collectives::PeerId;
use tokio::time::Instant;

use crate::{
    error::SendError,
    link::Link,
    relay::{self, Frame, Halves},
    shared::Shared,
    token_bucket::TokenBucket,
};

/// The longest datagram of the caller, in bytes: it fits the smallest path MTU that QUIC allows.
pub const DATAGRAM_BYTES_MAX: usize = 1000;

/// The first byte of a datagram for the caller.
const FOR_CALLER: u8 = 0;

/// Datagrams for the caller that a peer may send per second, and in one burst. A SWIM member sends about two a probe
/// period; the rest is room for bursts of rumours.
const PER_SECOND: u64 = 500;
const BURST: u64 = 1000;

/// Queues `datagram` on the connection to `to`. Never waits; the oldest unsent datagrams make room.
pub(crate) fn send(shared: &Shared, to: PeerId, datagram: &[u8]) -> Result<(), SendError> {
    if datagram.len() > DATAGRAM_BYTES_MAX {
        return Err(SendError::TooLong { bytes: datagram.len(), limit: DATAGRAM_BYTES_MAX });
    }
    let link = shared.registry.link(&to).ok_or(SendError::NotConnected)?;
    let mut tagged = Vec::with_capacity(1 + datagram.len());
    tagged.push(FOR_CALLER);
    tagged.extend_from_slice(datagram);
    link.connection.send_datagram(tagged.into()).map_err(|_| SendError::NotConnected)
}

/// Reads datagrams until the connection ends.
pub(crate) async fn read(shared: Arc<Shared>, link: Arc<Link>) {
    let mut rate_limit = TokenBucket::new(PER_SECOND, BURST, Instant::now());
    let mut halves = Halves::default();
    while let Ok(datagram) = link.connection.read_datagram().await {
        let handled = match datagram.first() {
            Some(&FOR_CALLER) => deliver(&shared, &link, datagram.slice(1..), &mut rate_limit),
            Some(_) => {
                Frame::read(&datagram).is_some_and(|frame| relay::handle_frame(&shared, &link, frame, &mut halves))
            }
            None => false,
        };
        if !handled {
            shared.counters.datagrams_rx_dropped.one();
        }
    }
}

fn deliver(shared: &Shared, link: &Link, bytes: Bytes, rate_limit: &mut TokenBucket) -> bool {
    let allowed = bytes.len() <= DATAGRAM_BYTES_MAX && rate_limit.take(1, Instant::now());
    let delivered = allowed && shared.events.offer_datagram(link.peer, bytes);
    if delivered {
        shared.counters.datagrams_rx.one();
    }
    delivered
}
