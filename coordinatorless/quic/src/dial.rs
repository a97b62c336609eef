//! Dialing: from an address to a welcome.

use std::{net::SocketAddr, sync::Arc};

use murmur_collectives::PeerId;
use quinn::{Connection, ConnectionError, TransportErrorCode};
use rustls::AlertDescription;
use tokio::time::timeout;

use crate::{
    accept::canonical,
    candidate::Candidate,
    connection::{self, Announcement},
    error::{CloseReason, DialError, brief},
    event::TransportEvent,
    registry::{Admission, Registry},
    shared::Shared,
    tls::alert,
    verifier::DialVerifier,
};

/// The name that TLS wants for a server. It is not sent and nothing depends on it.
const NO_NAME: &str = "peer.invalid";

/// Dials `addr`, a placeholder if `relay` is given. Reports the outcome by one event.
pub(crate) async fn dial(shared: Arc<Shared>, addr: SocketAddr, relay: Option<PeerId>, expect: Option<PeerId>) {
    shared.counters.dials.one();
    if let Err(reason) = attempt(&shared, addr, relay, expect).await {
        shared.counters.dials_failed.one();
        tracing::debug!(%addr, ?relay, %reason, "a dial failed");
        shared.events.send(failure_event(addr, relay, expect, reason)).await;
    }
}

fn failure_event(addr: SocketAddr, relay: Option<PeerId>, expect: Option<PeerId>, reason: DialError) -> TransportEvent {
    match (relay, expect) {
        (Some(relay), Some(peer)) => TransportEvent::DialThroughFailed { relay, peer, reason },
        _ => TransportEvent::DialFailed { addr, reason },
    }
}

/// Ends with a connection that is being served, or with the reason why this dial gave no connection of its own.
async fn attempt(
    shared: &Arc<Shared>,
    addr: SocketAddr,
    relay: Option<PeerId>,
    expect: Option<PeerId>,
) -> Result<(), DialError> {
    let slot = shared.registry.begin_dial(addr, shared.config.connections_max)?;
    let trust = (shared.tls.possession(), shared.tls.certificate());
    let verifier = Arc::new(DialVerifier::new(trust, expect, relay.is_none(), shared.registry.clone()));
    let claims = Claims { registry: shared.registry.clone(), addr, verifier: verifier.clone() };
    let limit = shared.config.handshake_timeout;
    let candidate =
        timeout(limit, connect(shared, addr, relay, verifier)).await.map_err(|_| DialError::TimedOut(limit))??;
    let peer = candidate.peer;
    let admission = shared.admit(candidate);
    drop(claims);
    let (link, announcement, outcome) = match admission {
        Admission::First(link) => (link, Announcement::AtOnce, Ok(())),
        Admission::Replaces(link, before) => (link, Announcement::AfterEndOf(before), Ok(())),
        Admission::Supersedes(link, before) => {
            (link, Announcement::ContinuationOf(before), Err(DialError::AlreadyConnected(peer)))
        }
        Admission::Loses(link, winner) => {
            tokio::spawn(connection::drain(shared.clone(), link, winner, slot));
            return Err(DialError::AlreadyConnected(peer));
        }
        Admission::Stopping => return Err(DialError::Stopping),
    };
    tokio::spawn(connection::serve(shared.clone(), link, announcement, addr, slot));
    outcome
}

/// Completes the handshake and waits for the welcome.
async fn connect(
    shared: &Shared,
    addr: SocketAddr,
    relay: Option<PeerId>,
    verifier: Arc<DialVerifier>,
) -> Result<Candidate, DialError> {
    let config =
        shared.tls.dialing(verifier.clone(), relay.is_some()).map_err(|e| DialError::Handshake(e.to_string()))?;
    let connecting = shared
        .endpoint
        .connect_with(config, canonical(addr), NO_NAME)
        .map_err(|e| DialError::Address(e.to_string()))?;
    let connection =
        connecting.await.map_err(|error| verifier.failure().unwrap_or_else(|| dial_error(&error, shared, None)))?;
    let candidate = Candidate::new(connection, true, relay).map_err(|e| DialError::Certificate(e.to_string()))?;
    match is_welcomed(&candidate.connection).await {
        Ok(true) => Ok(candidate),
        Ok(false) => {
            candidate.connection.close(CloseReason::Misbehaved.code(), b"");
            Err(DialError::Handshake("the peer did not begin with a welcome".to_owned()))
        }
        Err(error) => Err(dial_error(&error, shared, Some(candidate.peer))),
    }
}

/// Whether the first stream of the other side is the welcome, an empty stream.
async fn is_welcomed(connection: &Connection) -> Result<bool, ConnectionError> {
    let mut stream = connection.accept_uni().await?;
    match stream.read_to_end(0).await {
        Ok(_) => Ok(true),
        Err(quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(error))) => Err(error),
        Err(_) => Ok(false),
    }
}

/// The claims of a dial on its address and its peer, released when it is over.
struct Claims {
    registry: Arc<Registry>,
    addr: SocketAddr,
    verifier: Arc<DialVerifier>,
}

impl Drop for Claims {
    fn drop(&mut self) {
        self.verifier.finish();
        self.registry.end_dial(self.addr);
    }
}

/// The error of a handshake that failed, or of a connection to `peer` that was closed before the welcome.
fn dial_error(error: &ConnectionError, shared: &Shared, peer: Option<PeerId>) -> DialError {
    match error {
        ConnectionError::VersionMismatch => DialError::Version,
        ConnectionError::TimedOut => DialError::TimedOut(shared.config.idle_timeout),
        ConnectionError::TransportError(ours) => match alert(ours.code) {
            Some(AlertDescription::NoApplicationProtocol) => DialError::Version,
            Some(AlertDescription::BadCertificate | AlertDescription::DecryptError) => {
                DialError::Certificate(ours.reason.clone())
            }
            Some(_) | None => DialError::Handshake(brief(error)),
        },
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(AlertDescription::NoApplicationProtocol) => DialError::Version,
            None if close.error_code == TransportErrorCode::CONNECTION_REFUSED => DialError::PeerFull,
            Some(_) | None => DialError::Handshake(brief(error)),
        },
        ConnectionError::ApplicationClosed(close) => match (CloseReason::from_code(close.error_code), peer) {
            (Some(CloseReason::Duplicate), Some(peer)) => DialError::AlreadyConnected(peer),
            (Some(CloseReason::Full), _) => DialError::PeerFull,
            (Some(reason), _) => DialError::Refused(reason),
            (None, _) => DialError::Handshake(brief(error)),
        },
        ConnectionError::LocallyClosed => DialError::Stopping,
        ConnectionError::Reset | ConnectionError::CidsExhausted => DialError::Handshake(brief(error)),
    }
}
