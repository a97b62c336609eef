//! Sending: each queued message becomes one unidirectional stream.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{select, task::JoinSet, time::Instant};

use crate::{link::Link, queue::InFlight, shared::Shared};

/// Sends the queued messages of `link` until it is retired or closed. Each message is a task of its own, so that a stalled one
/// delays no other; the queue bounds their number.
pub(crate) async fn write(shared: Arc<Shared>, link: Arc<Link>) {
    let mut under_way = JoinSet::new();
    loop {
        select! {
            in_flight = link.queue.next() => {
                under_way.spawn(send_counted(shared.clone(), link.clone(), in_flight));
            }
            Some(_) = under_way.join_next() => {}
            () = link.retired.raised() => break,
            _ = link.connection.closed() => break,
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn send_counted(shared: Arc<Shared>, link: Arc<Link>, in_flight: InFlight) {
    let bytes = in_flight.message.len() as u64;
    let (handed_over, rtt) = (Instant::now(), link.shortest_rtt());
    if send(&link.connection, in_flight.priority.stream(), in_flight.message.clone()).await.is_some() {
        shared.occupancy.acknowledged(handed_over, Instant::now(), rtt.min(link.shortest_rtt()), bytes);
        shared.counters.messages_tx.one();
        shared.counters.messages_tx_bytes.add(bytes);
    } else {
        shared.counters.messages_tx_lost.one();
    }
}

/// Returns `Some` once the peer has acknowledged all of `message`, `None` if it is lost.
pub(crate) async fn send(connection: &quinn::Connection, priority: i32, message: Bytes) -> Option<()> {
    let mut stream = connection.open_uni().await.ok()?;
    stream.set_priority(priority).ok()?;
    stream.write_chunk(message).await.ok()?;
    stream.finish().ok()?;
    stream.stopped().await.ok()?.is_none().then_some(())
}
