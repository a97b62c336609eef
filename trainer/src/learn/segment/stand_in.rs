//! A learner that learns nothing: pseudo-gradients of the right size from a seed, for measuring everything but the model.
//!
//! Its result is compressed, sealed and committed to exactly as real work is, and is a function of the
//! specification and the carry, so others can audit it. It has no optimizer: the moments of its carry are zero.

use core::ops::Range;

use murmur_kernels::{Carry, blob_root, compress};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::commitment::{Commitment, commit};
use super::error::SegmentError;
use super::spec::{SegmentResult, SegmentSpec};

/// The numeric class: integer noise scaled by one rounded product, the same bits everywhere.
pub const STAND_IN_CLASS: &str = "stand-in/1";

/// The loss it reports, nats per byte: a number, because reports need one.
const LOSS: f32 = 1.0;

/// The largest change of a parameter in one segment: as much as a few small steps of AdamW.
const REACH: f32 = 1e-4;

/// The result of a segment that took `spec.steps` steps from `start`.
///
/// # Shapes
/// `start` and each vector of `carry` are `[params]`.
///
/// # Errors
/// As [`compress`]: starting parameters that are not finite.
pub(super) fn stand_in(spec: &SegmentSpec, start: &[f32], mut carry: Carry) -> Result<SegmentResult, SegmentError> {
    let mut payload = Vec::new();
    let end = wander(spec, start);
    let norm = compress(spec.top_k, spec.feedback_decay, start, &end, &mut carry.residual, &mut payload)?;
    drop(end);
    carry.steps += u64::from(spec.steps);
    let Commitment { mut carry, sealed, root } = commit(carry, spec.commits)?;
    // Fresh zeros take no memory until they are written to; those that unsealing writes do.
    let shape = carry.shape();
    (carry.m, carry.v) = (Vec::new(), Vec::new());
    let Carry { m, v, .. } = Carry::fresh(shape);
    (carry.m, carry.v) = (m, v);
    Ok(SegmentResult {
        top: spec.top_k,
        norm,
        steps: spec.steps,
        tokens: u64::from(spec.steps) * (spec.batch_size * spec.context) as u64,
        loss_mean: LOSS,
        loss_first: LOSS,
        trace_root: blake3::derive_key("murmuration stand-in trace v1", &blob_root(&payload)),
        carry_root: root,
        carry,
        sealed_carry: sealed,
        payload,
    })
}

/// Held-out loss of a model that is not trained; no batches give NaN, as for a real one.
pub(super) fn stand_in_loss(batches: &Range<u32>) -> f64 {
    if batches.is_empty() { f64::NAN } else { f64::from(LOSS) }
}

/// Where a walk of uniform steps leads from `start`. Another author, segment or run walks elsewhere.
fn wander(spec: &SegmentSpec, start: &[f32]) -> Vec<f32> {
    let name = [&spec.run_seed[..], &spec.peer.0, &spec.segment.to_le_bytes(), &spec.steps.to_le_bytes()].concat();
    let mut rng = ChaCha8Rng::from_seed(blake3::derive_key("murmuration stand-in v1", &name));
    let scale = REACH / (1u64 << 31) as f32;
    start.iter().map(|value| value + rng.next_u32().cast_signed() as f32 * scale).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_kernels::CarryShape;

    use super::*;
    use crate::learn::segment::run::tests::spec;

    fn fresh() -> Carry {
        Carry::fresh(CarryShape::adamw(10_000))
    }

    fn work(seq: u32, carry: Carry) -> SegmentResult {
        let start = vec![0.25; 10_000];
        stand_in(&SegmentSpec { segment: seq, ..spec() }, &start, carry).unwrap()
    }

    #[test]
    fn it_can_be_replayed_from_the_sealed_carry() {
        let first = work(0, fresh());
        let second = work(1, first.carry);
        let replayed = work(1, Carry::unseal(fresh().shape(), &first.sealed_carry.unwrap()).unwrap());
        assert_eq!(replayed.confirms(&second.payload, &second.carry_root, &second.trace_root), Ok(()));
        assert_eq!(second.carry, Carry::unseal(fresh().shape(), &second.sealed_carry.unwrap()).unwrap());
    }

    #[test]
    fn segments_differ_and_change_the_model() {
        let (first, second) = (work(0, fresh()), work(1, fresh()));
        assert_ne!(first.payload, second.payload);
        assert_ne!(first.norm.0, 0);
    }
}
