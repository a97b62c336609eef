//! What a command shows of a run: the first screen, a round, an event, the summary. Pure data: the launcher fills it in, and
//! `output` turns it into text or JSON.

use data_encoding::HEXLOWER;
use murmur_collectives::PeerId;

use crate::protocol::{EventKind, Started};

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
    /// Mean of their newest validation losses, nats per byte; the same until one of them measures again.
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

/// An event of the swarm, shown once.
#[derive(Debug, Clone, PartialEq)]
pub struct EventLine {
    /// Its kind.
    pub kind: EventKind,
    /// The peer it happened to, hex.
    pub peer_id: String,
    /// The name to say.
    pub petname: String,
    /// More, or empty.
    pub detail: String,
}

/// What the peers that finished, and were not evicted, ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// The same set of updates and the same state.
    Equal,
    /// The same set, different states. That must not happen.
    Broken,
    /// Different sets: their last updates did not reach everyone in time.
    Unsettled,
}

/// One local peer at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The name to say.
    pub petname: String,
    /// How it ended: `budget`, `drained`, `diverged`, `evicted`, `lost` when the launcher gave it up, or `gone`.
    pub end: String,
    /// Updates in its chain.
    pub updates: u64,
    /// Tokens it trained on.
    pub tokens: u64,
    /// Mean training loss of its last segment, nats per byte.
    pub loss: Option<f64>,
    /// Bytes it sent.
    pub bytes_sent: u64,
    /// Bytes it received.
    pub bytes_received: u64,
    /// Root of its final state, hex; absent when it did not finish.
    pub state_root: Option<String>,
}

/// The result of `run` and `join`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The run, hex.
    pub run_id: String,
    /// The folder on this machine.
    pub state_dir: String,
    /// Peers started on this machine.
    pub peers: usize,
    /// Of these, the ones that finished and were not evicted.
    pub survivors: usize,
    /// Tokens in the set, of all peers.
    pub tokens: u64,
    /// Updates in the set, of all authors.
    pub updates: u64,
    /// Mean over peers of the first training loss, nats per byte.
    pub loss_first: f64,
    /// Mean over peers of the last segment's training loss.
    pub loss_final: f64,
    /// Loss on held-out text, mean over peers weighted by the bytes each measured on.
    pub val_loss: f64,
    /// Root of the final state, hex: the survivors', or the first of them when they differ.
    pub state_root: String,
    /// Whether they are all the same.
    pub agreement: Agreement,
    /// How often a survivor compared its root with a neighbour's for the same set: equal, different.
    pub comparisons: (u64, u64),
    /// Bytes this machine's peers sent, at the socket.
    pub bytes_sent: u64,
    /// Bytes they would have sent with a dense all-reduce at every step.
    pub bytes_allreduce: f64,
    /// How stale updates were when they joined the set of a peer of this machine: tokens of others that the author had not
    /// seen, on average and for all but a twentieth of them. Absent without updates of other peers.
    pub staleness_tokens: Option<(f64, u64)>,
    /// Mean bits per parameter of their payloads.
    pub payload_bits_per_param: f64,
    /// Verdicts in the set.
    pub audits: Audits,
    /// Peers whose updates were removed, hex ids, sorted.
    pub evicted: Vec<String>,
    /// Whether there was nothing left to train: the run had reached its end before this command.
    pub had_ended: bool,
    /// A checkpoint of the final model, if a peer wrote one.
    pub checkpoint: Option<String>,
    /// How long training lasted.
    pub seconds: f64,
    /// Tokens per second of the whole swarm, over all of it.
    pub tokens_per_second: f64,
    /// One per local peer, by index.
    pub rows: Vec<Row>,
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
