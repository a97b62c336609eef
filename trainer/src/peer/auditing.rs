//! Audits: the peer replays an update as its author should have computed it, and publishes the verdict.

use std::{cell::Cell, sync::atomic::Ordering::Relaxed, time::Instant};

use murmur_collectives::Hash;
use murmur_coordinatorless::EntryName;
use murmur_kernels::Carry;

use super::exchange::{CollectiveInput, Exchange, Replay};
use super::learner::{Learner, failed};
use crate::error::Failure;
use crate::learn::segment::{SegmentError, SegmentResult};

impl<C: Exchange> Learner<C> {
    /// Replays an update and publishes the verdict.
    pub(super) fn audit(&mut self, replay: Replay) -> Result<(), Failure> {
        let Replay { update, job, payload } = replay;
        let shape = self.worker.carry_shape();
        let carry = job.carry.as_deref().map_or(Ok(Carry::fresh(shape)), |sealed| Carry::unseal(shape, sealed));
        let (Some(claim), Ok(carry)) = (job.entry.update(), carry) else {
            // The author committed to a carry that is none.
            self.judge(update, false, Hash::NONE);
            return Ok(());
        };
        let spec = self.manifest.segment_spec(update.author, claim.segment, job.clock, claim.steps);
        let shared = self.shared.clone();
        let (begun, patience, cut) = (Instant::now(), self.patience, Cell::new(false));
        let stop = |_: u32| {
            shared.worked();
            // A peer that was asked to stop gives up a long audit: other auditors are drawn for it, too.
            let leaves = shared.drain.load(Relaxed) && begun.elapsed() >= patience;
            cut.set(leaves || shared.halt.load(Relaxed));
            cut.get()
        };
        match self.worker.segment(&spec, &job.parameters, carry, &stop) {
            Ok(_) if cut.get() => self.collective.handle(CollectiveInput::Unjudged { update }),
            Ok(replayed) => {
                let confirmed = replayed.confirms(&payload, &claim.carry_after.0, &claim.trace.0);
                self.judge(update, confirmed.is_ok(), digest(&replayed));
            }
            Err(SegmentError::Diverged { .. }) => self.judge(update, false, Hash::NONE),
            Err(error) => return Err(failed(&error)),
        }
        Ok(())
    }

    fn judge(&mut self, update: EntryName, passed: bool, replay: Hash) {
        self.metrics.add_audit(passed);
        self.collective.handle(CollectiveInput::Judged { update, passed, replay });
    }
}

/// Names what a replay gave, in the verdict.
fn digest(result: &SegmentResult) -> Hash {
    let payload = murmur_kernels::blob_root(&result.payload);
    Hash::of("murmuration replay v1", &[payload, result.carry_root, result.trace_root].concat())
}
