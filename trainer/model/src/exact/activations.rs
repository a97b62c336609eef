//! Every buffer of a step.

use murmur_kernels::exact::{Buffer, MOMENTS, Scratch, linear_scratch, norm_scratch};

use crate::config::ModelConfig;

/// What the backward pass needs of one block.
#[derive(Debug, Default)]
pub(super) struct BlockState {
    /// The residual stream as it enters: `[rows, d]`.
    pub(super) entry: Buffer,
    pub(super) attention_moments: Buffer,
    pub(super) attention_normed: Buffer,
    /// `[rows, 3·d]`.
    pub(super) qkv: Buffer,
    pub(super) mixed: Buffer,
    /// The residual stream between attention and MLP.
    pub(super) middle: Buffer,
    pub(super) mlp_moments: Buffer,
    pub(super) mlp_normed: Buffer,
    /// Before and after the activation: `[rows, 4·d]`.
    pub(super) up: Buffer,
    pub(super) active: Buffer,
}

/// All buffers, for one size of batch.
#[derive(Debug, Default)]
pub(super) struct Activations {
    pub(super) shape: [usize; 2],
    pub(super) blocks: Vec<BlockState>,
    pub(super) exit: Buffer,
    pub(super) moments: Buffer,
    pub(super) normed: Buffer,
    /// `[rows, vocab]`: the scores, then their gradient.
    pub(super) scores: Buffer,
    pub(super) losses: Buffer,
    /// Gradients of the residual stream, of something as wide, and of something up to four times as wide.
    pub(super) stream: Buffer,
    pub(super) narrow: Buffer,
    pub(super) wide: Buffer,
    /// Partial sums over groups of rows.
    pub(super) groups: Buffer,
    pub(super) attention: Buffer,
    pub(super) scratch: Scratch,
}

impl Activations {
    /// Makes every buffer as long as `[sequences, positions]` need.
    pub(super) fn fit(&mut self, config: &ModelConfig, vocab: usize, shape: [usize; 2]) {
        let (rows, d) = (shape[0] * shape[1], config.d_model);
        self.shape = shape;
        self.blocks.resize_with(config.layers, BlockState::default);
        for block in &mut self.blocks {
            for buffer in [&mut block.entry, &mut block.attention_normed, &mut block.mixed] {
                buffer.fit(rows * d);
            }
            for buffer in [&mut block.middle, &mut block.mlp_normed] {
                buffer.fit(rows * d);
            }
            block.attention_moments.fit(rows * MOMENTS);
            block.mlp_moments.fit(rows * MOMENTS);
            block.qkv.fit(rows * 3 * d);
            block.up.fit(rows * 4 * d);
            block.active.fit(rows * 4 * d);
        }
        for buffer in [&mut self.exit, &mut self.normed, &mut self.stream, &mut self.narrow] {
            buffer.fit(rows * d);
        }
        self.moments.fit(rows * MOMENTS);
        self.scores.fit(rows * vocab);
        self.losses.fit(rows);
        self.wide.fit(rows * 4 * d);
        self.groups.fit(norm_scratch(rows, d).max(linear_scratch(rows, 4 * d)));
    }
}
