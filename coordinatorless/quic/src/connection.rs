//! One connection of a pair, from its admission to its end.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::sleep;

use crate::{
    datagram,
    error::{CloseReason, Disconnect},
    event::TransportEvent,
    inbound,
    link::Link,
    outbound,
    registry::Slot,
    shared::Shared,
};

/// When the caller gets the [`Connected`](TransportEvent::Connected) of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Announcement {
    /// At once: the pair had no connection.
    AtOnce,
    /// After the end of the connection given here, which the new one replaces.
    AfterEndOf(Arc<Link>),
    /// Never: the connection given here, which the new one supersedes, was or will be announced. If that one is relayed and the
    /// new one is direct, the caller gets [`Moved`](TransportEvent::Moved).
    ContinuationOf(Arc<Link>),
}

/// Serves a connection that the registry admitted, until it has ended and the caller was told.
///
/// `slot` is held until then: otherwise ended connections would pile up while the caller takes no events.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    link: Arc<Link>,
    announcement: Announcement,
    addr: SocketAddr,
    slot: Slot,
) {
    announce(&shared, &link, announcement, addr).await;
    let writing = tokio::spawn(outbound::write(shared.clone(), link.clone()));
    let retiring = tokio::spawn(close_when_retired(shared.clone(), link.clone()));
    tokio::spawn(datagram::read(shared.clone(), link.clone()));
    let ending = inbound::read(&shared, &link).await;
    retiring.abort();
    if writing.await.is_err() {
        tracing::error!(peer = ?link.peer, "the writer of a connection failed");
    }
    report_end(&shared, &link, Disconnect::new(&ending, link.closed_for())).await;
    drop(slot);
}

/// Reads what the peer sent on a connection that lost to `winner` before this side used it.
pub(crate) async fn drain(shared: Arc<Shared>, link: Arc<Link>, winner: Arc<Link>, slot: Slot) {
    winner.announced.raised().await;
    let retiring = tokio::spawn(close_when_retired(shared.clone(), link.clone()));
    inbound::read(&shared, &link).await;
    retiring.abort();
    link.ended.raise();
    drop(slot);
}

async fn announce(shared: &Shared, link: &Link, announcement: Announcement, addr: SocketAddr) {
    match announcement {
        Announcement::ContinuationOf(before) => {
            before.announced.raised().await;
            if before.relay.is_some() && link.relay.is_none() {
                shared.events.send(TransportEvent::Moved { peer: link.peer, addr }).await;
            }
        }
        Announcement::AtOnce => send_connected(shared, link, addr).await,
        Announcement::AfterEndOf(before) => {
            before.ended.raised().await;
            send_connected(shared, link, addr).await;
        }
    }
    link.announced.raise();
}

async fn send_connected(shared: &Shared, link: &Link, addr: SocketAddr) {
    tracing::debug!(peer = ?link.peer, %addr, dialed = link.dialed, "connected");
    let Link { peer, dialed, relay, .. } = *link;
    shared.events.send(TransportEvent::Connected { peer, addr, dialed, relay }).await;
}

/// Closes a retired connection once messages under way have had time to arrive.
async fn close_when_retired(shared: Arc<Shared>, link: Arc<Link>) {
    link.retired.raised().await;
    sleep(shared.config.handover).await;
    link.close(CloseReason::Duplicate);
}

async fn report_end(shared: &Shared, link: &Arc<Link>, reason: Disconnect) {
    for predecessor in shared.registry.take_predecessors(link) {
        predecessor.close(CloseReason::Duplicate);
        predecessor.ended.raised().await;
    }
    if !link.retired.is_raised() {
        shared.counters.messages_tx_lost.add(link.queue.close() as u64);
        tracing::debug!(peer = ?link.peer, %reason, "disconnected");
        shared.events.send(TransportEvent::Disconnected { peer: link.peer, reason }).await;
    }
    shared.registry.forget(link);
    link.ended.raise();
}
