//! Receiving: each unidirectional stream is one message, read to its end within limits of size and time.

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

/// The error code that tells a sender that its message took too long.
const TOO_SLOW: VarInt = VarInt::from_u32(1);

/// The reason why a stream gave no message.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    TooLong,
    TooSlow,
    Aborted,
}

/// A message, and the permit that it holds if it is large.
type Assembled = (Vec<u8>, Option<OwnedSemaphorePermit>);

/// Reads messages and gives them to the caller, until the connection is closed and the caller has all of its messages.
///
/// Messages are read concurrently, so a stalled one delays no other. A message that waits for the caller keeps its permit, so
/// at most [`STREAMS_MAX`] of a peer are held.
pub(crate) async fn read(shared: &Arc<Shared>, link: &Arc<Link>) -> ConnectionError {
    let permits = Arc::new(Semaphore::new(STREAMS_MAX as usize));
    let large_permits = Arc::new(Semaphore::new(LARGE_MESSAGES));
    let mut under_way = JoinSet::new();
    let ending = loop {
        select! {
            arrived = accept(link, &permits) => match arrived {
                Ok((stream, permit)) => {
                    under_way.spawn(arrive(shared.clone(), link.clone(), stream, large_permits.clone(), permit));
                }
                Err(ending) => break ending,
            },
            Some(_) = under_way.join_next() => {}
        }
    };
    while under_way.join_next().await.is_some() {}
    ending
}

async fn accept(link: &Link, permits: &Arc<Semaphore>) -> Result<(RecvStream, OwnedSemaphorePermit), ConnectionError> {
    let permit = permits.clone().acquire_owned().await.expect("this semaphore is never closed");
    Ok((link.connection.accept_uni().await?, permit))
}

/// Reads one message and gives it to the caller. `_permit` is held until then.
async fn arrive(
    shared: Arc<Shared>,
    link: Arc<Link>,
    mut stream: RecvStream,
    large_permits: Arc<Semaphore>,
    _permit: OwnedSemaphorePermit,
) {
    let (limit, time_left) = (shared.config.message_bytes_max, shared.config.message_timeout);
    match assemble(&mut stream, limit, time_left, &large_permits).await {
        Ok((bytes, large_permit)) => {
            shared.counters.messages_rx.one();
            shared.counters.messages_rx_bytes.add(bytes.len() as u64);
            shared.events.send_message(link.peer, bytes, large_permit).await;
        }
        Err(Unread::TooLong) => {
            tracing::warn!(peer = ?link.peer, limit, "a message was too long; disconnecting");
            shared.counters.messages_rx_too_long.one();
            link.close(CloseReason::TooLong);
        }
        Err(Unread::TooSlow) => {
            tracing::debug!(peer = ?link.peer, "a message did not come in time; dropped");
            shared.counters.messages_rx_timed_out.one();
            // Fails only if the stream has ended in the meantime.
            let _ = stream.stop(TOO_SLOW);
        }
        Err(Unread::Aborted) => shared.counters.messages_rx_aborted.one(),
    }
}

/// Reads to the end of `stream`. Memory grows with the bytes that arrived, never with a length that a peer announced.
async fn assemble(
    stream: &mut RecvStream,
    limit: usize,
    mut time_left: Duration,
    large_permits: &Arc<Semaphore>,
) -> Result<Assembled, Unread> {
    let (mut message, mut large_permit) = (Vec::new(), None);
    while let Some(bytes) = next_chunk(stream, &mut time_left).await? {
        if bytes.len() > limit - message.len() {
            return Err(Unread::TooLong);
        }
        if message.len() + bytes.len() > SMALL_MESSAGE_BYTES && large_permit.is_none() {
            // This wait is not the sender's fault, so it does not count against `time_left`.
            large_permit = large_permits.clone().acquire_owned().await.ok();
        }
        message.extend_from_slice(&bytes);
    }
    Ok((message, large_permit))
}

/// The next bytes of `stream`. The wait for them is subtracted from `time_left`.
async fn next_chunk(stream: &mut RecvStream, time_left: &mut Duration) -> Result<Option<bytes::Bytes>, Unread> {
    let asked = Instant::now();
    let chunk = timeout(*time_left, stream.read_chunk(SMALL_MESSAGE_BYTES, true)).await.map_err(|_| Unread::TooSlow)?;
    *time_left = time_left.saturating_sub(asked.elapsed());
    match chunk {
        Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
        Err(ReadError::Reset(_) | ReadError::ConnectionLost(_) | ReadError::ClosedStream) => Err(Unread::Aborted),
        Err(ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected) => Err(Unread::Aborted),
    }
}
