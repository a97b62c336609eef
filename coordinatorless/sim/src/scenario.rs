//! What is simulated: how many peers, on what network, with which faults, held to what. Read from TOML; every key has a
//! default, and the defaults together are the fault mix `mix.toml`.

use murmur_verification::Attack;
use serde::{Deserialize, Serialize};

use crate::nat::Nat;

/// A whole scenario. Times are virtual, in milliseconds unless the name says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// What to call it; the line that reproduces a violation names it.
    pub name: String,
    /// Peers in all, newcomers and hostile ones included. 1 to 1024.
    pub peers: usize,
    /// How many of them the manifest names as founders.
    pub founders: usize,
    /// All others start within this time, milliseconds.
    pub starts_ms: u64,
    /// How many join only while the run goes on.
    pub newcomers: usize,
    /// How many come only in place of those that are lost for good.
    pub reserves: usize,
    /// Length of the part with faults, seconds.
    pub seconds: u64,
    /// After the faults end: training goes on for this long, seconds.
    pub calm_seconds: u64,
    /// After that: how long the swarm may take until every honest peer holds the same set and state, seconds.
    pub heal_seconds: u64,
    /// Connections a peer keeps, at most.
    pub neighbours_max: usize,
    /// Addresses a peer is given when it starts.
    pub introductions: usize,
    /// What peers compute.
    pub work: Work,
    /// How messages travel.
    pub network: Network,
    /// What goes wrong.
    pub faults: Faults,
    /// Who means harm.
    pub hostile: Hostile,
    /// What must hold.
    pub checks: Checks,
}

/// The stand-in for training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Sizes of the model, parameters; the seed chooses one.
    pub parameters: Vec<u64>,
    /// Of every 4096 parameters an update carries this many.
    pub top: u16,
    /// Length of a segment on the fastest machine.
    pub segment_ms: u64,
    /// The slowest machine takes this much longer, percent.
    pub segment_spread_percent: u64,
    /// How many peers author updates; 0 means all. The others hold, check and pass on what these say, and do not enroll.
    pub authors: usize,
    /// Inner steps of a segment; a step is ten tokens.
    pub steps: u32,
    /// Probability that a trusted author's update is audited, percent.
    pub audit_percent: u32,
    /// The token clock between two final frontiers, 0: nothing becomes final; the seed chooses one of these.
    pub frontier_every_tokens: Vec<u64>,
}

/// The simulated network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The shortest and the longest one-way latency of a pair of machines; the seed chooses one for each pair.
    pub latency_ms: [u64; 2],
    /// Added to every message at random, at most this much: so messages overtake each other.
    pub jitter_ms: u64,
    /// Packets lost, percent. A message of a connection is sent again and so comes late; a datagram is gone.
    pub loss_percent: u64,
    /// Messages dropped by a full queue, percent. What is dropped must be repaired by anti-entropy.
    pub drop_percent: u64,
    /// Messages that come twice, percent. QUIC never does this; the peer bears it all the same.
    pub double_percent: u64,
    /// Upload of the slowest and of the fastest machine, kilobytes a second; 0 means unlimited.
    pub upload_kb_per_s: [u64; 2],
    /// A connection that carries nothing for this long is lost.
    pub idle_timeout_ms: u64,
    /// A dial that nobody answers fails after this long.
    pub handshake_timeout_ms: u64,
    /// The fastest and the slowest clock differ by at most this much, parts per million.
    pub drift_ppm: u64,
    /// What machines are behind; the seed deals these out, each as often as the others. If any is not open, the founders must
    /// be at least as many as are named here, so that some of them are: those are whom newcomers know.
    pub behind: Vec<Nat>,
    /// Whether machines that anyone can dial pass packets on between those that cannot reach each other.
    pub relays: bool,
}

/// Faults, each as often as the number says in an hour, in the whole swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// A process is killed and starts again later.
    pub kills_per_hour: u64,
    /// A machine loses power: what is not synced may be gone. It starts again later.
    pub power_losses_per_hour: u64,
    /// The log of a machine is damaged while it is down, after a power loss: any of its end may be gone.
    pub damages_percent: u64,
    /// A process is stopped for a while.
    pub stops_per_hour: u64,
    /// The network splits into two parts for a while.
    pub partitions_per_hour: u64,
    /// Of the partitions, those that cut only one direction, percent.
    pub one_way_percent: u64,
    /// The disk of a machine becomes slow for a while.
    pub slow_disks_per_hour: u64,
    /// A peer says goodbye and does not come back.
    pub leaves_per_hour: u64,
    /// A machine is lost for good, and somebody nobody knows comes in its place, as long as there are reserves.
    pub losses_per_hour: u64,
    /// The shortest and the longest time a fault lasts.
    pub lasts_ms: [u64; 2],
    /// How long a durable write takes on a slow disk.
    pub slow_write_ms: u64,
}

/// Peers that mean harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hostile {
    /// How many of the peers.
    pub peers: usize,
    /// What they do, of [`Attack::SIMULATED`]; the seed deals these out among them.
    pub ways: Vec<Attack>,
}

/// What is held to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// How often the invariants are looked at.
    pub every_ms: u64,
    /// While anyone may train, some update must be folded within this time.
    pub liveness_ms: u64,
    /// What a peer keeps in memory beyond its state and its log, at most, bytes.
    pub overhead_bytes: u64,
    /// What its log takes in memory, at most, if work becomes final. 0: not asked.
    pub log_bytes: u64,
    /// Tokens folded, at least, in percent of the same seed without faults. 0: not compared.
    pub tokens_percent: u64,
    /// Of the peers that live through a window, those whose work was folded in it, at least, percent. 0: not asked.
    pub contributing_percent: u64,
    /// Length of such a window.
    pub window_ms: u64,
    /// Whether the whole log is folded again at the end, in another order. Costs as much as one peer's run.
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
            behind: vec![Nat::Open],
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

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum BadScenario {
    /// The text is not a scenario.
    #[error("not a scenario: {0}")]
    Text(#[from] toml::de::Error),
    /// A number is out of range.
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

    /// A scenario that comes with the program, by its name.
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::from_toml(text).expect("a test reads every scenario that comes with the program"))
    }

    /// Names of the scenarios that come with the program.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`BadScenario::Range`] says which number is not sensible.
    pub fn check(&self) -> Result<(), BadScenario> {
        let ordered = |pair: [u64; 2]| pair[0] <= pair[1];
        let percents = [self.network.loss_percent, self.network.drop_percent, self.network.double_percent];
        let wrong = [
            (self.peers == 0 || self.peers > 1024, "peers must be 1 to 1024"),
            (self.founders == 0 || self.founders > self.peers, "founders must be 1 to peers"),
            (
                self.newcomers.saturating_add(self.reserves).saturating_add(self.founders) > self.peers,
                "newcomers and reserves cannot be founders",
            ),
            (self.hostile.peers * 3 > self.peers, "hostile.peers must be at most a third of peers"),
            (self.hostile.peers > 0 && self.hostile.ways.is_empty(), "hostile.ways must name a way"),
            (!self.hostile.ways.iter().all(|way| Attack::SIMULATED.contains(way)), "hostile.ways: not simulated"),
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
            (!self.network.behind.contains(&Nat::Open), "network.behind must name open"),
            (
                self.network.behind.len() > 1 && self.network.behind.len() > self.founders,
                "network.behind: at most founders",
            ),
            (self.network.idle_timeout_ms == 0, "network.idle_timeout_ms must not be 0"),
            (!ordered(self.faults.lasts_ms), "faults.lasts_ms: shortest, then longest"),
            (self.checks.every_ms == 0 || self.checks.window_ms == 0, "checks: an interval must not be 0"),
        ];
        let wrong = wrong.iter().find(|(is_wrong, _)| *is_wrong);
        wrong.map_or(Ok(()), |(_, what)| Err(BadScenario::Range(what)))
    }

    /// The same without faults and hostile peers, for comparison.
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
    fn every_built_in_scenario_can_be_read_and_bears_its_name() {
        for name in Scenario::built_in_names() {
            assert_eq!(Scenario::built_in(name).unwrap().name, name);
        }
    }

    #[test]
    fn the_mix_is_the_default() {
        assert_eq!(Scenario::built_in("mix").unwrap(), Scenario::default());
    }

    #[test]
    fn unknown_keys_and_senseless_numbers_are_refused() {
        let skips = "[hostile]\nways = [\"skips\"]";
        for text in ["pears = 3", "[work]\nspeed = 1", "peers = 0", "founders = 17", "[hostile]\npeers = 9", skips] {
            assert!(Scenario::from_toml(text).is_err(), "{text}");
        }
    }
}
