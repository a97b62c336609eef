//! One segment for a collective, whichever it is: snapshot, work, draft.

use murmur_collectives::{Collective, Draft, Hash, Snapshot, Update};
use murmur_kernels::{Carry, CarryShape};

use crate::learn::segment::SegmentResult;

/// When this peer commits to its private state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spans {
    /// Shape of the carries.
    pub(super) shape: CarryShape,
    /// The most updates of a span.
    pub(super) updates: u32,
    /// A span that has lasted for so many tokens of the clock ends: its beginning must not be final before its end. Thus a
    /// peer that is much slower than the swarm has short spans.
    pub(super) tokens: u64,
}

/// The private state after this peer's newest segment.
#[derive(Debug)]
pub(super) struct KeptCarry {
    segment: u32,
    /// The root that was committed to; [`Hash::NONE`] if the span goes on.
    root: Hash,
    span: Span,
    carry: Carry,
}

impl KeptCarry {
    /// Whether its span goes on: then nothing else holds this state.
    pub(super) fn is_open(&self) -> bool {
        self.root == Hash::NONE
    }
}

/// How far a span has come.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    updates: u32,
    begun_at: u64,
}

/// What a segment gave.
pub(super) struct Work<Base> {
    pub(super) result: SegmentResult,
    /// What it started from; then what it merged, with the inner steps done by then.
    pub(super) bases: Vec<(u32, Base)>,
}

/// A segment that was submitted.
pub(super) struct Contribution<Base> {
    /// The snapshot it started from.
    pub(super) snapshot: Snapshot<Base>,
    /// Its result, without the sealed carry, which is large and went with the draft.
    pub(super) result: SegmentResult,
    span: Span,
}

impl<Base> Contribution<Base> {
    /// What the next segment continues.
    pub(super) fn into_kept(self) -> KeptCarry {
        let Self { snapshot, result, span } = self;
        KeptCarry { segment: snapshot.segment, root: Hash(result.carry_root), span, carry: result.carry }
    }
}

/// Takes a snapshot of `collective`, gives it to `work` with the carry to continue and whether to commit to the one after it, and
/// submits the result. `work` may take the snapshot's parameters. Nothing, once the collective has ended.
///
/// # Errors
/// Those of `work`; then nothing is submitted.
pub(super) fn contribute<C, E>(
    collective: &mut C,
    spans: &Spans,
    kept: Option<KeptCarry>,
    work: impl FnOnce(&mut C, &mut Snapshot<C::Base>, Carry, bool) -> Result<Work<C::Base>, E>,
) -> Result<Option<Contribution<C::Base>>, E>
where
    C: Collective<Draft = Draft<<C as Collective>::Base>>,
{
    let Some(mut snapshot) = collective.snapshot() else { return Ok(None) };
    let (carry_before, carry, mut span) = continue_carry(spans, kept, &snapshot);
    span.updates += 1;
    let lasts_long = snapshot.clock.saturating_sub(span.begun_at) >= spans.tokens;
    // An author on probation wants each of its updates audited as soon as may be.
    let commits = !snapshot.trusted || span.updates >= spans.updates || lasts_long;
    let Work { mut result, bases } = work(collective, &mut snapshot, carry, commits)?;
    collective.submit(draft(&snapshot, bases, carry_before, &mut result));
    Ok(Some(Contribution { snapshot, result, span }))
}

/// The carry after this peer's newest segment in the collective, or a fresh one; and the span that it is in.
fn continue_carry<Base>(spans: &Spans, kept: Option<KeptCarry>, snapshot: &Snapshot<Base>) -> (Hash, Carry, Span) {
    let begun = Span { updates: 0, begun_at: snapshot.clock };
    let kept = kept.filter(|kept| kept.segment + 1 == snapshot.segment);
    match (kept, &snapshot.carry) {
        (Some(kept), None) if kept.root == Hash::NONE && kept.span.updates == snapshot.open_updates => {
            (Update::CONTINUES, kept.carry, kept.span)
        }
        (Some(kept), Some((root, _))) if kept.root == *root => (*root, kept.carry, begun),
        (_, Some((root, sealed))) => match Carry::unseal(spans.shape, sealed) {
            Ok(carry) => (*root, carry, begun),
            Err(_) => (Hash::NONE, Carry::fresh(spans.shape), begun),
        },
        (_, None) => (Hash::NONE, Carry::fresh(spans.shape), begun),
    }
}

fn draft<Base>(
    snapshot: &Snapshot<Base>,
    bases: Vec<(u32, Base)>,
    carry_before: Hash,
    result: &mut SegmentResult,
) -> Draft<Base> {
    Draft {
        bases,
        segment: snapshot.segment,
        steps: result.steps,
        payload: result.payload.clone().into(),
        top: result.top,
        loss_micronats: (f64::from(result.loss_mean) * 1e6) as u32,
        trace: Hash(result.trace_root),
        carry_before,
        carry: result.sealed_carry.take().map(Into::into),
    }
}

#[cfg(test)]
mod tests;
