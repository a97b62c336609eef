//! One connection of a pair, from welcome to farewell.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::sleep;

use crate::{
    datagram,
    error::{CloseReason, Disconnect},
    event::TransportEvent,
    inbound,
    link::Link,
    outbound,
    registry::Place,
    shared::Shared,
};

/// How a connection takes its turn.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// The pair had no connection.
    First,
    /// The caller hears of the end of this one first.
    After(Arc<Link>),
    /// The caller knows, or is about to know, that the pair is connected: nothing to say, unless the connection now goes
    /// straight where it did not before.
    Silently(Arc<Link>),
}

/// Runs a connection that the registry admitted, until it has ended and the caller knows.
///
/// `place` is held to the very end: a caller that takes no events must not let ended connections pile up.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<Link>, turn: Turn, addr: SocketAddr, place: Place) {
    take_turn(&shared, &link, turn, addr).await;
    let writing = tokio::spawn(outbound::write(shared.clone(), link.clone()));
    let retiring = tokio::spawn(retire(shared.clone(), link.clone()));
    tokio::spawn(datagram::read(shared.clone(), link.clone()));
    let ending = inbound::read(&shared, &link).await;
    retiring.abort();
    if writing.await.is_err() {
        tracing::error!(peer = ?link.peer, "the writer of a connection failed");
    }
    end(&shared, &link, Disconnect::new(&ending, link.closed_for())).await;
    drop(place);
}

/// Reads a connection that lost to `winner` before it was ever used, for what the peer may have sent on it.
pub(crate) async fn run_out(shared: Arc<Shared>, link: Arc<Link>, winner: Arc<Link>, place: Place) {
    winner.announced.raised().await;
    let retiring = tokio::spawn(retire(shared.clone(), link.clone()));
    inbound::read(&shared, &link).await;
    retiring.abort();
    link.ended.raise();
    drop(place);
}

async fn take_turn(shared: &Shared, link: &Link, turn: Turn, addr: SocketAddr) {
    match turn {
        Turn::Silently(elder) => {
            elder.announced.raised().await;
            if elder.relay.is_some() && link.relay.is_none() {
                shared.events.send(TransportEvent::Moved { peer: link.peer, addr }).await;
            }
        }
        Turn::First => announce(shared, link, addr).await,
        Turn::After(elder) => {
            elder.ended.raised().await;
            announce(shared, link, addr).await;
        }
    }
    link.announced.raise();
}

async fn announce(shared: &Shared, link: &Link, addr: SocketAddr) {
    tracing::debug!(peer = ?link.peer, %addr, dialed = link.dialed, "connected");
    let Link { peer, dialed, relay, .. } = *link;
    shared.events.send(TransportEvent::Connected { peer, addr, dialed, relay }).await;
}

/// Closes a retired connection once what was under way has had time to arrive.
async fn retire(shared: Arc<Shared>, link: Arc<Link>) {
    link.retired.raised().await;
    sleep(shared.config.handover).await;
    link.close(CloseReason::Duplicate);
}

async fn end(shared: &Shared, link: &Arc<Link>, reason: Disconnect) {
    for elder in shared.registry.take_elders(link) {
        elder.close(CloseReason::Duplicate);
        elder.ended.raised().await;
    }
    if !link.retired.is_raised() {
        shared.counters.messages_tx_lost.add(link.queue.close() as u64);
        tracing::debug!(peer = ?link.peer, %reason, "disconnected");
        shared.events.send(TransportEvent::Disconnected { peer: link.peer, reason }).await;
    }
    shared.registry.forget(link);
    link.ended.raise();
}
