//! The results of one seed and of many.

use std::collections::BTreeMap;

use murmur_coordinatorless::{DownReason, Event, Footprint, Time};
use serde::Serialize;

use crate::{
    invariants::{Finding, PeerSnapshot},
    scenario::Scenario,
};

/// The result of one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Violated invariants; the first few findings of each.
    pub violations: Vec<Violation>,
    /// Counts and sizes.
    pub figures: Figures,
    /// Starts, ends and faults in order, for the analysis of a violation. At most a thousand lines.
    pub chronicle: Vec<String>,
    /// Digest of the history: a seed gives the same trace on every machine.
    pub trace: String,
}

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// When, virtual milliseconds since the run began.
    pub at_ms: u64,
    /// Name of the invariant.
    pub invariant: &'static str,
    /// What violated it.
    pub detail: String,
    /// The command that reproduces it.
    pub reproduce: String,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (seconds, rest) = (self.at_ms / 1000, self.at_ms % 1000);
        write!(f, "{} at {seconds}.{rest:03} s: {}\n    {}", self.invariant, self.detail, self.reproduce)
    }
}

/// Counts and sizes of one seed.
#[derive(Clone, Default, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Virtual time simulated, milliseconds.
    pub virtual_ms: u64,
    /// Segments finished by all peers.
    pub authored: u64,
    /// Tokens in the set at the end of the run.
    pub tokens: u64,
    /// Entries in it.
    pub entries: u64,
    /// The newest final epoch.
    pub epochs: u32,
    /// The longest time between two final frontiers, virtual milliseconds.
    pub undecided_ms: u64,
    /// The most tokens that a peer held beyond its newest final frontier.
    pub open_tokens_max: u64,
    /// When the newest epoch was first seen.
    #[serde(skip)]
    decided_at: Time,
    /// Time from the last segment until all honest peers held the same set, milliseconds; `None` if they never did.
    pub heal_ms: Option<u64>,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Events reported by peers, by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Messages sent, by kind. Membership uses datagrams.
    pub messages: BTreeMap<&'static str, u64>,
    /// Bytes sent, by kind.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Swarm rounds: segments that every peer has folded of the author with the fewest.
    pub rounds: u64,
    /// Mean traffic of a peer in a round, including starts and joins.
    pub per_peer_round: BTreeMap<&'static str, Traffic>,
    /// Mean traffic of a peer in a second, measured after the faults and during training.
    pub per_peer_calm_second: BTreeMap<&'static str, Traffic>,
    /// Mean memory of a peer at the end, bytes.
    pub held_bytes_mean: u64,
    /// Mean memory of a peer's membership table at the end, bytes.
    pub membership_bytes_mean: u64,
    /// The largest membership table of a peer at the end, bytes.
    pub membership_bytes_max: u64,
    /// Pairs of live honest peers at the end, by connection: `direct`, `punched` (the dialed NAT admits only endpoints
    /// its machine has sent to), `relayed`, or `apart` (not connected).
    pub reach: BTreeMap<&'static str, u64>,
    /// Pairs of which a node reports a punched connection because a mutual neighbour arranged the punch. Without
    /// arrangement a hole also opens when both peers happen to dial.
    pub arranged: u64,
    /// Connections that moved from a relay to a direct path.
    pub moved: u64,
    /// The largest memory of a peer at any check, bytes.
    pub held_bytes_max: u64,
    /// The largest memory of a peer beyond model, set and the state under download, bytes.
    pub overhead_bytes_max: u64,
    /// Tokens in percent of the same seed without faults; `None` if the scenario does not compare.
    pub tokens_percent: Option<u64>,
}

/// Messages and bytes sent, by kind.
type Sent = (BTreeMap<&'static str, u64>, BTreeMap<&'static str, u64>);

/// Traffic of one peer and one kind.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Thousandths of a message.
    pub messages_milli: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Traffic {
    fn mean(messages: u64, bytes: u64, count: u64) -> Self {
        let share = |total: u64| total.checked_div(count).unwrap_or(0);
        Self { messages_milli: share(messages * 1000), bytes: share(bytes) }
    }
}

impl Figures {
    pub(crate) fn count_message(&mut self, kind: &'static str, bytes: usize) {
        *self.messages.entry(kind).or_default() += 1;
        *self.bytes.entry(kind).or_default() += bytes as u64;
    }

    /// Everything sent so far.
    pub(crate) fn sent(&self) -> Sent {
        (self.messages.clone(), self.bytes.clone())
    }

    /// Records the mean traffic of `peers` over the fault-free `seconds` since the given counters were read.
    pub(crate) fn record_calm_traffic(&mut self, (messages, bytes): &Sent, seconds: u64, peers: usize) {
        let since = |now: u64, before: &BTreeMap<&str, u64>, kind| now - before.get(kind).copied().unwrap_or(0);
        for (kind, sent) in &self.messages {
            let bytes_sent = self.bytes.get(kind).copied().unwrap_or(0);
            let (sent, bytes_sent) = (since(*sent, messages, kind), since(bytes_sent, bytes, kind));
            self.per_peer_calm_second.insert(kind, Traffic::mean(sent, bytes_sent, seconds * peers as u64));
        }
    }

    /// Updates the maxima of memory, open tokens and undecided time.
    pub(crate) fn observe(&mut self, now: Time, peers: &[PeerSnapshot]) {
        for peer in peers {
            self.observe_footprint(&peer.footprint);
            self.open_tokens_max = self.open_tokens_max.max(peer.clock.saturating_sub(peer.final_clock));
            if peer.epoch > self.epochs {
                (self.epochs, self.decided_at) = (peer.epoch, now);
            }
        }
        let undecided = now.since(self.decided_at).as_millis();
        self.undecided_ms = self.undecided_ms.max(u64::try_from(undecided).unwrap_or(u64::MAX));
    }

    /// Updates the maxima of memory.
    pub(crate) fn observe_footprint(&mut self, footprint: &Footprint) {
        self.held_bytes_max = self.held_bytes_max.max(footprint.total() as u64);
        self.overhead_bytes_max = self.overhead_bytes_max.max(footprint.overhead() as u64);
    }

    /// Records the memory of all peers at the end and the mean traffic of a round.
    pub(crate) fn record_footprints(&mut self, footprints: &[Footprint]) {
        footprints.iter().for_each(|footprint| self.observe_footprint(footprint));
        let peers = footprints.len() as u64;
        let mean = |of: fn(&Footprint) -> usize| {
            let all: u64 = footprints.iter().map(|footprint| of(footprint) as u64).sum();
            all.checked_div(peers).unwrap_or(0)
        };
        (self.held_bytes_mean, self.membership_bytes_mean) = (mean(Footprint::total), mean(|held| held.membership));
        self.membership_bytes_max = footprints.iter().map(|held| held.membership as u64).max().unwrap_or(0);
        for (kind, sent) in &self.messages {
            let bytes_sent = self.bytes.get(kind).copied().unwrap_or(0);
            self.per_peer_round.insert(kind, Traffic::mean(*sent, bytes_sent, self.rounds * peers));
        }
    }

    pub(crate) fn count_event(&mut self, event: &Event) {
        let names = [
            ("audit_passed", matches!(event, Event::Audited { passed: true, .. })),
            ("audit_failed", matches!(event, Event::Audited { passed: false, .. })),
            ("bad_input", matches!(event, Event::BadInput { .. })),
            ("caught_up", matches!(event, Event::CaughtUp)),
            ("diverged", matches!(event, Event::Diverged { .. })),
            ("evicted", matches!(event, Event::Evicted { .. })),
            ("final", matches!(event, Event::Final { .. })),
            ("member_silent", matches!(event, Event::MemberDown { reason: DownReason::Silent, .. })),
        ];
        let Some((name, _)) = names.into_iter().find(|(_, is)| *is) else { return };
        *self.events.entry(name).or_default() += 1;
    }
}

impl Violation {
    pub(crate) fn new(scenario: &Scenario, seed: u64, finding: Finding) -> Self {
        let Scenario { name, peers, seconds, .. } = scenario;
        let link = scenario.link.map_or_else(String::new, |link| format!("--link {} ", link.name));
        let reproduce = format!("murmur sim --scenario {name} {link}--peers {peers} --seconds {seconds} --seed {seed}");
        let Finding { time, invariant, detail } = finding;
        Self { seed, at_ms: time.0 / 1000, invariant, detail, reproduce }
    }
}

/// The sum of many seeds.
#[derive(Clone, Default, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Seeds simulated.
    pub seeds: u64,
    /// Violations by invariant.
    pub violated: BTreeMap<&'static str, u64>,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// Segments finished.
    pub authored: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// Virtual time, milliseconds.
    pub virtual_ms: u64,
    /// The longest time from the last segment to agreement, milliseconds.
    pub heal_ms_max: u64,
}

/// Violations kept in a summary.
const KEPT: usize = 20;

impl Summary {
    /// Adds the report of one seed.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        report.violations.iter().for_each(|violation| *self.violated.entry(violation.invariant).or_default() += 1);
        let room = KEPT.saturating_sub(self.violations.len());
        self.violations.extend(report.violations.iter().take(room).cloned());
        self.authored += report.figures.authored;
        report
            .figures
            .faults
            .iter()
            .for_each(|(kind, count_message)| *self.faults.entry(kind.clone()).or_default() += count_message);
        self.virtual_ms += report.figures.virtual_ms;
        self.heal_ms_max = self.heal_ms_max.max(report.figures.heal_ms.unwrap_or(0));
    }

    /// Number of violations.
    pub fn violation_count(&self) -> u64 {
        self.violated.values().sum()
    }
}
