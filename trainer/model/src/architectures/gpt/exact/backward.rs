//! From the gradient of the scores to that of every parameter.

use murmur_kernels::exact::{
    Activation, Attention, Buffer, Matrix, Norm, NormGrads, Pool, Scratch, ShapeError, embed_backward, linear_backward,
    linear_grads, norm_backward, norm_scratch,
};

use super::activations::{Activations, BlockState};
use super::weights::{BlockPlaces, Place, Weights, pair};
use crate::gpt::Gpt;
use crate::token::Token;

/// Writes the gradient of every parameter over `grad`; `state.scores` holds the gradient of the scores.
pub(super) fn backward(
    pool: &Pool,
    config: &Gpt,
    weights: &Weights<'_>,
    tokens: &[Token],
    state: &mut Activations,
    grad: &mut [f32],
) -> Result<(), ShapeError> {
    let ([batch, seq], d, places) = (state.shape, config.d_model, weights.places);
    let sizes = Attention { batch, seq, heads: config.heads, width: d / config.heads };
    let Activations { blocks, exit, moments, normed, scores, stream, narrow, wide, groups, attention, scratch, .. } =
        state;
    let mut step = Step { pool, weights, d, rows: batch * seq, stream, narrow, wide, groups, scratch, grad };
    step.head(&places.head, scores, normed)?;
    step.stream.fill(0.0);
    step.norm(&places.norm, exit, moments)?;
    for (places, block) in places.blocks.iter().zip(blocks).rev() {
        step.mlp(places, block)?;
        step.attend(places, sizes, block, attention)?;
    }
    let (tables, stream) = (&mut step.grad[..places.position.range.end], &*step.stream);
    let (table, positions) = tables.split_at_mut(places.token.range.end);
    embed_backward(pool, stream, tokens, seq, [table, positions])
}

/// The way back through one layer. `stream` is the gradient of the residual stream.
struct Step<'a> {
    pool: &'a Pool,
    weights: &'a Weights<'a>,
    d: usize,
    rows: usize,
    stream: &'a mut Buffer,
    narrow: &'a mut Buffer,
    wide: &'a mut Buffer,
    groups: &'a mut Buffer,
    scratch: &'a mut Scratch,
    grad: &'a mut [f32],
}

impl Step<'_> {
    /// Sets the head's gradient, and `narrow` to that of what it read.
    fn head(&mut self, head: &Place, scores: &[f32], normed: &[f32]) -> Result<(), ShapeError> {
        let scores = Matrix::new(scores, self.rows, scores.len() / self.rows)?;
        let normed = Matrix::new(normed, self.rows, self.d)?;
        let grads = [&mut self.grad[head.range.clone()], &mut []];
        linear_grads(self.pool, [normed, scores], grads, self.groups, self.scratch)?;
        linear_backward(self.pool, [scores, self.weights.matrix(head)?], None, self.narrow, self.scratch)
    }

    /// Adds to `stream` what `narrow`, the gradient of a normalization of `x`, gives.
    fn norm(&mut self, places: &[Place; 2], x: &[f32], moments: &[f32]) -> Result<(), ShapeError> {
        let inputs = [x, self.weights.values(&places[0]), moments, &**self.narrow];
        let [gain, bias] = pair(self.grad, places);
        let room = &mut self.groups[..norm_scratch(self.rows, self.d)];
        norm_backward(self.pool, Norm::Layer, inputs, NormGrads { x: self.stream, gain, bias }, room)
    }

    /// The MLP of a block.
    fn mlp(&mut self, places: &BlockPlaces, state: &BlockState) -> Result<(), ShapeError> {
        let (pool, weights, rows, d) = (self.pool, self.weights, self.rows, self.d);
        let stream = Matrix::new(self.stream, rows, d)?;
        let active = Matrix::new(&state.active, rows, 4 * d)?;
        linear_grads(pool, [active, stream], pair(self.grad, &places.down), self.groups, self.scratch)?;
        let down = weights.matrix(&places.down[0])?;
        linear_backward(pool, [stream, down], Some((Activation::Gelu, &state.up)), self.wide, self.scratch)?;
        let wide = Matrix::new(self.wide, rows, 4 * d)?;
        let normed = Matrix::new(&state.mlp_normed, rows, d)?;
        linear_grads(pool, [normed, wide], pair(self.grad, &places.up), self.groups, self.scratch)?;
        linear_backward(pool, [wide, weights.matrix(&places.up[0])?], None, self.narrow, self.scratch)?;
        self.norm(&places.mlp_norm, &state.middle, &state.mlp_moments)
    }

    /// The attention of a block.
    fn attend(
        &mut self,
        places: &BlockPlaces,
        sizes: Attention,
        state: &BlockState,
        room: &mut Buffer,
    ) -> Result<(), ShapeError> {
        let (pool, weights, rows, d) = (self.pool, self.weights, self.rows, self.d);
        let stream = Matrix::new(self.stream, rows, d)?;
        let mixed = Matrix::new(&state.mixed, rows, d)?;
        linear_grads(pool, [mixed, stream], pair(self.grad, &places.output), self.groups, self.scratch)?;
        linear_backward(pool, [stream, weights.matrix(&places.output[0])?], None, self.narrow, self.scratch)?;
        let grad_qkv = &mut self.wide[..rows * 3 * d];
        sizes.backward(pool, [&state.qkv, self.narrow], grad_qkv, room)?;
        let grad_qkv = Matrix::new(grad_qkv, rows, 3 * d)?;
        let normed = Matrix::new(&state.attention_normed, rows, d)?;
        linear_grads(pool, [normed, grad_qkv], pair(self.grad, &places.qkv), self.groups, self.scratch)?;
        linear_backward(pool, [grad_qkv, weights.matrix(&places.qkv[0])?], None, self.narrow, self.scratch)?;
        self.norm(&places.attention_norm, &state.entry, &state.attention_moments)
    }
}
