//! Audits: the peer replays the updates of a span as their author should have computed them, and publishes the verdict.

use std::{borrow::Cow, cell::Cell, sync::atomic::Ordering::Relaxed, time::Instant};

use murmur_collectives::Hash;
use murmur_kernels::Carry;

use super::exchange::{CollectiveInput, Exchange, Replay};
use super::learner::{Learner, failed};
use crate::error::Failure;
use crate::learn::segment::{SegmentResult, SegmentSpec};
use crate::run::manifest::Length;

impl<C: Exchange> Learner<C> {
    /// Replays the span that begins with an update, and publishes the verdict.
    pub(super) fn audit(&mut self, replay: Replay) -> Result<(), Failure> {
        let update = replay.update;
        match self.replay(replay)? {
            Outcome::Judged { passed, replay } => {
                self.metrics.add_audit(passed);
                self.collective.handle(CollectiveInput::Judged { update, passed, replay });
            }
            Outcome::Unjudged => self.collective.handle(CollectiveInput::Unjudged { update }),
        }
        Ok(())
    }

    /// Each segment continues the private state that the replay of the one before it left.
    fn replay(&mut self, replay: Replay) -> Result<Outcome, Failure> {
        let Replay { job, payloads, .. } = replay;
        let shape = self.worker.carry_shape();
        let carry = job.carry.as_deref().map_or(Ok(Carry::fresh(shape)), |sealed| Carry::unseal(shape, sealed));
        let Ok(mut carry) = carry else { return Ok(Outcome::FAILED) }; // the author committed to a carry that is none
        let (mut rebuilt, mut digests) = (Some(job.start), Vec::new());
        let shared = self.shared.clone();
        let (begun, patience, cut) = (Instant::now(), self.patience, Cell::new(false));
        let stop = |_: u32| {
            shared.worked();
            // A peer that was asked to stop gives up a long audit: other auditors are drawn for it, too.
            let leaves = shared.drain.load(Relaxed) && begun.elapsed() >= patience;
            cut.set(leaves || shared.halt.load(Relaxed));
            cut.get()
        };
        for (entry, payload) in job.span.iter().zip(&payloads) {
            let Some(claim) = entry.update() else { return Ok(Outcome::FAILED) };
            let (Ok(views), Some(top)) = (claim.views(entry.base()), claim.top_k()) else {
                return Ok(Outcome::FAILED);
            };
            let mut views = views.into_iter().peekable();
            let collective = &self.collective;
            let mut advance = |view| {
                let (moved, clock) = collective.advance(rebuilt.take()?, view)?;
                let parameters = moved.parameters();
                rebuilt = Some(moved);
                Some((parameters, clock))
            };
            let Some((parameters, clock)) = views.next().and_then(|(_, view)| advance(view)) else {
                return Ok(Outcome::Unjudged);
            };
            let spec =
                self.manifest.segment_spec(entry.author(), claim.segment, clock, Length { steps: claim.steps, top });
            let spec = SegmentSpec { commits: claim.ends_span(), ..spec };
            let mut merge = |done| {
                let (_, view) = views.next_if(|(steps, _)| *steps == done)?;
                advance(view).map(|(parameters, _)| parameters)
            };
            let replayed = match self.worker.segment(&spec, Cow::Owned(parameters), carry, &stop, &mut merge) {
                Ok(_) if cut.get() => return Ok(Outcome::Unjudged),
                Ok(replayed) => replayed,
                Err(error) if error.is_of_its_input() => return Ok(Outcome::FAILED),
                Err(error) => return Err(failed(&error)),
            };
            if rebuilt.is_none() {
                return Ok(Outcome::Unjudged); // what was merged cannot be rebuilt any more
            }
            digests.extend(digest(&replayed).0);
            if replayed.confirms(payload, &claim.carry_after.0, &claim.trace.0).is_err() {
                return Ok(Outcome::Judged { passed: false, replay: Hash::of(CONTEXT, &digests) });
            }
            carry = replayed.carry;
        }
        Ok(Outcome::Judged { passed: true, replay: Hash::of(CONTEXT, &digests) })
    }
}

/// What a replay came to.
enum Outcome {
    Judged { passed: bool, replay: Hash },
    Unjudged,
}

impl Outcome {
    /// What the author published cannot be replayed, and that is its fault.
    const FAILED: Self = Self::Judged { passed: false, replay: Hash::NONE };
}

const CONTEXT: &str = "murmuration replay v2";

/// Names what the replay of one segment gave.
fn digest(result: &SegmentResult) -> Hash {
    let payload = murmur_kernels::blob_root(&result.payload);
    Hash::of("murmuration replay v1", &[payload, result.carry_root, result.trace_root].concat())
}
