//! What a seed, or many of them, gave.

use std::collections::BTreeMap;

use murmur_coordinatorless::{DownReason, Event, Footprint, Time};
use serde::Serialize;

use crate::{
    invariants::{Found, Glance},
    scenario::Scenario,
};

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
    /// The newest final frontier at the end.
    pub epochs: u32,
    /// The longest that none became final, virtual milliseconds.
    pub undecided_ms: u64,
    /// The most tokens that any peer held and that were not final.
    pub open_tokens_max: u64,
    /// When the newest frontier was first seen to be final.
    #[serde(skip)]
    decided_at: Time,
    /// How long after the last segment all honest peers held the same, milliseconds; `None` if they never did.
    pub heal_ms: Option<u64>,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u64>,
    /// What peers told, by kind.
    pub events: BTreeMap<&'static str, u64>,
    /// Messages sent, by kind: membership travels as datagrams.
    pub messages: BTreeMap<&'static str, u64>,
    /// Bytes sent, by kind.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Swarm rounds: of the author with the fewest, how many segments everyone has folded at the end.
    pub rounds: u64,
    /// What a peer sent in a round, on average over peers and rounds, starts and joins included.
    pub per_peer_round: BTreeMap<&'static str, Traffic>,
    /// What a peer sent in a second after the faults had ended and while training went on, on average.
    pub per_peer_calm_second: BTreeMap<&'static str, Traffic>,
    /// What a peer keeps in memory at the end, bytes, on average.
    pub held_bytes_mean: u64,
    /// Of it what it knows of the members of the swarm, on average and at most.
    pub membership_bytes_mean: u64,
    /// The most that any peer keeps of it.
    pub membership_bytes_max: u64,
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
    /// The most that a peer kept beside model, set and the state that somebody fetched, bytes.
    pub overhead_bytes_max: u64,
    /// Tokens in percent of the same seed without faults, where the scenario compares.
    pub tokens_percent: Option<u64>,
}

/// How many messages and bytes were sent, by kind.
type Sent = (BTreeMap<&'static str, u64>, BTreeMap<&'static str, u64>);

/// What one peer sent of one kind.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Thousandths of a message.
    pub messages_milli: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Traffic {
    fn shared(messages: u64, bytes: u64, among: u64) -> Self {
        let share = |all: u64| all.checked_div(among).unwrap_or(0);
        Self { messages_milli: share(messages * 1000), bytes: share(bytes) }
    }
}

impl Figures {
    pub(crate) fn count(&mut self, kind: &'static str, bytes: usize) {
        *self.messages.entry(kind).or_default() += 1;
        *self.bytes.entry(kind).or_default() += bytes as u64;
    }

    /// What has been sent so far.
    pub(crate) fn sent(&self) -> Sent {
        (self.messages.clone(), self.bytes.clone())
    }

    /// It was calm for `seconds` among so many `peers` since `before` was sent.
    pub(crate) fn weigh_calm(&mut self, (messages, bytes): &Sent, seconds: u64, peers: usize) {
        let since = |now: u64, before: &BTreeMap<&str, u64>, kind| now - before.get(kind).copied().unwrap_or(0);
        for (kind, sent) in &self.messages {
            let volume = self.bytes.get(kind).copied().unwrap_or(0);
            let (sent, volume) = (since(*sent, messages, kind), since(volume, bytes, kind));
            self.per_peer_calm_second.insert(kind, Traffic::shared(sent, volume, seconds * peers as u64));
        }
    }

    /// What peers hold, and what of it is final, at some moment.
    pub(crate) fn note(&mut self, now: Time, glances: &[Glance]) {
        for glance in glances {
            self.note_held(&glance.footprint);
            self.open_tokens_max = self.open_tokens_max.max(glance.clock.saturating_sub(glance.final_clock));
            if glance.epoch > self.epochs {
                (self.epochs, self.decided_at) = (glance.epoch, now);
            }
        }
        let undecided = now.since(self.decided_at).as_millis();
        self.undecided_ms = self.undecided_ms.max(u64::try_from(undecided).unwrap_or(u64::MAX));
    }

    /// What a peer holds at some moment.
    pub(crate) fn note_held(&mut self, footprint: &Footprint) {
        self.held_bytes_max = self.held_bytes_max.max(footprint.total() as u64);
        self.overhead_bytes_max = self.overhead_bytes_max.max(footprint.overhead() as u64);
    }

    /// What peers hold at the end, and what each round cost them.
    pub(crate) fn weigh(&mut self, footprints: &[Footprint]) {
        footprints.iter().for_each(|footprint| self.note_held(footprint));
        let peers = footprints.len() as u64;
        let mean = |of: fn(&Footprint) -> usize| {
            let all: u64 = footprints.iter().map(|footprint| of(footprint) as u64).sum();
            all.checked_div(peers).unwrap_or(0)
        };
        (self.held_bytes_mean, self.membership_bytes_mean) = (mean(Footprint::total), mean(|held| held.membership));
        self.membership_bytes_max = footprints.iter().map(|held| held.membership as u64).max().unwrap_or(0);
        for (kind, sent) in &self.messages {
            let volume = self.bytes.get(kind).copied().unwrap_or(0);
            self.per_peer_round.insert(kind, Traffic::shared(*sent, volume, self.rounds * peers));
        }
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
            ("member_silent", matches!(event, Event::MemberDown { reason: DownReason::Silent, .. })),
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
