//! What a seed, or many of them, gave.

use std::collections::BTreeMap;

use murmur_coordinatorless::Event;
use serde::Serialize;

use crate::{invariants::Found, scenario::Scenario};

/// What one seed gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What did not hold; the first few of each invariant.
    pub violations: Vec<Violation>,
    /// Counts and sizes.
    pub figures: Figures,
    /// Starts, ends and faults, in order: what to read beside a violation. The first thousand.
    pub chronicle: Vec<String>,
    /// Names everything that happened: the same seed gives the same trace, on every machine.
    pub trace: String,
}

/// Something that should have held and did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// When, virtual milliseconds since the run began.
    pub at_ms: u64,
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
    /// The command that shows it again.
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
    /// Virtual time the seed took, milliseconds.
    pub virtual_ms: u64,
    /// Segments finished anywhere.
    pub authored: u64,
    /// Tokens in the set that all agree on at the end.
    pub tokens: u64,
    /// Entries in it.
    pub entries: u64,
    /// How long after the last segment all honest peers held the same, milliseconds; `None` if they never did.
    pub heal_ms: Option<u64>,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u64>,
    /// What peers told, by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Messages sent, by kind.
    pub messages: BTreeMap<&'static str, u64>,
    /// Bytes sent, by kind.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Pairs of live honest peers at the end by how they are connected: `direct`, `punched` (the dialed one lets in only whom
    /// it has called itself), `relayed`, or not: `apart`.
    pub reach: BTreeMap<&'static str, u64>,
    /// Pairs of which one end holds the connection to be punched because a mutual neighbour had told it to dial; the other
    /// holes came about because both dialed of themselves.
    pub arranged: u64,
    /// Relayed connections that a straight one took over from.
    pub moved: u64,
    /// The most that a peer kept in memory, bytes, and what of it was neither model nor set.
    pub held_bytes_max: u64,
    /// The most that a peer kept beside model, set and checkpoint, bytes.
    pub overhead_bytes_max: u64,
    /// Tokens in percent of the same seed without faults, where the scenario compares.
    pub tokens_percent: Option<u64>,
}

impl Figures {
    pub(crate) fn count(&mut self, kind: &'static str, bytes: usize) {
        *self.messages.entry(kind).or_default() += 1;
        *self.bytes.entry(kind).or_default() += bytes as u64;
    }

    pub(crate) fn tell(&mut self, event: &Event) {
        let names = [
            ("audit_passed", matches!(event, Event::Audited { passed: true, .. })),
            ("audit_failed", matches!(event, Event::Audited { passed: false, .. })),
            ("bad_input", matches!(event, Event::BadInput { .. })),
            ("caught_up", matches!(event, Event::CaughtUp)),
            ("diverged", matches!(event, Event::Diverged { .. })),
            ("evicted", matches!(event, Event::Evicted { .. })),
            ("final", matches!(event, Event::Final { .. })),
        ];
        let Some((name, _)) = names.into_iter().find(|(_, is)| *is) else { return };
        *self.events.entry(name).or_default() += 1;
    }
}

impl Violation {
    pub(crate) fn new(scenario: &Scenario, seed: u64, found: Found) -> Self {
        let Scenario { name, peers, seconds, .. } = scenario;
        let reproduce = format!("murmur sim --scenario {name} --peers {peers} --seconds {seconds} --seed {seed}");
        let Found { at, invariant, detail } = found;
        Self { seed, at_ms: at.0 / 1000, invariant, detail, reproduce }
    }
}

/// What many seeds gave.
#[derive(Clone, Default, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// Violations, by invariant.
    pub violated: BTreeMap<&'static str, u64>,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// Segments finished, in all.
    pub authored: u64,
    /// Faults, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Virtual time, in all, milliseconds.
    pub virtual_ms: u64,
    /// The longest time from the last segment to agreement, milliseconds.
    pub heal_ms_max: u64,
}

/// Violations kept in a summary.
const KEPT: usize = 20;

impl Summary {
    /// Adds what one seed gave.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        report.violations.iter().for_each(|found| *self.violated.entry(found.invariant).or_default() += 1);
        let room = KEPT.saturating_sub(self.violations.len());
        self.violations.extend(report.violations.iter().take(room).cloned());
        self.authored += report.figures.authored;
        report.figures.faults.iter().for_each(|(kind, count)| *self.faults.entry(kind.clone()).or_default() += count);
        self.virtual_ms += report.figures.virtual_ms;
        self.heal_ms_max = self.heal_ms_max.max(report.figures.heal_ms.unwrap_or(0));
    }

    /// How many violations there were.
    pub fn violation_count(&self) -> u64 {
        self.violated.values().sum()
    }
}
