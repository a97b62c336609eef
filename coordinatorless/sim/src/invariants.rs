//! What must hold in every simulated run: one invariant, one file.
//!
//! Each is looked at again and again while the run goes on, hears what peers tell, and concludes when the swarm has
//! come to rest.

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

use std::collections::BTreeMap;

use murmur_collectives::{Hash, PeerId, VersionVector};
use murmur_coordinatorless::{Delay, Event, Footprint, Time};
pub(crate) use progress::is_settled;

use crate::{queue::Place, scenario::Checks, swarm::Machine};

/// Violations of one invariant that are kept; the first ones say most.
const KEPT_EACH: usize = 3;

/// What is seen of one honest, live peer at one moment.
#[derive(Debug)]
pub(crate) struct Glance {
    pub(crate) at: Place,
    /// The newest epoch that is final there.
    pub(crate) epoch: u32,
    /// Names the set: the newest final frontier, every chain's length and newest entry, and the chains that are closed.
    pub(crate) set: Hash,
    pub(crate) root: Hash,
    pub(crate) clock: u64,
    /// How much of it is final.
    pub(crate) final_clock: u64,
    pub(crate) is_caught_up: bool,
    pub(crate) footprint: Footprint,
}

/// What is seen of the swarm at one moment.
pub(crate) struct Sight<'a> {
    pub(crate) now: Time,
    pub(crate) machines: &'a [Machine],
    /// One for each honest peer that runs and is not stopped.
    pub(crate) glances: &'a [Glance],
    /// Whether segments are still begun.
    pub(crate) is_training: bool,
}

impl Sight<'_> {
    /// The set of the peer at `at`, which must run.
    pub(crate) fn version(&self, at: Place) -> Option<&VersionVector> {
        self.machines[at].node.as_ref().map(|node| node.fold().log().version())
    }

    /// The newest final epoch that an entry knows, as held by the peer at `at`.
    pub(crate) fn epoch_of(&self, at: Place, author: &PeerId, seq: u32) -> Option<u32> {
        let node = self.machines[at].node.as_ref()?;
        node.fold().log().record(author, seq).map(|record| record.entry.header().epoch)
    }
}

/// Something a peer told.
pub(crate) struct Told<'a> {
    pub(crate) now: Time,
    pub(crate) at: Place,
    pub(crate) event: &'a Event,
    pub(crate) machines: &'a [Machine],
    pub(crate) places: &'a BTreeMap<PeerId, Place>,
}

impl Told<'_> {
    /// Whether `peer` is one of the swarm's and means well.
    pub(crate) fn is_honest(&self, peer: &PeerId) -> bool {
        self.places.get(peer).is_some_and(|place| self.machines[*place].is_honest())
    }
}

/// Something that must hold. Every method gives sentences about how it does not.
pub(crate) trait Invariant {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Looks at the swarm while it runs.
    fn look(&mut self, _sight: &Sight<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Hears what an honest peer told.
    fn heed(&mut self, _told: &Told<'_>) -> Vec<String> {
        Vec::new()
    }

    /// The peer at `_at` may have lost what its disk held, or has left.
    fn forgot(&mut self, _at: Place) {}

    /// Looks at the swarm when it is at rest, or should be.
    fn conclude(&mut self, _sight: &Sight<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// A violation, before it is known which seed it belongs to.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) at: Time,
    pub(crate) invariant: &'static str,
    pub(crate) detail: String,
}

/// All invariants, and what was found.
pub(crate) struct Watch {
    invariants: Vec<Box<dyn Invariant>>,
    pub(crate) found: Vec<Found>,
    counts: BTreeMap<&'static str, usize>,
}

impl Watch {
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
            Box::new(progress::ProgressAfterHeal),
        ];
        if checks.refold {
            invariants.push(Box::new(removal::ExactRemoval));
        }
        if checks.contributing_percent > 0 {
            invariants.push(Box::new(participation::Participation::new(checks)));
        }
        Self { invariants, found: Vec::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn look(&mut self, sight: &Sight<'_>) {
        self.each(sight.now, |invariant| invariant.look(sight));
    }

    pub(crate) fn conclude(&mut self, sight: &Sight<'_>) {
        self.each(sight.now, |invariant| invariant.conclude(sight));
    }

    pub(crate) fn heed(&mut self, told: &Told<'_>) {
        if told.machines[told.at].is_honest() {
            self.each(told.now, |invariant| invariant.heed(told));
        }
    }

    pub(crate) fn forgot(&mut self, at: Place) {
        self.invariants.iter_mut().for_each(|invariant| invariant.forgot(at));
    }

    /// A peer's timer is due although it was just looked at.
    pub(crate) fn spins(&mut self, now: Time, at: Place) {
        self.note(now, timers::NAME, timers::sentence(at));
    }

    /// The peer at `at` was to finish, and long after all had come to rest it could not leave.
    pub(crate) fn never_finishes(&mut self, now: Time, at: Place, delays: &[Delay]) {
        self.note(now, finishing::NAME, finishing::sentence(at, delays));
    }

    /// The peer at `at` sent the one at `other` away for breaking the protocol.
    pub(crate) fn banned(&mut self, now: Time, at: Place, other: Place, machines: &[Machine]) {
        if machines[at].is_honest() && machines[other].is_honest() {
            self.note(now, innocence::NAME, format!("peer {at} banned peer {other}, which means well"));
        }
    }

    /// Notes a violation found elsewhere.
    pub(crate) fn note(&mut self, at: Time, invariant: &'static str, detail: String) {
        let count = self.counts.entry(invariant).or_default();
        *count += 1;
        if *count <= KEPT_EACH {
            self.found.push(Found { at, invariant, detail });
        }
    }

    fn each(&mut self, now: Time, mut ask: impl FnMut(&mut dyn Invariant) -> Vec<String>) {
        let mut all = Vec::new();
        for invariant in &mut self.invariants {
            let name = invariant.name();
            all.extend(ask(invariant.as_mut()).into_iter().map(|detail| (name, detail)));
        }
        all.into_iter().for_each(|(name, detail)| self.note(now, name, detail));
    }
}
