//! The invariants of every simulated run, one in each file.
//!
//! The checker calls each invariant at a fixed interval, on every event of an honest peer, and once when the swarm is
//! at rest.

mod chains;
mod conservation;
mod finishing;
mod frontiers;
mod innocence;
mod liveness;
mod loss;
mod memory;
mod participation;
mod progress;
mod removal;
mod roots;
mod timers;
mod weights;

use std::collections::BTreeMap;

use murmur_collectives::{Fold, Hash, PeerId, VersionVector};
use murmur_coordinatorless::{Delay, Event, Footprint, Node, Time};
pub(crate) use progress::is_settled;

use crate::{queue::MachineIndex, scenario::Checks, swarm::Machine};

/// Findings kept of each invariant. The first ones are closest to the cause.
const FINDINGS_PER_INVARIANT: usize = 3;

/// One honest, live peer at one moment.
#[derive(Debug)]
pub(crate) struct PeerSnapshot {
    pub(crate) at: MachineIndex,
    /// Newest epoch that is final at this peer.
    pub(crate) epoch: u32,
    /// Digest of the set: the newest final frontier, the length and head of every chain, and the forked chains.
    pub(crate) set: Hash,
    pub(crate) root: Hash,
    pub(crate) clock: u64,
    /// The part of `clock` that is final.
    pub(crate) final_clock: u64,
    pub(crate) is_caught_up: bool,
    pub(crate) footprint: Footprint,
}

/// The swarm at one moment.
pub(crate) struct SwarmSnapshot<'a> {
    pub(crate) now: Time,
    pub(crate) machines: &'a [Machine],
    /// One snapshot for each honest peer that is live.
    pub(crate) peers: &'a [PeerSnapshot],
    /// Whether peers still begin segments.
    pub(crate) is_training: bool,
}

impl SwarmSnapshot<'_> {
    /// The folds of all honest peers that are live.
    pub(crate) fn folds(&self) -> impl Iterator<Item = &Fold> {
        let nodes = self.peers.iter().filter_map(|peer| self.machines[peer.at].node.as_ref());
        nodes.map(Node::fold)
    }

    /// The version vector of the peer at `at`; `None` if it is down.
    pub(crate) fn version(&self, at: MachineIndex) -> Option<&VersionVector> {
        self.machines[at].node.as_ref().map(|node| node.fold().log().version())
    }

    /// The newest final epoch known to entry `seq` of `author`, read from the log of the peer at `at`.
    pub(crate) fn epoch_of(&self, at: MachineIndex, author: &PeerId, seq: u32) -> Option<u32> {
        let node = self.machines[at].node.as_ref()?;
        node.fold().log().record(author, seq).map(|record| record.entry.header().epoch)
    }
}

/// An event of an honest peer, with its context.
pub(crate) struct ObservedEvent<'a> {
    pub(crate) now: Time,
    pub(crate) at: MachineIndex,
    pub(crate) event: &'a Event,
    pub(crate) machines: &'a [Machine],
    pub(crate) indices: &'a BTreeMap<PeerId, MachineIndex>,
}

impl ObservedEvent<'_> {
    /// Whether `peer` belongs to the swarm and is honest.
    pub(crate) fn is_honest(&self, peer: &PeerId) -> bool {
        self.indices.get(peer).is_some_and(|index| self.machines[*index].is_honest())
    }
}

/// A property that must hold. Each method returns one sentence for each violation.
pub(crate) trait Invariant {
    /// Name in reports.
    fn name(&self) -> &'static str;

    /// Checks the running swarm.
    fn check(&mut self, _swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Checks an event of an honest peer.
    fn observe(&mut self, _observed: &ObservedEvent<'_>) -> Vec<String> {
        Vec::new()
    }

    /// The peer at `_at` left or may have lost records on its disk. From now on the invariant must not rely on its
    /// holdings.
    fn holdings_lost(&mut self, _at: MachineIndex) {}

    /// Checks the swarm at the end, at rest or after the healing time has run out.
    fn check_at_end(&mut self, _swarm: &SwarmSnapshot<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// A violation before it is attributed to a seed.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) time: Time,
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

/// All invariants and their findings.
pub(crate) struct InvariantChecker {
    invariants: Vec<Box<dyn Invariant>>,
    pub(crate) findings: Vec<Finding>,
    counts: BTreeMap<&'static str, usize>,
}

impl InvariantChecker {
    pub(crate) fn new(checks: &Checks) -> Self {
        let mut invariants: Vec<Box<dyn Invariant>> = vec![
            Box::new(roots::EqualSetEqualRoot),
            Box::new(chains::ChainsNeverFork::default()),
            Box::new(loss::NoUpdateLost::default()),
            Box::new(frontiers::FrontiersNeverConflict::default()),
            Box::new(memory::MemoryBound { overhead_bytes: checks.overhead_bytes, log_bytes: checks.log_bytes }),
            Box::new(liveness::Liveness::new(checks.liveness_ms)),
            Box::new(innocence::Innocence),
            Box::new(conservation::Conservation),
            Box::new(weights::EarnedWeight),
            Box::new(progress::ProgressAfterHeal),
        ];
        if checks.refold {
            invariants.push(Box::new(removal::ExactRemoval));
        }
        if checks.contributing_percent > 0 {
            invariants.push(Box::new(participation::Participation::new(checks)));
        }
        Self { invariants, findings: Vec::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn check(&mut self, swarm: &SwarmSnapshot<'_>) {
        self.run_each(swarm.now, |invariant| invariant.check(swarm));
    }

    pub(crate) fn check_at_end(&mut self, swarm: &SwarmSnapshot<'_>) {
        self.run_each(swarm.now, |invariant| invariant.check_at_end(swarm));
    }

    pub(crate) fn observe(&mut self, observed: &ObservedEvent<'_>) {
        if observed.machines[observed.at].is_honest() {
            self.run_each(observed.now, |invariant| invariant.observe(observed));
        }
    }

    pub(crate) fn holdings_lost(&mut self, at: MachineIndex) {
        self.invariants.iter_mut().for_each(|invariant| invariant.holdings_lost(at));
    }

    /// Records that a timer is still due after its timeout was handled.
    pub(crate) fn timer_still_due(&mut self, now: Time, at: MachineIndex) {
        self.record(now, timers::NAME, timers::sentence(at));
    }

    /// Records that the peer at `at` did not finish within the healing time.
    pub(crate) fn never_finishes(&mut self, now: Time, at: MachineIndex, delays: &[Delay]) {
        self.record(now, finishing::NAME, finishing::sentence(at, delays));
    }

    /// Records a ban if both peers are honest.
    pub(crate) fn banned(&mut self, now: Time, at: MachineIndex, other: MachineIndex, machines: &[Machine]) {
        if machines[at].is_honest() && machines[other].is_honest() {
            self.record(now, innocence::NAME, format!("peer {at} banned peer {other}, which means well"));
        }
    }

    /// Records a violation, up to [`FINDINGS_PER_INVARIANT`].
    pub(crate) fn record(&mut self, time: Time, invariant: &'static str, detail: String) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= FINDINGS_PER_INVARIANT {
            self.findings.push(Finding { time, invariant, detail });
        }
    }

    fn run_each(&mut self, now: Time, mut check: impl FnMut(&mut dyn Invariant) -> Vec<String>) {
        let mut findings = Vec::new();
        for invariant in &mut self.invariants {
            let name = invariant.name();
            findings.extend(check(invariant.as_mut()).into_iter().map(|detail| (name, detail)));
        }
        findings.into_iter().for_each(|(name, detail)| self.record(now, name, detail));
    }
}
