//! What a transport tells its caller.

use std::net::SocketAddr;

use bytes::Bytes;
use murmur_collectives::PeerId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::error::{DialError, Disconnect, Refusal};

/// Something happened. For one peer, `Connected`, its `Message`s and `Disconnected` come in this order. `Datagram`s keep
/// no order: they come before whatever else waits, so that a caller who is behind with messages still hears them.
#[derive(Debug)]
pub enum TransportEvent {
    /// The pair is connected: messages can be sent.
    Connected {
        /// Who is there, proven.
        peer: PeerId,
        /// Its address; if `dialed`, the one that was dialed. If relayed, a stand-in that means nothing outside.
        addr: SocketAddr,
        /// Whether this answers a [`Transport::dial`](crate::Transport::dial).
        dialed: bool,
        /// Who passes the packets on, if they do not go straight.
        relay: Option<PeerId>,
    },
    /// A pair that was connected through a relay now has a connection that goes straight. Nothing was lost.
    Moved {
        /// Who is there.
        peer: PeerId,
        /// Its address.
        addr: SocketAddr,
    },
    /// A datagram arrived. Its bytes are not checked in any way.
    Datagram {
        /// The peer that sent it.
        from: PeerId,
        /// Its bytes, at most [`DATAGRAM_BYTES_MAX`](crate::DATAGRAM_BYTES_MAX).
        bytes: Bytes,
    },
    /// A whole message arrived. Its bytes are not checked in any way.
    Message {
        /// The peer that sent it.
        from: PeerId,
        /// Its bytes, at most `message_bytes_max`.
        bytes: Vec<u8>,
    },
    /// The connection ended. What was queued for the peer is dropped.
    Disconnected {
        /// Who was there.
        peer: PeerId,
        /// Why it ended.
        reason: Disconnect,
    },
    /// A dial ended without a connection of its own. Each dial is answered by this or by `Connected`, once.
    DialFailed {
        /// The address dialed.
        addr: SocketAddr,
        /// Why.
        reason: DialError,
    },
    /// A dial through a relay ended without a connection of its own.
    DialThroughFailed {
        /// Who was asked to pass packets on.
        relay: PeerId,
        /// Who was to be reached.
        peer: PeerId,
        /// Why.
        reason: DialError,
    },
    /// Someone tried to connect and was refused. Not reported when the caller is behind with its events: strangers
    /// must not be able to delay peers. [`Traffic::refused`](crate::Traffic::refused) counts all.
    Refused {
        /// Where it came from.
        addr: SocketAddr,
        /// Why.
        reason: Refusal,
    },
}

/// An event on its way, with the place that its long message occupies.
pub(crate) struct Queued {
    pub(crate) event: TransportEvent,
    pub(crate) _place: Option<OwnedSemaphorePermit>,
}

/// Datagrams that wait for the caller, at most: a few seconds of membership of a busy swarm.
const DATAGRAMS_MAX: usize = 1024;

/// Where a transport's events come out. While nobody takes them, connections are not read and their senders wait.
pub struct Events {
    datagrams: mpsc::Receiver<(PeerId, Bytes)>,
    rest: mpsc::Receiver<Queued>,
}

impl Events {
    /// The next event; `None` once the transport is gone and all its events are taken. Cancel-safe.
    pub async fn recv(&mut self) -> Option<TransportEvent> {
        tokio::select! {
            biased;
            Some((from, bytes)) = self.datagrams.recv() => Some(TransportEvent::Datagram { from, bytes }),
            queued = self.rest.recv() => queued.map(|queued| queued.event),
        }
    }

    /// The next event if one is waiting.
    pub fn try_recv(&mut self) -> Option<TransportEvent> {
        match self.datagrams.try_recv() {
            Ok((from, bytes)) => Some(TransportEvent::Datagram { from, bytes }),
            Err(_) => self.rest.try_recv().ok().map(|queued| queued.event),
        }
    }
}

/// The sending end.
#[derive(Clone)]
pub(crate) struct EventSender {
    datagrams: mpsc::Sender<(PeerId, Bytes)>,
    rest: mpsc::Sender<Queued>,
}

pub(crate) fn channel(capacity: usize) -> (EventSender, Events) {
    let (rest_in, rest) = mpsc::channel(capacity);
    let (datagrams_in, datagrams) = mpsc::channel(DATAGRAMS_MAX);
    (EventSender { datagrams: datagrams_in, rest: rest_in }, Events { datagrams, rest })
}

impl EventSender {
    /// Waits for room. An event for a caller that is gone is dropped.
    pub(crate) async fn send(&self, event: TransportEvent) {
        let _ = self.rest.send(Queued { event, _place: None }).await;
    }

    /// As [`send`](Self::send); `place` is given back when the caller takes the message.
    pub(crate) async fn send_message(&self, from: PeerId, bytes: Vec<u8>, place: Option<OwnedSemaphorePermit>) {
        let _ = self.rest.send(Queued { event: TransportEvent::Message { from, bytes }, _place: place }).await;
    }

    /// Drops the event if there is no room.
    pub(crate) fn offer(&self, event: TransportEvent) {
        let _ = self.rest.try_send(Queued { event, _place: None });
    }

    /// Whether there was room for the datagram.
    pub(crate) fn offer_datagram(&self, from: PeerId, bytes: Bytes) -> bool {
        self.datagrams.try_send((from, bytes)).is_ok()
    }
}
