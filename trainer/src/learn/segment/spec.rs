//! The input of a segment and its result.

use murmur_collectives::PeerId;
use murmur_kernels::{Carry, Norm, TopK};

use super::optimizer::Rates;

/// Everything but the parameters, the carry and the data that a segment's bits depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentSpec {
    /// The run's seed, which keys the choice of data.
    pub run_seed: [u8; 32],
    /// The author.
    pub peer: PeerId,
    /// The author's segment number.
    pub segment: u32,
    /// Inner steps H; at least 1. More steps mean fewer bytes per token and staler gradients.
    pub steps: u32,
    /// Sequences per step.
    pub batch_size: usize,
    /// Bytes per sequence; at most the model's context.
    pub context: usize,
    /// How far the optimizer steps. The learning rates are what the token clock prescribes; a fresh optimizer warms up to them.
    pub rates: Rates,
    /// Gradients with a larger Euclidean norm are scaled down to it; 1.0 is usual.
    pub clip_norm: f32,
    /// Steps over which a fresh optimizer's learning rates rise linearly to `rates`; 0 or 1 for none.
    pub rewarm_steps: u32,
    /// Inner steps between trace leaves; the last step always has one. At least 1.
    pub trace_every: u32,
    /// Whether the author commits to the private state after it. A segment that is cut short always ends with a commitment.
    pub commits: bool,
    /// Density of the update.
    pub top_k: TopK,
    /// Error-feedback decay β: the share of the residual that survives a segment; 0.95 is usual.
    pub feedback_decay: f32,
}

/// What a segment gives back. Equal [`SegmentSpec`], start, carry and corpus give equal results on one numeric class.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentResult {
    /// The compressed pseudo-gradient (start − end).
    pub payload: Vec<u8>,
    /// How many of every 4096 parameters it carries.
    pub top: TopK,
    /// Norm of what the payload decodes to.
    pub norm: Norm,
    /// Inner steps done, at most the steps asked for.
    pub steps: u32,
    /// Tokens trained on.
    pub tokens: u64,
    /// Mean training loss over the steps, in nats per byte.
    pub loss_mean: f32,
    /// Training loss of the first step, before any step was taken.
    pub loss_first: f32,
    /// Commits to optimizer states and losses along the way.
    pub trace_root: [u8; 32],
    /// The sealed carry, which an auditor of the *next* segment fetches; nothing if the span goes on.
    pub sealed_carry: Option<Vec<u8>>,
    /// Blob root of the sealed carry; zeros without one.
    pub carry_root: [u8; 32],
    /// The carry that the author goes on from: unsealed again, if it was sealed.
    pub carry: Carry,
}
