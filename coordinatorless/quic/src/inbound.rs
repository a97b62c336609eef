//! Receiving: each unidirectional stream is one message, read to its end within a size and a time.

use std::{sync::Arc, time::Duration};

use quinn::{ConnectionError, ReadError, RecvStream, VarInt};
use tokio::{
    select,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    config::{LARGE_MESSAGES, SMALL_MESSAGE_BYTES, STREAMS_MAX},
    error::CloseReason,
    link::Link,
    shared::Shared,
};

/// Tells a sender that its message took too long.
const TOO_SLOW: VarInt = VarInt::from_u32(1);

/// Why a stream gave no message.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    TooLong,
    TooSlow,
    Aborted,
}

/// A message, and the place it occupies if it is a long one.
type Assembled = (Vec<u8>, Option<OwnedSemaphorePermit>);

/// Reads messages and gives them to the caller until the connection is closed and all that it brought is given.
///
/// Messages are read side by side, so a stalled one delays no other; a message that waits for the caller keeps its
/// place, so a peer cannot pile up more than [`STREAMS_MAX`].
pub(crate) async fn read(shared: &Arc<Shared>, link: &Arc<Link>) -> ConnectionError {
    let places = Arc::new(Semaphore::new(STREAMS_MAX as usize));
    let long_places = Arc::new(Semaphore::new(LARGE_MESSAGES));
    let mut under_way = JoinSet::new();
    let ending = loop {
        select! {
            arrived = accept(link, &places) => match arrived {
                Ok((stream, place)) => {
                    under_way.spawn(arrive(shared.clone(), link.clone(), stream, long_places.clone(), place));
                }
                Err(ending) => break ending,
            },
            Some(_) = under_way.join_next() => {}
        }
    };
    while under_way.join_next().await.is_some() {}
    ending
}

async fn accept(link: &Link, places: &Arc<Semaphore>) -> Result<(RecvStream, OwnedSemaphorePermit), ConnectionError> {
    let place = places.clone().acquire_owned().await.expect("this semaphore is never closed");
    Ok((link.connection.accept_uni().await?, place))
}

/// Reads one message and gives it to the caller. `_place` is kept until then.
async fn arrive(
    shared: Arc<Shared>,
    link: Arc<Link>,
    mut stream: RecvStream,
    long_places: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
) {
    let (limit, patience) = (shared.config.message_bytes_max, shared.config.message_timeout);
    match assemble(&mut stream, limit, patience, &long_places).await {
        Ok((bytes, long_place)) => {
            shared.counters.messages_rx.one();
            shared.counters.messages_rx_bytes.add(bytes.len() as u64);
            shared.events.send_message(link.peer, bytes, long_place).await;
        }
        Err(Unread::TooLong) => {
            tracing::warn!(peer = ?link.peer, limit, "a message was too long; disconnecting");
            shared.counters.messages_rx_too_long.one();
            link.close(CloseReason::TooLong);
        }
        Err(Unread::TooSlow) => {
            tracing::debug!(peer = ?link.peer, "a message did not come in time; dropped");
            shared.counters.messages_rx_timed_out.one();
            // Fails only if the stream has ended by itself meanwhile.
            let _ = stream.stop(TOO_SLOW);
        }
        Err(Unread::Aborted) => shared.counters.messages_rx_aborted.one(),
    }
}

/// Reads to the end of `stream`. Memory grows with what has arrived, never with what a peer claims.
async fn assemble(
    stream: &mut RecvStream,
    limit: usize,
    mut patience: Duration,
    long_places: &Arc<Semaphore>,
) -> Result<Assembled, Unread> {
    let (mut message, mut long_place) = (Vec::new(), None);
    while let Some(bytes) = next_chunk(stream, &mut patience).await? {
        if bytes.len() > limit - message.len() {
            return Err(Unread::TooLong);
        }
        if message.len() + bytes.len() > SMALL_MESSAGE_BYTES && long_place.is_none() {
            // Waiting here is our doing, so it costs the sender no patience.
            long_place = long_places.clone().acquire_owned().await.ok();
        }
        message.extend_from_slice(&bytes);
    }
    Ok((message, long_place))
}

/// The next bytes of `stream`, and what is left of `patience` after waiting for them.
async fn next_chunk(stream: &mut RecvStream, patience: &mut Duration) -> Result<Option<bytes::Bytes>, Unread> {
    let asked = Instant::now();
    let chunk = timeout(*patience, stream.read_chunk(SMALL_MESSAGE_BYTES, true)).await.map_err(|_| Unread::TooSlow)?;
    *patience = patience.saturating_sub(asked.elapsed());
    match chunk {
        Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
        Err(ReadError::Reset(_) | ReadError::ConnectionLost(_) | ReadError::ClosedStream) => Err(Unread::Aborted),
        Err(ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected) => Err(Unread::Aborted),
    }
}
