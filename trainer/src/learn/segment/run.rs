//! The inner loop.

use std::borrow::Cow;

use murmur_kernels::{Carry, compress, global_norm};
use murmur_verification::{Leaf, Trace};

use super::commitment::{Commitment, commit};
use super::error::SegmentError;
use super::optimizer::{Optimizer, Rates};
use super::spec::{SegmentResult, SegmentSpec};
use super::trainer::Trainer;
use crate::learn::data::batch;

/// Trains `spec.steps` inner steps from `start` and compresses the difference.
///
/// Between steps `merge` is called with the steps done so far. If it gives parameters, what they differ by from `start`, or from
/// those of the last merge, is added to the running ones, and they take the place of `start`: so the difference at the end is
/// this segment's own work alone.
///
/// After each step `stop` is called with the steps done so far; `true` ends the segment there, so at least one step always
/// runs.
///
/// # Shapes
/// `start` and each vector of `carry` are `[params]`. A `start` that is given away is dropped at the first merge.
///
/// # Errors
/// [`SegmentError::Diverged`] names the first step whose loss or gradient was not finite.
///
/// # Panics
/// If `carry` or `start` does not fit the model: a bug of the caller.
pub fn run_segment<'a>(
    trainer: &'a mut Trainer,
    spec: &SegmentSpec,
    start: impl Into<Cow<'a, [f32]>>,
    carry: Carry,
    stop: &dyn Fn(u32) -> bool,
    merge: &mut dyn FnMut(u32) -> Option<Vec<f32>>,
) -> Result<SegmentResult, SegmentError> {
    let mut inner = Inner::new(trainer, start.into(), carry);
    let (mut done, mut cut) = (0, false);
    while done < spec.steps.max(1) {
        inner.step(spec, done)?;
        done += 1;
        cut = stop(done);
        let last = done >= spec.steps || cut;
        if last || done.is_multiple_of(spec.trace_every.max(1)) {
            inner.leave_trace(spec, done);
        }
        if last {
            break;
        }
        inner.make_room();
        if let Some(parameters) = merge(done) {
            inner.merge(parameters);
        }
    }
    inner.finish(spec, done, spec.commits || cut)
}

/// A gradient of more parameters is not kept from step to step. The system takes and gives such a vector page by page, which
/// costs little beside a step of so large a model.
const GRADIENT_KEPT: usize = 1 << 24;

/// The state between two inner steps.
struct Inner<'a> {
    trainer: &'a mut Trainer,
    /// What the difference is taken from.
    start: Cow<'a, [f32]>,
    params: Vec<f32>,
    grad: Vec<f32>,
    carry: Carry,
    trace: Trace,
    losses: Vec<f32>,
}

impl<'a> Inner<'a> {
    fn new(trainer: &'a mut Trainer, start: Cow<'a, [f32]>, carry: Carry) -> Self {
        let (trace, losses) = (Trace::default(), Vec::new());
        let params = start.to_vec();
        Self { trainer, start, params, grad: Vec::new(), carry, trace, losses }
    }

    /// Parameters that are merged are a vector more: that of the gradient gives way, where it is large.
    fn make_room(&mut self) {
        if self.grad.len() > GRADIENT_KEPT {
            self.grad = Vec::new();
        }
    }

    fn step(&mut self, spec: &SegmentSpec, index: u32) -> Result<(), SegmentError> {
        let segment = u64::from(spec.segment);
        let Trainer { replica, optimizer, corpus } = self.trainer;
        let batch = batch(corpus, &spec.run_seed, &spec.peer, segment, index, spec.batch_size, spec.context);
        self.grad.resize(self.params.len(), 0.0);
        let loss = replica.loss_and_grad(&self.params, &batch, &mut self.grad)?;
        let gradient_norm = global_norm(&self.grad);
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Err(SegmentError::Diverged { step: index + 1, loss, gradient_norm });
        }
        self.losses.push(loss);
        descend(optimizer, spec, &mut self.carry, &mut self.params, (&self.grad, gradient_norm));
        Ok(())
    }

    /// Each number is rounded twice, in this order, so that a replay gives the same bits.
    fn merge(&mut self, parameters: Vec<f32>) {
        for ((running, start), merged) in self.params.iter_mut().zip(&*self.start).zip(&parameters) {
            *running += merged - start;
        }
        self.start = parameters.into();
    }

    fn leave_trace(&mut self, spec: &SegmentSpec, step: u32) {
        let digest = digest(&[&self.params, &self.carry.m, &self.carry.v]);
        let loss_bits = self.losses.last().map_or(0, |loss| loss.to_bits());
        self.trace.push(&Leaf { peer: spec.peer, segment: spec.segment, step, digest, loss_bits });
    }

    /// Each vector goes as soon as it is of no more use: this is where a peer would hold the most.
    fn finish(self, spec: &SegmentSpec, steps: u32, commits: bool) -> Result<SegmentResult, SegmentError> {
        let Self { trainer: _, start, params, grad, mut carry, trace, losses } = self;
        drop(grad);
        let mut payload = Vec::new();
        let norm = compress(spec.top_k, spec.feedback_decay, &start, &params, &mut carry.residual, &mut payload)?;
        drop((start, params));
        let Commitment { carry, sealed, root } = commit(carry, commits)?;
        Ok(SegmentResult {
            top: spec.top_k,
            payload,
            norm,
            steps,
            tokens: u64::from(steps) * (spec.batch_size * spec.context) as u64,
            loss_mean: mean(&losses),
            loss_first: losses.first().copied().unwrap_or(f32::NAN),
            trace_root: trace.root().0,
            carry_root: root,
            carry,
            sealed_carry: sealed,
        })
    }
}

/// One inner step in place: the gradient, given with its norm, clipped; the learning rates as warmed up as the carry's steps allow.
///
/// # Panics
/// If a length differs from the model's: a bug of the caller.
pub fn descend(
    optimizer: &mut Optimizer,
    spec: &SegmentSpec,
    carry: &mut Carry,
    params: &mut [f32],
    (grad, norm): (&[f32], f32),
) {
    let (rates, scale) = (warmed(spec, carry.steps), clip_scale(norm, spec.clip_norm));
    optimizer.step(&rates, carry, params, grad, scale);
}

/// The learning rates scaled by `min(1, (steps + 1) / rewarm_steps)`.
fn warmed(spec: &SegmentSpec, steps: u64) -> Rates {
    let rewarm = f64::from(spec.rewarm_steps.max(1));
    spec.rates.scaled(((steps + 1) as f64 / rewarm).min(1.0) as f32)
}

fn clip_scale(norm: f32, limit: f32) -> f32 {
    if norm > limit { limit / norm } else { 1.0 }
}

fn mean(losses: &[f32]) -> f32 {
    (losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64) as f32
}

/// BLAKE3 of the vectors one after another, each value in little-endian.
fn digest(vectors: &[&[f32]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("murmuration training state v1");
    let mut bytes = vec![0; 4 << 14];
    for values in vectors.iter().flat_map(|vector| vector.chunks(1 << 14)) {
        let bytes = &mut bytes[..4 * values.len()];
        bytes.chunks_exact_mut(4).zip(values).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
        hasher.update(bytes);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use murmur_collectives::PeerId;
    use murmur_kernels::exact::{Level, Pool};
    use murmur_kernels::{AdamW, Optimizer, TopK};

    use super::*;
    use crate::learn::data::corpus::tests::words;
    use crate::learn::model::Architecture;
    use crate::learn::model::gpt::{ExactReplica, Gpt};

    pub(crate) fn spec() -> SegmentSpec {
        let adamw = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
        SegmentSpec {
            run_seed: [1; 32],
            peer: PeerId([2; 32]),
            segment: 3,
            steps: 5,
            batch_size: 4,
            context: 16,
            rates: Rates { adamw, muon_lr: 2e-2, muon_momentum: 0.95 },
            clip_norm: 1.0,
            rewarm_steps: 2,
            trace_every: 2,
            commits: true,
            top_k: TopK::new(512).unwrap(),
            feedback_decay: 0.95,
        }
    }

    /// A trainer by this optimizer, and the parameters to start from.
    pub(crate) fn fixture_of(optimizer: Optimizer) -> (Trainer, Vec<f32>) {
        let config = Gpt::tiny();
        let pool = || Pool::single(Level::active());
        let replica = Box::new(ExactReplica::new(config, pool()).unwrap());
        (Trainer::new(replica, optimizer, pool(), words()), config.initial_params(&[0; 32]))
    }

    pub(crate) fn fixture() -> (Trainer, Vec<f32>) {
        fixture_of(Optimizer::Muon)
    }

    fn run(spec: &SegmentSpec, stop: &dyn Fn(u32) -> bool) -> SegmentResult {
        let (mut trainer, start) = fixture();
        let fresh = Carry::fresh(trainer.carry_shape());
        run_segment(&mut trainer, spec, &start, fresh, stop, &mut |_| None).unwrap()
    }

    #[test]
    fn segments_that_continue_from_the_carry_lower_the_loss() {
        Optimizer::ALL.into_iter().for_each(lower_the_loss);
    }

    fn lower_the_loss(optimizer: Optimizer) {
        let (mut trainer, mut params) = fixture_of(optimizer);
        let mut carry = Carry::fresh(trainer.carry_shape());
        let mut losses = Vec::new();
        for seq in 0..12 {
            let spec = SegmentSpec { segment: seq, steps: 10, top_k: TopK::new(4096).unwrap(), ..spec() };
            let result = run_segment(&mut trainer, &spec, &params, carry, &|_| false, &mut |_| None).unwrap();
            let mut state = murmur_kernels::from_f32(&params).unwrap();
            let one = murmur_kernels::Weight::new(1 << 16).unwrap();
            murmur_kernels::fold(spec.top_k, &result.payload, one, murmur_kernels::Direction::Add, &mut state).unwrap();
            murmur_kernels::to_f32(&state, &mut params);
            carry = result.carry;
            losses.push(result.loss_mean);
        }
        assert_eq!(carry.steps, 120);
        assert!(losses[11] < losses[0] - 1.0, "{optimizer}: {losses:?}");
    }

    #[test]
    fn a_segment_can_be_cut_short_but_never_to_nothing() {
        assert_eq!(run(&spec(), &|_| true).steps, 1);
        let cut = run(&spec(), &|done| done == 3);
        assert_eq!((cut.steps, cut.tokens), (3, 3 * 64));
        assert_eq!(cut, run(&SegmentSpec { steps: 3, ..spec() }, &|_| false));
    }

    #[test]
    fn the_carry_is_what_its_sealed_form_says() {
        let result = run(&spec(), &|_| false);
        let sealed = result.sealed_carry.unwrap();
        assert_eq!(Carry::unseal(result.carry.shape(), &sealed).unwrap(), result.carry);
        assert_eq!(result.carry_root, murmur_kernels::blob_root(&sealed));
    }

    #[test]
    fn what_is_merged_moves_the_segment_and_is_no_part_of_its_work() {
        let (mut trainer, start) = fixture();
        let spec = SegmentSpec { steps: 3, top_k: TopK::new(4096).unwrap(), ..spec() };
        let mut merged = |by: f32| {
            let fresh = Carry::fresh(trainer.carry_shape());
            let moved: Vec<f32> = start.iter().map(|value| value + by).collect();
            let mut asked = Vec::new();
            let mut merge = |done| {
                asked.push(done);
                (done == 2).then(|| moved.clone())
            };
            let result = run_segment(&mut trainer, &spec, &start, fresh, &|_| false, &mut merge).unwrap();
            assert_eq!(asked, [1, 2], "not after the last step");
            result
        };
        let (alone, same, far) = (run(&spec, &|_| false), merged(0.0), merged(0.01));
        assert_eq!(alone, same);
        assert_ne!(far.trace_root, alone.trace_root, "the running parameters moved");
        // Most of the difference is that of the first two steps, which were done before.
        assert!(far.norm.0 < 2 * alone.norm.0 && far.payload != alone.payload, "{} {}", far.norm.0, alone.norm.0);
    }

    #[test]
    fn an_uncommitted_carry_goes_on_as_it_is_unless_the_segment_is_cut_short() {
        let spec = SegmentSpec { commits: false, ..spec() };
        let (open, committed) = (run(&spec, &|_| false), run(&SegmentSpec { commits: true, ..spec }, &|_| false));
        assert_eq!((open.sealed_carry, open.carry_root), (None, [0; 32]));
        assert_eq!((open.payload, open.trace_root), (committed.payload, committed.trace_root), "the same work");
        assert_eq!(open.carry.seal(), committed.sealed_carry.unwrap());
        assert_ne!(open.carry, committed.carry, "which is rounded");
        assert!(run(&spec, &|done| done == 2).sealed_carry.is_some());
    }

    #[test]
    fn a_fresh_optimizer_warms_up() {
        let spec = SegmentSpec { rewarm_steps: 4, ..spec() };
        let lr = |steps| warmed(&spec, steps).adamw.lr / spec.rates.adamw.lr;
        assert_eq!([lr(0), lr(1), lr(3), lr(9)], [0.25, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn divergence_names_its_step() {
        let (mut trainer, mut start) = fixture();
        start.fill(f32::INFINITY);
        let fresh = Carry::fresh(trainer.carry_shape());
        let result = run_segment(&mut trainer, &spec(), &start, fresh, &|_| false, &mut |_| None);
        assert!(matches!(result, Err(SegmentError::Diverged { step: 1, .. })));
    }

    #[test]
    fn what_nobody_can_compute_is_the_fault_of_whoever_committed_to_such_a_carry() {
        for optimizer in Optimizer::ALL {
            let (mut trainer, start) = fixture_of(optimizer);
            let mut carry = Carry::fresh(trainer.carry_shape());
            (carry.steps, carry.m) = (Carry::STEPS_MAX, vec![f32::MAX; start.len()]);
            let carry = Carry::unseal(carry.shape(), &carry.seal()).unwrap();
            let replayed = run_segment(&mut trainer, &spec(), &start, carry, &|_| false, &mut |_| None);
            let error = replayed.err().unwrap();
            assert!(error.is_of_its_input(), "{optimizer}: {error}");
        }
    }
}
