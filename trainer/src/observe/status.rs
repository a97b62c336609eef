//! The status of a running peer, and how `murmur status` finds the peers of this machine.
//!
//! A peer serves a [`Status`] as JSON at `/status`, beside its metrics, and leaves the address in its folder
//! ([`Endpoint`]). The lock on its identity shows whether it still runs, not that file. Nothing here asks the network:
//! a status is one peer's view.

mod ask;
mod endpoint;
mod find;

use serde::{Deserialize, Serialize};

pub use ask::ask;
pub use endpoint::Endpoint;
pub use find::{Found, find};

#[cfg(test)]
pub(crate) use ask::tests::steps as fixture_of_steps;

/// One peer, now. Keys are a promise; new ones may be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its public key, 64 hex digits.
    pub peer_id: String,
    /// The name to say.
    pub petname: String,
    /// The run, 64 hex digits.
    pub run_id: String,
    /// Its operating-system process.
    pub pid: u32,
    /// Its folder.
    pub state_dir: String,
    /// Where other peers dial it.
    pub address: String,
    /// What it is doing.
    pub phase: Phase,
    /// How long its process has run.
    pub seconds: f64,
    /// Training loss of its newest segment, nats per byte; absent before the first.
    pub loss: Option<f64>,
    /// Loss on held-out text at its last measurement, nats per byte.
    pub validation_loss: Option<f64>,
    /// Tokens it has trained on since its process started.
    pub tokens_self: u64,
    /// The set it holds.
    pub set: SetStatus,
    /// Verdicts in the set.
    pub audits: Verdicts,
    /// Peers whose updates are removed, 64 hex digits each.
    pub evicted: Vec<String>,
    /// The peers it is connected to.
    pub neighbours: Vec<Neighbour>,
    /// The address at which most neighbours see it, or `varies` if each sees it elsewhere; absent when too few have said.
    #[serde(default)]
    pub seen_from_outside: Option<String>,
    /// Bytes at the UDP socket since its process started.
    pub bytes_sent: u64,
    /// The same for what came in.
    pub bytes_received: u64,
    /// Its own limits.
    pub limits: Limits,
    /// How long its segments are, and why; absent before its first one.
    #[serde(default)]
    pub steps: Option<StepsStatus>,
}

/// How many inner steps a peer's next segment takes, and what that was chosen from. What is measured is smoothed over about ten
/// segments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepsStatus {
    /// Inner steps, H.
    pub steps: u32,
    /// How many of every 4096 parameters an update carries.
    #[serde(default)]
    pub top: u16,
    /// The most that the run allows.
    #[serde(default)]
    pub top_most: u16,
    /// The fewest that the run asks for where the link keeps up.
    pub least: u32,
    /// The most that the run allows.
    pub most: u32,
    /// What decided.
    pub reason: StepsReason,
    /// Seconds of one inner step.
    pub step_seconds: f64,
    /// Bytes sent for each segment: the payload as often as this peer sends it, others' payloads that it passes on, small
    /// messages.
    pub segment_bytes: u64,
    /// Bytes of its payload.
    pub payload_bytes: u64,
    /// Bytes a second that the up-link carried while it was busy; absent where it never was for a measurable time.
    pub uplink_bytes_per_second: Option<u64>,
    /// Seconds that the up-link takes for the bytes of a segment.
    pub link_seconds: f64,
    /// Tokens that all peers add in a second.
    pub swarm_tokens_per_second: f64,
    /// Other peers connected.
    pub peers: u64,
}

/// What decided the number of inner steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepsReason {
    /// The run's settings name one number.
    Set,
    /// The up-link keeps up with the shortest segments that the run asks for.
    LinkIsFast,
    /// The up-link would not keep up with shorter segments.
    Link,
    /// The swarm is so much faster than this peer that a longer segment would be lost.
    Swarm,
}

impl StepsReason {
    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::LinkIsFast => "the link keeps up",
            Self::Link => "what the link carries",
            Self::Swarm => "the swarm is much faster",
        }
    }
}

/// What a peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It fetches what the others hold.
    CatchingUp,
    /// It trains and audits.
    Training,
    /// It trains no more and settles with the others.
    Finishing,
}

impl Phase {
    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::CatchingUp => "catching up",
            Self::Training => "training",
            Self::Finishing => "finishing",
        }
    }
}

/// A set of updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetStatus {
    /// Updates of all authors.
    pub updates: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens at which the run ends.
    pub tokens_budget: u64,
    /// Authors with an entry in it.
    pub authors: u64,
    /// Short name of the set: equal for peers that hold the same.
    pub version: String,
    /// How often a neighbour with the same set had the same state, and how often another.
    pub roots_matched: u64,
    /// The same; anything but zero is a bug or an attack.
    pub roots_differed: u64,
    /// The newest final frontier; 0 before the first.
    #[serde(default)]
    pub final_epoch: u32,
    /// Its tokens.
    #[serde(default)]
    pub final_tokens: u64,
}

/// Verdicts in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The replay gave what the author claimed.
    pub passed: u64,
    /// It gave something else.
    pub failed: u64,
}

/// A connected peer. What is not known of it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its public key, 64 hex digits.
    pub peer_id: String,
    /// The name to say.
    pub petname: String,
    /// Where the other end of the connection is.
    pub address: Option<String>,
    /// How its packets travel: `direct`, `punched` or `relayed`.
    pub reach: Option<String>,
    /// The peer that passes its packets on, if one does.
    #[serde(default)]
    pub relay: Option<String>,
    /// What membership says of it: `alive`, `suspected` or `unknown`.
    pub member: Option<String>,
}

/// What a peer allows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Threads it computes with.
    pub threads: u64,
    /// Connections at once.
    pub connections: u64,
    /// The longest message, bytes.
    pub message_bytes: u64,
}
