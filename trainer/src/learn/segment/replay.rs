//! An audit's comparison: whether a replay gave the bits that the author committed to.

use thiserror::Error;

use super::spec::SegmentResult;

/// How a replay differs from what the author published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// The update is not what the work gives.
    #[error("the payload is not what the work gives")]
    Payload,
    /// The committed optimizer state is not what the work leaves.
    #[error("the carry is not what the work leaves")]
    Carry,
    /// The committed trace is not the work's.
    #[error("the trace is not the work's")]
    Trace,
}

impl SegmentResult {
    /// Compares this replay with what an author published.
    ///
    /// # Errors
    /// The first difference, in the order payload, carry, trace.
    pub fn confirms(&self, payload: &[u8], carry_root: &[u8; 32], trace_root: &[u8; 32]) -> Result<(), Mismatch> {
        if self.payload != payload {
            Err(Mismatch::Payload)
        } else if self.carry_root != *carry_root {
            Err(Mismatch::Carry)
        } else if self.trace_root != *trace_root {
            Err(Mismatch::Trace)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_kernels::exact::{Level, Pool};
    use murmur_kernels::{Carry, Optimizer, simd};
    use murmur_verification::Attack;

    use super::*;
    use crate::learn::data::corpus::tests::words;
    use crate::learn::model::Architecture;
    use crate::learn::model::gpt::{ExactReplica, Gpt};
    use crate::learn::segment::run::tests::{fixture, spec};
    use crate::learn::segment::{SegmentSpec, Trainer, attack_segment, run_segment};

    /// Two segments by the author; the audit of the second starts from the first's sealed carry.
    fn second_segment(cheat: Option<Attack>) -> Result<(), Mismatch> {
        let (mut author, start) = fixture();
        let fresh = Carry::fresh(author.carry_shape());
        let first = run_segment(&mut author, &spec(), &start, fresh, &|_| false, &mut |_| None).unwrap();
        let spec = SegmentSpec { segment: 4, ..spec() };
        let published = match cheat {
            None => run_segment(&mut author, &spec, &start, first.carry, &|_| false, &mut |_| None),
            Some(cheat) => {
                attack_segment(cheat, &mut author, &spec, &start, first.carry, Some((first.top, &first.payload)))
            }
        };
        let published = published.unwrap();
        assert_eq!(published.steps, spec.steps, "a cheat claims the full segment");
        let (mut auditor, ..) = fixture();
        let carry = Carry::unseal(auditor.carry_shape(), &first.sealed_carry.unwrap()).unwrap();
        let replayed = run_segment(&mut auditor, &spec, &start, carry, &|_| false, &mut |_| None).unwrap();
        replayed.confirms(&published.payload, &published.carry_root, &published.trace_root)
    }

    #[test]
    fn honest_work_replays_bit_for_bit() {
        assert_eq!(second_segment(None), Ok(()));
    }

    #[test]
    fn every_cheat_is_caught() {
        for cheat in Attack::ALL.into_iter().filter(|attack| attack.process_word().is_some()) {
            assert_eq!(second_segment(Some(cheat)), Err(Mismatch::Payload), "{cheat:?}");
        }
    }

    /// A segment of a model large enough that its products are shared between threads.
    fn worked(level: simd::Level, threads: usize) -> SegmentResult {
        // Also for the optimizer and the compression. Tests beside this one may change it: it shows in no bit.
        level.activate();
        let config = Gpt { layers: 2, heads: 2, d_model: 64, context: 16 };
        let start = config.initial_params(&[0; 32]);
        let pool = || Pool::new(Level::at_most(level), threads).unwrap();
        let replica = Box::new(ExactReplica::new(config, pool()).unwrap());
        let mut trainer = Trainer::new(replica, Optimizer::Muon, pool(), words());
        let carry = Carry::fresh(trainer.carry_shape());
        let spec = SegmentSpec { batch_size: 9, ..spec() };
        run_segment(&mut trainer, &spec, &start, carry, &|_| false, &mut |_| None).unwrap()
    }

    #[test]
    fn exact_work_is_confirmed_by_every_instruction_set_and_number_of_threads() {
        let SegmentResult { payload, carry_root, trace_root, .. } = worked(simd::Level::best(), 1);
        for level in simd::Level::available() {
            for threads in [1, 2, 3] {
                let replayed = worked(level, threads);
                assert_eq!(replayed.confirms(&payload, &carry_root, &trace_root), Ok(()), "{level}, {threads} threads");
            }
        }
        simd::Level::best().activate();
    }

    #[test]
    fn each_commitment_is_compared() {
        let (mut author, start) = fixture();
        let fresh = Carry::fresh(author.carry_shape());
        let result = run_segment(&mut author, &spec(), &start, fresh, &|_| false, &mut |_| None).unwrap();
        let SegmentResult { payload, carry_root, trace_root, .. } = &result;
        assert_eq!(result.confirms(payload, carry_root, trace_root), Ok(()));
        assert_eq!(result.confirms(&payload[1..], carry_root, trace_root), Err(Mismatch::Payload));
        assert_eq!(result.confirms(payload, &[0; 32], trace_root), Err(Mismatch::Carry));
        assert_eq!(result.confirms(payload, carry_root, &[0; 32]), Err(Mismatch::Trace));
    }
}
