//! Reports of a peer process: one JSON object a line, whose `schema` key names its kind.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Deserializer, Serialize};

use super::Ages;

/// One line from a peer to its launcher. The tag is the `schema` key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema")]
pub enum Report {
    /// The peer is up.
    #[serde(rename = "murmur.peer.started/1")]
    Started(Started),
    /// The peer added one update of its own.
    #[serde(rename = "murmur.peer.segment/1")]
    Segment(Segment),
    /// An update joined the set; sent only by peers of a benchmark.
    #[serde(rename = "murmur.peer.folded/1")]
    Folded(Folded),
    /// Entries came too late for a final frontier and left the set; sent only by peers of a benchmark.
    #[serde(rename = "murmur.peer.excluded/1")]
    Excluded(Excluded),
    /// Something happened that a reader may want to know.
    #[serde(rename = "murmur.peer.event/1")]
    Event(Event),
    /// The process lives.
    #[serde(rename = "murmur.peer.alive/1")]
    Alive(Alive),
    /// The peer trains no more.
    #[serde(rename = "murmur.peer.finished/1")]
    Finished(Finished),
    /// The peer is about to exit with this code.
    #[serde(rename = "murmur.peer.error/1")]
    Error(Fault),
}

impl Report {
    /// The report as one line of JSON, without the line feed.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("reports hold only strings and numbers, which always serialize")
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Whatever makes the line something other than a report; serde says which key.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

/// A peer that is up: its identity, its addresses, its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Its public key, 64 hex digits.
    pub peer_id: String,
    /// The name to say.
    pub petname: String,
    /// Its operating-system process.
    pub pid: u32,
    /// Where other peers dial it.
    pub address: SocketAddr,
    /// Where Prometheus scrapes it.
    pub metrics: String,
    /// Its folder.
    pub state_dir: String,
    /// Parameters of the model.
    pub params: u64,
    /// Bytes of text it trains on.
    pub train_bytes: u64,
    /// Bytes of text held out.
    pub validation_bytes: u64,
    /// Where the data comes from, in words.
    pub data: String,
    /// The device it computes on, in words.
    pub device: String,
    /// The numeric class: peers of one class produce the same bits.
    pub class: String,
    /// The run, 64 hex digits.
    pub run_id: String,
    /// Tokens of one inner step: batch · context.
    pub step_tokens: u64,
    /// Inner steps of one segment, H.
    pub segment_steps: u64,
    /// The run's budget in tokens.
    pub run_tokens: u64,
}

/// One segment of this peer's own, done and in its set. Totals count from the start of the process, unless said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Which of this peer's updates it is, from 0.
    pub seq: u64,
    /// Token clock of the update: tokens in its causal past, its own not included.
    pub clock: u64,
    /// Tokens of all updates in the set this peer holds now, its own included.
    pub set_tokens: u64,
    /// Tokens this peer has trained on since its process started, this segment included.
    pub tokens_self: u64,
    /// Mean training loss of the segment, nats per byte.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// How long the segment computed.
    pub seconds: f64,
    /// Inner steps it took.
    pub steps: u64,
    /// Updates folded so far, its own included.
    pub updates_folded: u64,
    /// Other peers it is connected to now.
    pub peers: u64,
    /// Bytes sent so far, counted at the UDP socket.
    pub bytes_sent: u64,
    /// Bytes received so far, counted at the UDP socket.
    pub bytes_received: u64,
    /// Bits per parameter of this segment's payload.
    pub payload_bits_per_param: f64,
    /// Passed verdicts in the set this peer holds now.
    pub audits_passed: u64,
    /// Failed verdicts in the set this peer holds now.
    pub audits_failed: u64,
    /// Loss on held-out text at the newest fold, nats per byte; absent when it was not measured this time.
    pub validation_loss: Option<f64>,
    /// Hash of the base version vector, hex.
    pub base: String,
}

/// Something that happened, as one peer saw it. Peers that saw the same thing must give the same `detail`: the
/// launcher shows equal events once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The peer it happened to, 64 hex digits; absent when it concerns the reporting peer or no peer.
    pub peer: Option<String>,
    /// One sentence without a full stop, or empty.
    pub detail: String,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A peer connected.
    Joined,
    /// A peer is gone.
    Departed,
    /// An audit found an update as its author claimed.
    AuditPassed,
    /// An audit found something else.
    AuditFailed,
    /// A peer was found out; its updates are removed.
    Evicted,
    /// Training produced numbers that are not finite, or a loss that only grows.
    Diverged,
    /// A joiner holds the set its neighbours hold.
    CaughtUp,
    /// A peer sent something that was refused.
    BadInput,
    /// A checkpoint was written.
    Checkpoint,
    /// A file failed its hash and was set aside.
    SetAside,
    /// A peer broke the protocol too often and is not listened to for a while.
    Banned,
    /// Another process has this peer's identity.
    Usurped,
    /// A frontier became final: nothing before it changes any more.
    Final,
    /// So much work is not final that the peer adds none until that changes.
    Stalled,
    /// The router passes packets on to the peer, or does not.
    PortMap,
    /// The peer has been finishing for a while and may not leave yet.
    Unfinished,
}

impl EventKind {
    /// The word used in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Departed => "departed",
            Self::AuditPassed => "audit_passed",
            Self::AuditFailed => "audit_failed",
            Self::Evicted => "evicted",
            Self::Diverged => "diverged",
            Self::CaughtUp => "caught_up",
            Self::BadInput => "bad_input",
            Self::Checkpoint => "checkpoint",
            Self::SetAside => "set_aside",
            Self::Banned => "banned",
            Self::Usurped => "usurped",
            Self::Final => "final",
            Self::Stalled => "stalled",
            Self::PortMap => "port_map",
            Self::Unfinished => "unfinished",
        }
    }
}

/// The end of a peer's training: totals, final state, losses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its public key, 64 hex digits.
    pub peer_id: String,
    /// The name to say.
    pub petname: String,
    /// Updates in its own chain.
    pub seq: u64,
    /// Updates in the set, of all authors.
    pub updates: u64,
    /// Tokens in the set, of all authors.
    pub tokens_set: u64,
    /// Tokens this peer trained on since its process started.
    pub tokens_self: u64,
    /// Root of the final state, hex.
    pub state_root: String,
    /// Hash of the version vector that names the set, hex.
    pub version: String,
    /// Loss on held-out text, nats per byte.
    #[serde(deserialize_with = "null_is_nan")]
    pub val_loss: f64,
    /// Bytes of held-out text that `val_loss` is the mean of.
    pub val_bytes: u64,
    /// Training loss at the very first step, nats per byte.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss_first: f64,
    /// Mean training loss of the last segment, nats per byte.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss_last: f64,
    /// Bytes sent, at the UDP socket.
    pub bytes_sent: u64,
    /// Bytes received, at the UDP socket.
    pub bytes_received: u64,
    /// Passed verdicts in the set.
    pub audits_passed: u64,
    /// Failed verdicts in the set.
    pub audits_failed: u64,
    /// Peers whose updates are removed, 64 hex digits each, sorted.
    pub evicted: Vec<String>,
    /// How long this peer ran.
    pub seconds: f64,
    /// Inner steps this peer took.
    pub steps_self: u64,
    /// Mean bits per parameter over this peer's payloads.
    pub payload_bits_per_param: f64,
    /// Neighbours' roots that equalled its own when both held the same set, over the whole life.
    pub roots_matched: u64,
    /// Neighbours' roots that differed although both held the same set: a bug or an attack.
    pub roots_differed: u64,
    /// Entries of each author in the set, by the author's 64 hex digits.
    #[serde(default)]
    pub chains: BTreeMap<String, u32>,
    /// The newest final frontier.
    #[serde(default)]
    pub final_epoch: u32,
    /// How stale others' updates were when they joined its set.
    #[serde(default)]
    pub ages: Ages,
    /// Why it stopped: `budget`, `drained`, `diverged` or `evicted`.
    pub reason: String,
    /// The checkpoint file of this state; absent when none was written.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// What is wrong although the peer finished: its checkpoint could not be written, or training diverged.
    #[serde(default)]
    pub fault: Option<Fault>,
}

/// An update that joined the set of a peer: for its author, the moment before it is announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// The author, 64 hex digits.
    pub author: String,
    /// Its position in the author's chain.
    pub seq: u32,
    /// When, by the machine's clock: microseconds since 1970.
    pub at_us: u64,
}

/// Entries that final frontiers left out, as far as the peer still holds them: one that begins at a later frontier never sees
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// How many of each author's entries may be missing from the set, by the author's 64 hex digits.
    pub counts: BTreeMap<String, u32>,
}

/// Sent every second from the start of the process to its end, whatever else the peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// How much the peer has done since its process started, counted in inner steps, batches measured and notices handled.
    /// It has no unit: only its growth means something.
    pub work: u64,
}

/// Why a peer is about to exit, or what is wrong with how it finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The exit code, see `murmur explain`.
    pub code: u8,
    /// The code's name.
    pub name: String,
    /// What happened, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// A number that JSON could not hold (NaN, infinity) was written as null; it is read as NaN.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
