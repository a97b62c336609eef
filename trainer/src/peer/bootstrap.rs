//! Getting the manifest: from the peer's folder, or by its hash from a peer that the ticket names.

use std::{fs, net::SocketAddr, time::Duration};

use murmur_collectives::{Hash, Identity};
use murmur_coordinatorless::Message;
use murmur_quic::{CloseReason, DialError, Events, Priority, Transport, TransportEvent};

use super::PeerOptions;
use crate::error::Exit;
use crate::error::Failure;
use crate::run::manifest::Manifest;
use crate::run::state_dir::{MANIFEST, write_durably};
use crate::run::ticket::Ticket;

/// How long all addresses of a ticket together may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// The manifest's bytes.
///
/// # Errors
/// [`Exit::NoPeers`] when no peer of the run answers, [`Exit::Version`] when they speak another version,
/// [`Exit::IdentityInUse`] when another process with this identity answers,
/// [`Exit::Config`] when there is neither manifest nor ticket.
pub(super) async fn manifest(options: &PeerOptions, identity: &Identity) -> Result<Vec<u8>, Failure> {
    let path = options.state_dir.join(MANIFEST);
    match (fs::read(&path), &options.ticket) {
        (Ok(bytes), None) => Ok(bytes),
        (Ok(bytes), Some(ticket)) if Manifest::run_id(&bytes).0 == ticket.run_id() => Ok(bytes),
        (_, Some(ticket)) => {
            let bytes = fetch(ticket, options.listen, identity).await?;
            write_durably(&path, &bytes)?;
            Ok(bytes)
        }
        (Err(error), None) => Err(Failure::io(Exit::Config, "read", &path, &error)),
    }
}

fn nobody() -> Failure {
    Failure::new(Exit::NoPeers, "none of the ticket's peers answered")
        .hint("Check that the run is still going and ask for a fresh ticket; any of its peers can give one.")
}

/// Uses a transport of its own: a neighbour sends its greeting once a connection, and the node must get it.
async fn fetch(ticket: &Ticket, listen: SocketAddr, identity: &Identity) -> Result<Vec<u8>, Failure> {
    if listen.is_ipv4() && ticket.addresses().iter().all(SocketAddr::is_ipv6) {
        let message = format!("the ticket names IPv6 addresses only, and this peer listens by IPv4, at {listen}");
        return Err(Failure::new(Exit::NoPeers, message).hint("Listen by both with --set net.listen=[::]:0."));
    }
    let (transport, mut events) = super::bind(identity, SocketAddr::new(listen.ip(), 0), 0)?;
    let mut failure = None;
    let asking = ask(ticket.run_id(), ticket.addresses(), &transport, &mut events, &mut failure);
    let answer = tokio::time::timeout(PATIENCE, asking).await.ok().flatten();
    transport.shutdown(GOODBYE).await;
    answer.ok_or_else(|| failure.unwrap_or_else(nobody))
}

async fn ask(
    run: [u8; 32],
    addresses: &[SocketAddr],
    transport: &Transport,
    events: &mut Events,
    failure: &mut Option<Failure>,
) -> Option<Vec<u8>> {
    addresses.iter().for_each(|address| transport.dial(*address, None));
    let mut hopes = addresses.len();
    while hopes > 0 {
        match events.recv().await? {
            TransportEvent::Connected { peer, .. } => {
                let question = Message::WantManifest { run: Hash(run) }.encode();
                let _ = transport.send(peer, Priority::Header, question.into());
            }
            TransportEvent::Message { from, bytes } => {
                // Members also greet with digests and addresses; those are for later.
                let Ok(Message::Manifest { bytes }) = Message::decode(&bytes) else { continue };
                if Manifest::run_id(&bytes).0 == run {
                    return Some(bytes);
                }
                transport.close(from, CloseReason::Misbehaved);
            }
            TransportEvent::DialFailed { reason: DialError::AlreadyConnected(_), .. } => {}
            TransportEvent::DialFailed { addr, reason } => {
                hopes -= 1;
                let kinds = [(DialError::Version, Exit::Version), (DialError::Twin, Exit::IdentityInUse)];
                let exit = kinds.into_iter().find(|(kind, _)| *kind == reason).map_or(Exit::NoPeers, |(_, exit)| exit);
                *failure = Some(Failure::new(exit, format!("{addr} cannot be joined")).because(reason));
            }
            TransportEvent::Disconnected { .. } => hopes -= 1,
            TransportEvent::Refused { .. } | TransportEvent::Datagram { .. } => {}
            // No peer was dialed through a relay.
            TransportEvent::Moved { .. } | TransportEvent::DialThroughFailed { .. } => {}
        }
    }
    None
}
