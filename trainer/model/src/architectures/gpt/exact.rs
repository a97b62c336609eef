//! The replica of the exact profile: the GPT's forward and backward pass on the kernels of `murmur_kernels::exact`.

mod activations;
mod backward;
mod forward;
mod weights;

use murmur_kernels::exact::{PROFILE, Pool, ShapeError, cross_entropy};

use super::Gpt;
use crate::architecture::{Architecture, ModelConfigError};
use crate::layout::Layout;
use crate::replica::{Batch, Replica, ReplicaError};
use crate::token::Token;
use activations::Activations;
use weights::{WeightPlaces, Weights};

pub(super) use activations::step_bytes;

/// A byte-level GPT whose bits are the same on every machine, instruction set and number of threads.
///
/// It holds every buffer of a step, so after the first step of a size there is no allocation.
#[derive(Debug)]
pub struct ExactReplica {
    config: Gpt,
    layout: Layout,
    places: WeightPlaces,
    vocab: usize,
    pool: Pool,
    state: Activations,
}

impl ExactReplica {
    /// A replica of this shape that computes in `pool`.
    ///
    /// # Errors
    /// An impossible shape.
    pub fn new(config: Gpt, pool: Pool) -> Result<Self, ModelConfigError> {
        Self::with_vocab(config, config.vocabulary().size(), pool)
    }

    /// The same with another size of the vocabulary: tokens beyond it are refused.
    ///
    /// # Errors
    /// An impossible shape.
    pub fn with_vocab(config: Gpt, vocab: usize, pool: Pool) -> Result<Self, ModelConfigError> {
        config.check()?;
        if vocab == 0 {
            return Err(ModelConfigError::Range { setting: "vocab", given: vocab, min: 1, max: u32::MAX as usize });
        }
        let layout = config.layout_with_vocab(vocab);
        let places = WeightPlaces::of(&layout, config.layers);
        Ok(Self { config, layout, places, vocab, pool, state: Activations::default() })
    }

    /// Where it computes.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn check_length(&self, what: &'static str, given: usize) -> Result<(), ReplicaError> {
        let expected = self.layout.params();
        if given == expected { Ok(()) } else { Err(ReplicaError::Length { what, given, expected }) }
    }

    fn check_batch(&self, batch: &Batch) -> Result<(), ReplicaError> {
        let Batch { size, context, inputs, targets } = batch;
        let full = size.checked_mul(*context);
        let fits = full.is_some_and(|full| full > 0 && inputs.len() == full && targets.len() == full);
        let known = inputs.iter().chain(targets).all(|&token| usize::from(token) < self.vocab);
        let error = ReplicaError::Batch { size: *size, context: *context, limit: self.config.context };
        if fits && known && *context <= self.config.context { Ok(()) } else { Err(error) }
    }

    /// Scores of the byte after each position, left in `state.scores`.
    fn forward(&mut self, params: &[f32], tokens: &[Token], shape: [usize; 2]) -> Result<(), ReplicaError> {
        let Self { config, places, vocab, pool, state, .. } = self;
        state.fit(config, *vocab, shape);
        let weights = Weights { params, places };
        pool.install(|| forward::forward(pool, config, &weights, tokens, state)).map_err(ReplicaError::from)
    }

    /// The mean loss; the scores become their gradient.
    fn loss_of_scores(&mut self, targets: &[Token]) -> Result<f32, ReplicaError> {
        let Self { pool, state, .. } = self;
        let Activations { scores, losses, .. } = state;
        cross_entropy(pool, scores, targets, losses).map_err(ReplicaError::from)
    }
}

impl From<ShapeError> for ReplicaError {
    fn from(error: ShapeError) -> Self {
        Self::Backend(error.to_string())
    }
}

impl Replica for ExactReplica {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn loss_and_grad(&mut self, params: &[f32], batch: &Batch, grad: &mut [f32]) -> Result<f32, ReplicaError> {
        self.check_length("params", params.len())?;
        self.check_length("grad", grad.len())?;
        self.check_batch(batch)?;
        self.forward(params, &batch.inputs, [batch.size, batch.context])?;
        let loss = self.loss_of_scores(&batch.targets)?;
        let Self { config, places, pool, state, .. } = self;
        let weights = Weights { params, places };
        let backward = || backward::backward(pool, config, &weights, &batch.inputs, state, grad);
        pool.install(backward).map_err(ReplicaError::from)?;
        Ok(loss)
    }

    fn loss(&mut self, params: &[f32], batch: &Batch) -> Result<f32, ReplicaError> {
        self.check_length("params", params.len())?;
        self.check_batch(batch)?;
        self.forward(params, &batch.inputs, [batch.size, batch.context])?;
        self.loss_of_scores(&batch.targets)
    }

    fn logits(&mut self, params: &[f32], tokens: &[Token]) -> Result<Vec<f32>, ReplicaError> {
        self.check_length("params", params.len())?;
        let tail = &tokens[tokens.len().saturating_sub(self.config.context)..];
        let batch = Batch { size: 1, context: tail.len(), inputs: tail.to_vec(), targets: tail.to_vec() };
        self.check_batch(&batch)?;
        self.forward(params, tail, [1, tail.len()])?;
        Ok(self.state.scores[(tail.len() - 1) * self.vocab..].to_vec())
    }

    fn class(&self) -> String {
        PROFILE.to_owned()
    }

    fn device(&self) -> String {
        let (level, threads) = (self.pool.level().name(), self.pool.threads());
        format!("cpu, {level}, {threads} thread{}", if threads == 1 { "" } else { "s" })
    }
}
