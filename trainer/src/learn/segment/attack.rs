//! Updates of a peer that plays an attack: for demonstrations and tests of the audits, never reached by an honest peer.

use murmur_kernels::{Carry, TopK, compress, validate};
use murmur_verification::Attack;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::commitment::{Commitment, commit};
use super::error::SegmentError;
use super::run::run_segment;
use super::spec::{SegmentResult, SegmentSpec};
use super::trainer::Trainer;

/// The result of a segment whose author plays `attack`. One on work claims all of `spec.steps`; one on the exchange, which
/// changes only what the peer says, works honestly. `stolen` is the payload to copy, with its density; without one, [`Attack::Copies`] publishes
/// noise, and so does [`Attack::Skips`] where there is only one step to skip.
///
/// # Errors
/// As [`run_segment`]; a stolen payload that has not the density it is given with is a codec error.
pub fn attack_segment(
    attack: Attack,
    trainer: &mut Trainer,
    spec: &SegmentSpec,
    start: &[f32],
    carry: Carry,
    stolen: Option<(TopK, &[u8])>,
) -> Result<SegmentResult, SegmentError> {
    match (attack, stolen) {
        (Attack::Skips, _) if spec.steps > 1 => skip(trainer, spec, start, carry),
        (Attack::Copies, Some((top_k, payload))) => invent(&SegmentSpec { top_k, ..*spec }, payload.to_vec(), carry),
        (Attack::Skips | Attack::Cheats | Attack::Copies, _) => noise(spec, start, carry),
        (
            Attack::Garbles
            | Attack::Replays
            | Attack::Withholds
            | Attack::Corrupts
            | Attack::Lies
            | Attack::Floods
            | Attack::Forks
            | Attack::Accuses
            | Attack::Votes,
            _,
        ) => run_segment(trainer, spec, start, carry, &|_| false, &mut |_| None),
    }
}

fn skip(trainer: &mut Trainer, spec: &SegmentSpec, start: &[f32], carry: Carry) -> Result<SegmentResult, SegmentError> {
    let half = SegmentSpec { steps: spec.steps / 2, ..*spec };
    let done = run_segment(trainer, &half, start, carry, &|_| false, &mut |_| None)?;
    Ok(SegmentResult { steps: spec.steps, tokens: claimed_tokens(spec), ..done })
}

/// A pseudo-gradient of uniform deviates, as large as the optimizer's steps would sum to.
fn noise(spec: &SegmentSpec, start: &[f32], mut carry: Carry) -> Result<SegmentResult, SegmentError> {
    let mut rng = ChaCha8Rng::from_seed(blake3::derive_key("murmuration noise v1", &spec.segment.to_le_bytes()));
    let reach = spec.rates.adamw.lr * spec.steps as f32 / (1u64 << 31) as f32;
    let end: Vec<f32> = start.iter().map(|value| value + rng.next_u32().cast_signed() as f32 * reach).collect();
    let mut payload = Vec::new();
    compress(spec.top_k, spec.feedback_decay, start, &end, &mut carry.residual, &mut payload)?;
    invent(spec, payload, carry)
}

/// Claims the full segment for a payload that no work stands behind.
fn invent(spec: &SegmentSpec, payload: Vec<u8>, mut carry: Carry) -> Result<SegmentResult, SegmentError> {
    carry.steps += u64::from(spec.steps);
    let norm = validate(spec.top_k, carry.m.len(), &payload)?;
    let Commitment { carry, sealed, root } = commit(carry, spec.commits)?;
    Ok(SegmentResult {
        top: spec.top_k,
        norm,
        payload,
        steps: spec.steps,
        tokens: claimed_tokens(spec),
        loss_mean: 3.0,
        loss_first: 3.0,
        trace_root: blake3::derive_key("murmuration invented trace v1", &spec.segment.to_le_bytes()),
        carry_root: root,
        carry,
        sealed_carry: sealed,
    })
}

fn claimed_tokens(spec: &SegmentSpec) -> u64 {
    u64::from(spec.steps) * (spec.batch_size * spec.context) as u64
}
