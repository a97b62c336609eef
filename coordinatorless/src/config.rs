//! A peer's own settings: nothing in here needs to be agreed on.

use core::time::Duration;

/// How one peer behaves towards the network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between rounds of anti-entropy with a random neighbour. Shorter repairs losses sooner and costs a digest
    /// (48 bytes an author) each way. A tenth of a segment is a good choice.
    pub anti_entropy_every: Duration,
    /// The same while finishing, when agreement is waited for.
    pub finish_every: Duration,
    /// After this long a request counts as unanswered and goes to another neighbour. Should exceed the time a payload
    /// takes on the slowest link.
    pub request_timeout: Duration,
    /// Neighbours to announce a new entry to, at most. Announcements are pulled, so each entry still travels once.
    pub fanout: usize,
    /// Connections, at most.
    pub neighbours_max: usize,
    /// Offences until a neighbour is sent away.
    pub strikes_max: u32,
    /// How long it stays away.
    pub ban: Duration,
    /// Entries whose past is missing are kept up to this many.
    pub pending_max: usize,
    /// Audits waiting for their carry or for replay, at most; more are not taken on.
    pub audits_max: usize,
    /// Own carries kept for auditors: segments.
    pub carries_kept: usize,
    /// A checkpoint is taken whenever the token clock has advanced by this much. 0: never.
    pub checkpoint_every_tokens: u64,
    /// Time between two voters' turns to propose a frontier. A few times the delay between any two peers.
    pub propose_stagger: Duration,
    /// How long the first round of deciding a frontier takes at most; each next one takes as much longer. Must leave time
    /// to pull an update that some lack.
    pub round_timeout: Duration,
    /// A restarted peer that finds nobody trains on alone after this long.
    pub lonely_after: Duration,
    /// Whether addresses that peers tell are dialed only if they are loopback addresses.
    pub loopback_only: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            anti_entropy_every: Duration::from_millis(1000),
            finish_every: Duration::from_millis(150),
            request_timeout: Duration::from_secs(5),
            fanout: 6,
            neighbours_max: 64,
            strikes_max: 3,
            ban: Duration::from_secs(60),
            pending_max: 1024,
            audits_max: 8,
            carries_kept: 8,
            checkpoint_every_tokens: 0,
            propose_stagger: Duration::from_millis(500),
            round_timeout: Duration::from_secs(3),
            lonely_after: Duration::from_secs(5),
            loopback_only: true,
        }
    }
}
