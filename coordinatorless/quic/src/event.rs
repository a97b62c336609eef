//! The events of a transport.

use std::net::SocketAddr;

use bytes::Bytes;
use murmur_collectives::PeerId;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::error::{DialError, Disconnect, Refusal};

/// An event of a transport. For one peer, `Connected`, its `Message`s and `Disconnected` come in this order. `Datagram`s are
/// unordered: they come before all other events that wait, so that a caller with a backlog of messages gets them in time.
#[derive(Debug)]
pub enum TransportEvent {
    /// The pair is connected: messages can be sent.
    Connected {
        /// The other peer, which has proven to hold its key.
        peer: PeerId,
        /// Its address; if `dialed`, the one that was dialed. If relayed, a placeholder with no meaning outside this transport.
        addr: SocketAddr,
        /// Whether this answers a [`Transport::dial`](crate::Transport::dial).
        dialed: bool,
        /// The relay that forwards the packets; `None` if the path is direct.
        relay: Option<PeerId>,
    },
    /// A direct connection took over from a relayed one of the same pair. No messages were lost.
    Moved {
        /// The other peer.
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
    /// The connection ended. Messages queued for the peer are dropped.
    Disconnected {
        /// The other peer.
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
        /// The relay.
        relay: PeerId,
        /// The peer that was dialed.
        peer: PeerId,
        /// Why.
        reason: DialError,
    },
    /// An incoming connection was refused. Not reported while the caller has a backlog of events, because strangers must not be
    /// able to delay peers. [`Traffic::refused`](crate::Traffic::refused) counts all.
    Refused {
        /// Its source address.
        addr: SocketAddr,
        /// Why.
        reason: Refusal,
    },
}

/// A queued event, with the permit that a large message holds until the caller takes it.
pub(crate) struct Queued {
    pub(crate) event: TransportEvent,
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

/// Datagrams queued for the caller, at most: a few seconds of membership in a busy swarm.
const DATAGRAMS_MAX: usize = 1024;

/// The receiver of a transport's events. While the caller takes none, connections are not read and their senders wait.
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
        let _ = self.rest.send(Queued { event, _permit: None }).await;
    }

    /// As [`send`](Self::send); `permit` is released when the caller takes the message.
    pub(crate) async fn send_message(&self, from: PeerId, bytes: Vec<u8>, permit: Option<OwnedSemaphorePermit>) {
        let _ = self.rest.send(Queued { event: TransportEvent::Message { from, bytes }, _permit: permit }).await;
    }

    /// Drops the event if there is no room.
    pub(crate) fn offer(&self, event: TransportEvent) {
        let _ = self.rest.try_send(Queued { event, _permit: None });
    }

    /// Whether there was room for the datagram.
    pub(crate) fn offer_datagram(&self, from: PeerId, bytes: Bytes) -> bool {
        self.datagrams.try_send((from, bytes)).is_ok()
    }
}
