//! The driver: carries out the outputs of a [`Node`] on the network and the host, and gives it the events of both.

use core::time::Duration;
use std::time::Instant;

use murmur_collectives::Hash;
use murmur_coordinatorless::{
    Closing, Compacted, Event, Input, Kind, Node, Output, PeerAddress, Reach, StoredEntry, Time,
};
use tokio::sync::mpsc;

use crate::{CloseReason, DialError, Events, Priority, Refusal, Transport, TransportEvent};

/// Events of the network handled in a row before requests and timers are polled again, so that none of them starves.
const EVENTS_IN_A_ROW: usize = 64;

/// The disk and the rest of the program, as a node needs them. Called in the order of the node's outputs.
pub trait Host {
    /// A failure of the disk. The driver stops at the first one, carries out nothing more, and returns it unchanged.
    type Error;

    /// Stores a record; if `durable`, returns only when it is on disk.
    ///
    /// # Errors
    /// The disk's; nothing may be announced that is not stored.
    fn append(&mut self, record: &StoredEntry, durable: bool) -> Result<(), Self::Error>;

    /// Replaces the stored address book. Not fallible: its loss only makes the next start slower.
    fn address_book(&mut self, peers: &[PeerAddress]);

    /// Replaces the stored log by a final frontier and the records after it, atomically.
    ///
    /// # Errors
    /// The disk's.
    fn compact(&mut self, compacted: &Compacted) -> Result<(), Self::Error>;

    /// Stores a chunk of a state that is being fetched; see [`Output::KeepChunk`]. Not fallible: a lost
    /// chunk is fetched again.
    fn keep_chunk(&mut self, root: Hash, index: u32, bytes: &[u8]);

    /// Replaces the stored vote record; returns only when it is on disk.
    ///
    /// # Errors
    /// The disk's; no vote may be sent that is not stored.
    fn signing(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Sets the stored log and the final frontier aside.
    ///
    /// # Errors
    /// The disk's.
    fn reset(&mut self) -> Result<(), Self::Error>;

    /// Takes an event of the node, with the node in the state after the input that caused it.
    fn event(&mut self, event: Event, node: &mut Node);

    /// Counts a message that was sent or received.
    fn count(&mut self, sent: bool, kind: &'static str, bytes: usize);

    /// Takes the time that the node needed for an input whose outputs were carried out.
    fn settled(&mut self, took: Duration);
}

/// A request of the rest of the program to a running node.
pub enum Request {
    /// An input.
    Input(Input),
    /// Reads the node, at one moment.
    Look(Box<dyn FnOnce(&mut Node) + Send>),
    /// Sends a goodbye and stops.
    Stop,
}

/// Runs `node` until a [`Request::Stop`], until every sender of requests is gone, or until the host fails.
///
/// # Errors
/// The host's, unchanged.
pub async fn drive<H: Host>(
    mut node: Node,
    transport: Transport,
    mut events: Events,
    mut requests: mpsc::Receiver<Request>,
    host: &mut H,
) -> Result<(), H::Error> {
    let start = Instant::now();
    let now = || Time(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    loop {
        carry_out(&mut node, &transport, host)?;
        let due = node.poll_timeout().map(|at| at.since(now()));
        tokio::select! {
            biased;
            request = requests.recv() => match request {
                Some(Request::Input(input)) => node.handle(now(), input),
                Some(Request::Look(look)) => look(&mut node),
                Some(Request::Stop) | None => break,
            },
            event = events.recv() => {
                let Some(event) = event else { break };
                let more = std::iter::from_fn(|| events.try_recv()).take(EVENTS_IN_A_ROW);
                for event in std::iter::once(event).chain(more) {
                    let begun = Instant::now();
                    handle_event(&mut node, now(), event, host);
                    let took = begun.elapsed();
                    carry_out(&mut node, &transport, host)?;
                    host.settled(took);
                }
            }
            () = sleep(due) => node.handle_timeout(now()),
        }
    }
    node.handle(now(), Input::Leave);
    carry_out(&mut node, &transport, host)
}

/// Waits for `due`; forever if it is `None`.
async fn sleep(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

fn handle_event<H: Host>(node: &mut Node, now: Time, event: TransportEvent, host: &mut H) {
    match event {
        TransportEvent::Connected { peer, addr, dialed: _, relay } => {
            let reach = relay.map_or(Reach::Direct, |by| Reach::Relayed { by });
            node.handle(now, Input::Connected { peer, address: addr, reach });
        }
        TransportEvent::Moved { peer, addr } => node.handle(now, Input::Moved { peer, address: addr }),
        TransportEvent::Datagram { from, bytes } => {
            host.count(false, "datagram", bytes.len());
            node.handle(now, Input::Datagram { from, bytes: bytes.into() });
        }
        TransportEvent::Message { from, bytes } => {
            host.count(false, Kind::peek(&bytes).name(), bytes.len());
            node.handle(now, Input::Message { from, bytes });
        }
        TransportEvent::Disconnected { peer, reason } => {
            // The peer may send any code, so the reason is only logged.
            tracing::debug!(peer = %peer.petname(), %reason, "connection ended");
            node.handle(now, Input::Disconnected { peer });
        }
        TransportEvent::DialFailed { addr, reason } => {
            tracing::debug!(%addr, %reason, "a dial failed");
            if reason == DialError::Twin {
                return node.handle(now, Input::Twin { address: addr });
            }
            node.handle(now, Input::DialFailed { address: addr, retry: is_worth_retrying(&reason) });
        }
        TransportEvent::DialThroughFailed { relay, peer, reason } => {
            tracing::debug!(relay = %relay.petname(), peer = %peer.petname(), %reason, "no way through a relay");
        }
        TransportEvent::Refused { addr, reason: reason @ (Refusal::AlreadyConnected(_) | Refusal::Aborted(_)) } => {
            tracing::debug!(%addr, %reason, "a connection too many");
        }
        TransportEvent::Refused { addr, reason } => tracing::warn!(%addr, %reason, "refused a stranger"),
    }
}

fn is_worth_retrying(reason: &DialError) -> bool {
    match reason {
        DialError::Version
        | DialError::SelfConnection
        | DialError::Twin
        | DialError::WrongPeer { .. }
        | DialError::AlreadyConnected(_)
        | DialError::AlreadyDialing
        | DialError::Full
        | DialError::Stopping => false,
        // An address of a version of IP that this socket does not have. It is retried so that failures count against it: otherwise
        // it would stay the best address of its peer.
        DialError::Address(_)
        | DialError::PeerFull
        | DialError::Refused(_)
        | DialError::Certificate(_)
        | DialError::TimedOut(_)
        | DialError::Handshake(_) => true,
    }
}

fn carry_out<H: Host>(node: &mut Node, transport: &Transport, host: &mut H) -> Result<(), H::Error> {
    while let Some(output) = node.poll_output() {
        match output {
            Output::Append { record, durable } => host.append(&record, durable)?,
            Output::AddressBook { peers } => host.address_book(&peers),
            Output::Close { peer, reason } => transport.close(peer, close_reason(reason)),
            Output::Compact(compacted) => host.compact(&compacted)?,
            Output::Datagram { to, bytes } => {
                host.count(true, "datagram", bytes.len());
                // A datagram may be lost, also here; the transport counts it.
                let _ = transport.send_datagram(to, &bytes);
            }
            Output::Dial { address, expect } => transport.dial(address, expect),
            Output::DialThrough { relay, peer } => transport.dial_through(relay, peer),
            Output::Event(event) => host.event(event, node),
            Output::KeepChunk { root, index, bytes } => host.keep_chunk(root, index, &bytes),
            Output::Reset => host.reset()?,
            Output::Signing { bytes } => host.signing(&bytes)?,
            Output::Send { to, kind, bytes } => {
                host.count(true, kind.name(), bytes.len());
                // A message that is lost here is repaired by anti-entropy, or requested again.
                if let Err(error) = transport.send(to, priority(kind), bytes.into()) {
                    tracing::debug!(%error, peer = %to.petname(), "message dropped");
                }
            }
        }
    }
    Ok(())
}

fn priority(kind: Kind) -> Priority {
    match kind {
        Kind::Control => Priority::Control,
        Kind::Header => Priority::Header,
        Kind::Payload => Priority::Payload,
        Kind::Bulk => Priority::Bulk,
    }
}

fn close_reason(reason: Closing) -> CloseReason {
    match reason {
        Closing::Evicted => CloseReason::Evicted,
        Closing::Full | Closing::Idle => CloseReason::Full,
        Closing::Goodbye => CloseReason::Leaving,
        Closing::Misbehaved => CloseReason::Misbehaved,
        Closing::OtherRun => CloseReason::Incompatible,
    }
}
