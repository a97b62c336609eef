//! One segment for a collective, whichever it is: snapshot, work, draft.

use murmur_collectives::{Collective, Draft, Hash, Snapshot};
use murmur_kernels::{Carry, CarryShape};

use crate::learn::segment::SegmentResult;

/// The carry after this peer's newest segment, unsealed, and its root.
pub(super) type KeptCarry = Option<(Hash, Carry)>;

/// A segment that was submitted.
pub(super) struct Contribution<Base> {
    /// The snapshot it started from.
    pub(super) snapshot: Snapshot<Base>,
    /// Its result, without the sealed carry, which is large and went with the draft.
    pub(super) result: SegmentResult,
}

/// Takes a snapshot of `collective`, gives it to `work` with the carry of this shape to continue, and submits the result. Nothing, once the
/// collective has ended.
///
/// # Errors
/// Those of `work`; then nothing is submitted.
pub(super) fn contribute<C: Collective, E>(
    collective: &mut C,
    shape: CarryShape,
    kept: KeptCarry,
    work: impl FnOnce(&mut C, &Snapshot<C::Base>, Carry) -> Result<SegmentResult, E>,
) -> Result<Option<Contribution<C::Base>>, E> {
    let Some(snapshot) = collective.snapshot() else { return Ok(None) };
    let (carry_before, carry) = continue_carry(shape, kept, &snapshot);
    let mut result = work(collective, &snapshot, carry)?;
    collective.submit(draft(&snapshot, carry_before, &mut result));
    Ok(Some(Contribution { snapshot, result }))
}

/// The carry after this peer's newest segment in the collective, or a fresh one.
fn continue_carry<Base>(shape: CarryShape, kept: KeptCarry, snapshot: &Snapshot<Base>) -> (Hash, Carry) {
    let Some((root, sealed)) = &snapshot.carry else { return (Hash::NONE, Carry::fresh(shape)) };
    match kept {
        Some((kept, carry)) if kept == *root => (kept, carry),
        Some(_) | None => match Carry::unseal(shape, sealed) {
            Ok(carry) => (*root, carry),
            Err(_) => (Hash::NONE, Carry::fresh(shape)),
        },
    }
}

fn draft<Base: Clone>(snapshot: &Snapshot<Base>, carry_before: Hash, result: &mut SegmentResult) -> Draft<Base> {
    Draft {
        base: snapshot.base.clone(),
        segment: snapshot.segment,
        steps: result.steps,
        payload: result.payload.clone().into(),
        loss_micronats: (f64::from(result.loss_mean) * 1e6) as u32,
        trace: Hash(result.trace_root),
        carry_before,
        carry: core::mem::take(&mut result.sealed_carry).into(),
    }
}

#[cfg(test)]
mod tests;
