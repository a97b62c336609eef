//! What the launcher shows: the first screen, one round, one event. Pure data; `output` turns it into text or JSON.

use data_encoding::HEXLOWER;
use murmur_collectives::PeerId;

use super::{Plan, addresses::for_ticket};
use crate::{
    error::{Exit, Failure, shell::shell_word},
    protocol::{EventKind, Started},
    run::ticket::Ticket,
};

/// Everything for the first screen, known once all peers are up.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// What a volunteer pastes.
    pub ticket: String,
    /// The whole command that joins from this machine.
    pub join: String,
    /// The run, hex.
    pub run_id: String,
    /// The folder on this machine.
    pub state_dir: String,
    /// This machine's peers, by index.
    pub peers: Vec<Started>,
    /// Whether this machine came with a ticket.
    pub joined: bool,
}

/// Verdicts in the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audits {
    /// The replay gave what the author claimed.
    pub passed: u64,
    /// It gave something else.
    pub failed: u64,
}

/// One swarm round: every live peer's share of one segment, by tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// From 1.
    pub number: u64,
    /// Tokens in the set, of all peers.
    pub tokens: u64,
    /// Mean training loss of the live local peers' newest segments, nats per byte.
    pub loss: f64,
    /// Mean of their newest validation losses, nats per byte.
    pub val_loss: Option<f64>,
    /// Tokens per second of one local peer while it computes a segment, on average.
    pub tokens_per_second_self: f64,
    /// Tokens per second of the whole swarm.
    pub tokens_per_second: f64,
    /// Peers in the swarm, as far as this machine sees.
    pub peers: u64,
    /// Bytes this machine's peers have sent.
    pub bytes_sent: u64,
    /// Bytes they would have sent with a dense all-reduce at every step.
    pub bytes_allreduce: f64,
    /// Verdicts so far.
    pub audits: Audits,
    /// Since training began.
    pub seconds: f64,
    /// Until the run ends, if the pace holds.
    pub eta_seconds: Option<f64>,
}

/// Something that happened, told once.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// What.
    pub kind: EventKind,
    /// To whom, hex.
    pub peer_id: String,
    /// The name to say.
    pub petname: String,
    /// More, or empty.
    pub detail: String,
}

/// What to show when `peers` are up.
///
/// # Errors
/// [`Exit::Bug`] when no ticket can be made of their addresses.
pub(super) fn opening(plan: &Plan, peers: Vec<Started>) -> Result<Opening, Failure> {
    let listening: Vec<_> = peers.iter().map(|started| started.address).collect();
    let ticket = Ticket::new(plan.run_id, &for_ticket(&listening, plan.announce))
        .map_err(|error| Failure::new(Exit::Bug, "cannot make a ticket").because(error))?;
    let data = plan.data.as_deref().map_or_else(String::new, |path| format!(" --data {}", shell_word(path)));
    Ok(Opening {
        join: format!("murmur join {ticket}{data}"),
        ticket: ticket.to_string(),
        run_id: HEXLOWER.encode(&plan.run_id),
        state_dir: plan.state_dir.to_string_lossy().into_owned(),
        peers,
        joined: plan.joined,
    })
}

/// `1 peer`, `4 peers`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How many times less was sent; absent when there is nothing to compare.
pub(crate) fn reduction(bytes_allreduce: f64, bytes_sent: u64) -> Option<f64> {
    (bytes_sent > 0 && bytes_allreduce > 0.0).then(|| bytes_allreduce / bytes_sent as f64)
}

/// The petname of a peer by its hex id; the id's start when it is no id.
pub(crate) fn petname_of(peer_id: &str) -> String {
    let bytes = HEXLOWER.decode(peer_id.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map_or_else(|| hex_start(peer_id).to_owned(), |bytes| PeerId(bytes).petname())
}

/// The first twelve digits of a long hex number.
pub(crate) fn hex_start(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}
