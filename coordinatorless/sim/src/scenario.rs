//! Scenarios: the peers, network, faults, attackers and checks of a simulation. Read from TOML; every key has a
//! default, and the defaults together are the fault mix `mix.toml`.

use murmur_verification::Attack;
use serde::{Deserialize, Serialize};

use crate::{link_profile::LinkProfile, nat::NatKind};

/// A scenario. Times are virtual, in milliseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Name. The command that reproduces a violation contains it.
    pub name: String,
    /// All peers, including newcomers, reserves and attackers. 1 to 1024.
    pub peers: usize,
    /// Peers that the manifest names as founders.
    pub founders: usize,
    /// Peers that are not newcomers start within this time, milliseconds.
    pub starts_ms: u64,
    /// Peers that join during the run.
    pub newcomers: usize,
    /// Peers that start only as replacements of machines lost for good.
    pub reserves: usize,
    /// Length of the fault phase, seconds.
    pub seconds: u64,
    /// Training time after the faults end, seconds.
    pub calm_seconds: u64,
    /// Time after training within which all honest peers must hold the same set and state, seconds.
    pub heal_seconds: u64,
    /// Connections a peer keeps, at most.
    pub neighbours_max: usize,
    /// Addresses a starting peer is given.
    pub introductions: usize,
    /// The link of every peer, by name. It takes the place of `network.latency_ms`, `jitter_ms`, `loss_percent` and
    /// `upload_kb_per_s`, and its loss goes on when the faults end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkProfile>,
    /// Simulated training.
    pub work: Work,
    /// Simulated network.
    pub network: Network,
    /// Fault rates.
    pub faults: Faults,
    /// Attackers.
    pub hostile: Hostile,
    /// Checks and their bounds.
    pub checks: Checks,
}

/// Simulated training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Model sizes, parameters; the seed chooses one.
    pub parameters: Vec<u64>,
    /// Parameters of every 4096 that an update carries.
    pub top: u16,
    /// Duration of a segment on the fastest machine.
    pub segment_ms: u64,
    /// Additional duration on the slowest machine, percent.
    pub segment_spread_percent: u64,
    /// Peers that author updates; 0 means all. The others store, verify and forward updates and do not enroll.
    pub authors: usize,
    /// Inner steps of a segment. A step is ten tokens.
    pub steps: u32,
    /// Probability that a trusted author's update is audited, percent.
    pub audit_percent: u32,
    /// The longest payload that travels with its entry, bytes; a longer one travels in chunks.
    pub payload_in_message_max: u32,
    /// Tokens between two final frontiers, 0 for none; the seed chooses one value.
    pub frontier_every_tokens: Vec<u64>,
}

/// The simulated network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Shortest and longest one-way latency; the seed chooses one for each pair of machines.
    pub latency_ms: [u64; 2],
    /// Maximum random delay added to each message. Jitter reorders messages.
    pub jitter_ms: u64,
    /// Packet loss, percent. A lost packet of a message is retransmitted and delays it; a datagram is lost.
    pub loss_percent: u64,
    /// Messages dropped by a full send queue, percent. Anti-entropy must repair these.
    pub drop_percent: u64,
    /// Messages delivered twice, percent. QUIC never duplicates; a node must tolerate it all the same.
    pub double_percent: u64,
    /// Upload rate of the slowest and of the fastest machine, kilobytes per second; 0 means unlimited.
    pub upload_kb_per_s: [u64; 2],
    /// A connection silent for this long is dropped.
    pub idle_timeout_ms: u64,
    /// A dial without an answer fails after this long.
    pub handshake_timeout_ms: u64,
    /// Maximum difference between the fastest and the slowest clock, parts per million.
    pub drift_ppm: u64,
    /// Kinds of NAT, assigned by the seed in equal numbers. With more than one kind there must be at least as many
    /// founders as kinds: then at least one founder is open, and newcomers can dial it.
    pub behind: Vec<NatKind>,
    /// Whether open machines relay between peers that cannot connect directly.
    pub relays: bool,
}

/// Faults per hour, of the whole swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// A process is killed and restarts later.
    pub kills_per_hour: u64,
    /// A machine loses power, loses records that are not durable, and restarts later.
    pub power_losses_per_hour: u64,
    /// Power losses that also damage the end of the log, percent.
    pub damages_percent: u64,
    /// A process is stopped and resumes later.
    pub stops_per_hour: u64,
    /// The network splits into two sides.
    pub partitions_per_hour: u64,
    /// Partitions that block only one direction, percent.
    pub one_way_percent: u64,
    /// A disk becomes slow.
    pub slow_disks_per_hour: u64,
    /// A peer leaves with a goodbye and does not return.
    pub leaves_per_hour: u64,
    /// A machine is lost for good and a reserve with a new identity starts, while there are reserves.
    pub losses_per_hour: u64,
    /// Shortest and longest duration of a fault.
    pub lasts_ms: [u64; 2],
    /// Duration of a durable write on a slow disk.
    pub slow_write_ms: u64,
}

/// Attackers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hostile {
    /// Number of attackers.
    pub peers: usize,
    /// Their attacks, of [`Attack::SIMULATED`]; the seed assigns them in turn.
    pub ways: Vec<Attack>,
}

/// Checks and their bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Interval between two checks of the invariants.
    pub every_ms: u64,
    /// While an honest peer can train, an update must be folded within this time.
    pub liveness_ms: u64,
    /// Memory of a peer beyond its state and its log, at most, bytes.
    pub overhead_bytes: u64,
    /// Memory of a peer's log once an epoch is final, at most, bytes. 0: unchecked.
    pub log_bytes: u64,
    /// Tokens folded, at least, in percent of the same seed without faults. 0: unchecked.
    pub tokens_percent: u64,
    /// Peers live for a whole window that must have an update folded in it, percent. 0: unchecked.
    pub contributing_percent: u64,
    /// Length of a window.
    pub window_ms: u64,
    /// Whether the final check folds the whole log again in another order. Costs as much as the run of one peer.
    pub refold: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "mix".to_owned(),
            peers: 16,
            founders: 8,
            starts_ms: 500,
            newcomers: 3,
            reserves: 0,
            seconds: 16,
            calm_seconds: 3,
            heal_seconds: 60,
            neighbours_max: 64,
            introductions: 3,
            link: None,
            work: Work::default(),
            network: Network::default(),
            faults: Faults::default(),
            hostile: Hostile::default(),
            checks: Checks::default(),
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self {
            parameters: vec![300, 300, 300, 5000],
            top: 64,
            segment_ms: 2500,
            segment_spread_percent: 100,
            authors: 0,
            steps: 10,
            audit_percent: 20,
            payload_in_message_max: 3 << 20,
            frontier_every_tokens: vec![1500, 1500, 1500, 0],
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency_ms: [1, 60],
            jitter_ms: 10,
            loss_percent: 2,
            drop_percent: 1,
            double_percent: 1,
            upload_kb_per_s: [1000, 10_000],
            idle_timeout_ms: 10_000,
            handshake_timeout_ms: 5000,
            drift_ppm: 200,
            behind: vec![NatKind::Open],
            relays: false,
        }
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            kills_per_hour: 500,
            power_losses_per_hour: 400,
            damages_percent: 30,
            stops_per_hour: 400,
            partitions_per_hour: 150,
            one_way_percent: 30,
            slow_disks_per_hour: 200,
            leaves_per_hour: 100,
            losses_per_hour: 0,
            lasts_ms: [500, 12_000],
            slow_write_ms: 300,
        }
    }
}

impl Default for Hostile {
    fn default() -> Self {
        Self { peers: 2, ways: Attack::SIMULATED.to_vec() }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            every_ms: 1000,
            liveness_ms: 20_000,
            overhead_bytes: 4_000_000,
            log_bytes: 0,
            tokens_percent: 0,
            contributing_percent: 0,
            window_ms: 60_000,
            refold: true,
        }
    }
}

/// Why a scenario is invalid.
#[derive(Debug, thiserror::Error)]
pub enum BadScenario {
    /// The text is not a scenario.
    #[error("not a scenario: {0}")]
    Text(#[from] toml::de::Error),
    /// A value is out of range.
    #[error("scenario: {0}")]
    Range(&'static str),
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// [`BadScenario`] names the key that is unknown, of another type, or out of range.
    pub fn from_toml(text: &str) -> Result<Self, BadScenario> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// A built-in scenario by name.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::from_toml(text).expect("a test reads every scenario that comes with the program"))
    }

    /// Names of the built-in scenarios.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`BadScenario::Range`] names the value that is out of range.
    pub fn check(&self) -> Result<(), BadScenario> {
        let ordered = |pair: [u64; 2]| pair[0] <= pair[1];
        let percents = [self.network.loss_percent, self.network.drop_percent, self.network.double_percent];
        let violations = [
            (self.peers == 0 || self.peers > 1024, "peers must be 1 to 1024"),
            (self.founders == 0 || self.founders > self.peers, "founders must be 1 to peers"),
            (
                self.newcomers.saturating_add(self.reserves).saturating_add(self.founders) > self.peers,
                "newcomers and reserves cannot be founders",
            ),
            (self.hostile.peers * 3 > self.peers, "hostile.peers must be at most a third of peers"),
            (self.hostile.peers > 0 && self.hostile.ways.is_empty(), "hostile.ways must name a way"),
            (!self.hostile.ways.iter().all(|attack| Attack::SIMULATED.contains(attack)), "hostile.ways: not simulated"),
            (self.seconds + self.calm_seconds + self.heal_seconds > 1_000_000, "no more than 1,000,000 seconds"),
            (self.work.parameters.is_empty(), "work.parameters must name a size"),
            (self.work.parameters.iter().any(|size| *size == 0 || *size > 1 << 24), "work.parameters: 1 to 2^24"),
            (self.work.frontier_every_tokens.is_empty(), "work.frontier_every_tokens must name a number"),
            (self.work.frontier_every_tokens.iter().any(|tokens| *tokens > 1 << 38), "work.frontier_every_tokens"),
            (!(16..=4096).contains(&self.work.top), "work.top must be 16 to 4096"),
            (self.work.steps == 0 || self.work.steps > 1000, "work.steps must be 1 to 1000"),
            (self.starts_ms == 0 || self.starts_ms > self.seconds * 1000, "starts_ms must be 1 to the run's length"),
            (self.work.segment_ms == 0, "work.segment_ms must not be 0"),
            (self.work.audit_percent > 100, "work.audit_percent is a percentage"),
            (!ordered(self.network.latency_ms) || self.network.latency_ms[1] > 60_000, "network.latency_ms"),
            (!ordered(self.network.upload_kb_per_s), "network.upload_kb_per_s: slowest, then fastest"),
            (percents.iter().any(|percent| *percent > 90), "network: at most 90 percent"),
            (self.network.drift_ppm > 100_000, "network.drift_ppm must be at most 100,000"),
            (!self.network.behind.contains(&NatKind::Open), "network.behind must name open"),
            (
                self.network.behind.len() > 1 && self.network.behind.len() > self.founders,
                "network.behind: at most founders",
            ),
            (self.network.idle_timeout_ms == 0, "network.idle_timeout_ms must not be 0"),
            (!ordered(self.faults.lasts_ms), "faults.lasts_ms: shortest, then longest"),
            (self.checks.every_ms == 0 || self.checks.window_ms == 0, "checks: an interval must not be 0"),
        ];
        let violation = violations.iter().find(|(is_violated, _)| *is_violated);
        violation.map_or(Ok(()), |(_, what)| Err(BadScenario::Range(what)))
    }

    /// The same scenario without faults and attackers, as the baseline of `checks.tokens_percent`.
    #[must_use]
    pub fn without_faults(&self) -> Self {
        let faults = Faults {
            kills_per_hour: 0,
            power_losses_per_hour: 0,
            stops_per_hour: 0,
            partitions_per_hour: 0,
            slow_disks_per_hour: 0,
            leaves_per_hour: 0,
            losses_per_hour: 0,
            ..self.faults.clone()
        };
        let hostile = Hostile { peers: 0, ..self.hostile.clone() };
        Self { faults, hostile, ..self.clone() }
    }
}

macro_rules! built_in {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../../experiments/scenarios/", $name, ".toml")))),*]
    };
}

const BUILT_IN: [(&str, &str); 11] = built_in![
    "mix",
    "fast",
    "wan",
    "partition",
    "churn125",
    "turnover",
    "soak",
    "byzantine",
    "thousand",
    "joins",
    "nat"
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_is_valid_and_has_its_file_name() {
        for name in Scenario::built_in_names() {
            assert_eq!(Scenario::built_in(name).unwrap().name, name);
        }
    }

    #[test]
    fn the_default_scenario_is_mix() {
        assert_eq!(Scenario::built_in("mix").unwrap(), Scenario::default());
    }

    #[test]
    fn a_link_is_named_and_unknown_keys_and_values_out_of_range_are_rejected() {
        let link = Scenario::from_toml("link = \"dsl\"").unwrap().link;
        assert_eq!(link.map(|link| link.name), Some("dsl"));
        assert!(Scenario::from_toml("link = \"dls\"").unwrap_err().to_string().contains("the nearest is `dsl`"));
        let skips = "[hostile]\nways = [\"skips\"]";
        for text in ["pears = 3", "[work]\nspeed = 1", "peers = 0", "founders = 17", "[hostile]\npeers = 9", skips] {
            assert!(Scenario::from_toml(text).is_err(), "{text}");
        }
    }
}
