//! Runs one segment for the learner: with its worker, by the run's rules, until the budget is spent or a stop is requested.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use murmur_collectives::{PeerId, Rules, Snapshot};
use murmur_kernels::Carry;
use murmur_verification::Attack;

use super::{Shared, budget::Budget, contribution::Work, exchange::Exchange, steps::EPOCH_SHARE};
use crate::learn::segment::{SegmentError, SegmentSpec, Worker};
use crate::run::manifest::{Length, Manifest};

/// A segment of an author on probation is this many times shorter, so that its first audits are quick.
const PROBATION_FRACTION: u32 = 3;

/// Merges of a segment: each is named in the update's header, whose length is bounded.
const MERGES_MAX: u32 = 16;

/// Runs segments.
pub(super) struct SegmentRunner<'a> {
    pub(super) worker: &'a mut Worker,
    pub(super) manifest: &'a Manifest,
    pub(super) shared: &'a Arc<Shared>,
    /// The attack it plays, for demonstrations and tests.
    pub(super) attack: Option<Attack>,
    /// How long a whole segment is now.
    pub(super) length: Length,
}

impl SegmentRunner<'_> {
    /// The segment that starts from `snapshot`, whose parameters it takes, and `carry`, and ends with a commitment to the carry
    /// after it if `commits`. What joins meanwhile is merged between its steps. It ends early when the budget is spent, the peer
    /// is asked to stop, or the swarm has passed half a final epoch: a peer that is so much slower would not be heard any more,
    /// and could not be audited.
    ///
    /// # Errors
    /// As [`Worker::segment`].
    pub(super) fn segment<C: Exchange>(
        &mut self,
        collective: &mut C,
        snapshot: &mut Snapshot<C::Base>,
        carry: Carry,
        commits: bool,
    ) -> Result<Work<C::Base>, SegmentError> {
        let mut bases = vec![(0, snapshot.base.clone())];
        let spec = SegmentSpec { commits, ..self.spec(collective.me(), snapshot) };
        let start = core::mem::take(&mut snapshot.parameters);
        if let Some(attack) = self.attack {
            let stolen = collective.another_payload();
            let stolen = stolen.as_ref().map(|(top, payload)| (*top, &payload[..]));
            let result = self.worker.attack(attack, &spec, &start, carry, stolen)?;
            return Ok(Work { result, bases });
        }
        let (shared, manifest) = (self.shared, self.manifest);
        let step_tokens = u64::from(manifest.rules.tokens_per_step);
        let budget = Budget {
            tokens: manifest.rules.token_budget,
            founders: manifest.founder_count() as u64,
            segment: manifest.segment_tokens(),
        };
        let stop = |done: u32| {
            shared.worked();
            let own = u64::from(done) * step_tokens;
            let clock = shared.clock.load(Relaxed);
            let is_spent = budget.is_spent(clock, own, shared.swarm.load(Relaxed));
            is_spent || is_far_behind(&manifest.rules, snapshot.clock, clock) || shared.is_stopped()
        };
        let merge_every = spec.steps.div_ceil(MERGES_MAX);
        let mut merge = |done: u32| {
            if !done.is_multiple_of(merge_every) {
                return None;
            }
            let (_, last) = bases.last()?;
            let (base, parameters) = collective.joined_since(last)?;
            bases.push((done, base));
            Some(parameters)
        };
        let result = self.worker.segment(&spec, Cow::Owned(start), carry, &stop, &mut merge)?;
        Ok(Work { result, bases })
    }

    fn spec<Base>(&self, me: PeerId, snapshot: &Snapshot<Base>) -> SegmentSpec {
        let Length { steps, top } = self.length;
        let steps = if snapshot.trusted { steps } else { steps.div_ceil(PROBATION_FRACTION) };
        self.manifest.segment_spec(me, snapshot.segment, snapshot.clock, Length { steps, top })
    }
}

/// Whether a segment that began at token clock `begun` must end now, at `clock`.
fn is_far_behind(rules: &Rules, begun: u64, clock: u64) -> bool {
    let every = rules.frontier_every_tokens;
    every > 0 && clock.saturating_sub(begun) >= every / EPOCH_SHARE
}

#[cfg(test)]
mod tests;
