//! From tokens to scores.

use murmur_kernels::exact::{
    Activation, After, Attention, Buffer, Matrix, Norm, Pool, Scratch, ShapeError, embed, linear, linear_activated,
    norm,
};

use super::activations::{Activations, BlockState};
use super::weights::{BlockPlaces, Weights};
use crate::gpt::Gpt;
use crate::token::Token;

/// Fills `state` up to the scores.
pub(super) fn forward(
    pool: &Pool,
    config: &Gpt,
    weights: &Weights<'_>,
    tokens: &[Token],
    state: &mut Activations,
) -> Result<(), ShapeError> {
    let ([batch, seq], d, places) = (state.shape, config.d_model, weights.places);
    let tables = [weights.values(&places.token), weights.values(&places.position)];
    embed(pool, tables, tokens, seq, &mut state.blocks[0].entry)?;
    let attention = Attention { batch, seq, heads: config.heads, width: d / config.heads };
    let Activations { blocks, exit, attention: room, scratch, .. } = state;
    for (index, places) in places.blocks.iter().enumerate() {
        let (block, rest) = blocks[index..].split_first_mut().expect("there is a state for each block");
        let exit = rest.first_mut().map_or(&mut *exit, |next| &mut next.entry);
        let mut step = Step { pool, weights, d, scratch };
        step.attend(places, attention, block, room)?;
        step.mlp(places, block, exit)?;
    }
    let Activations { exit, normed, moments, scores, .. } = state;
    norm(pool, Norm::Layer, exit, places.norm.each_ref().map(|place| weights.values(place)), normed, moments)?;
    let normed = Matrix::new(normed, batch * seq, d)?;
    linear(pool, normed, weights.matrix(&places.head)?, After::Nothing, scores, &mut state.scratch)
}

struct Step<'a> {
    pool: &'a Pool,
    weights: &'a Weights<'a>,
    d: usize,
    scratch: &'a mut Scratch,
}

impl Step<'_> {
    /// `middle = entry + output(attention(norm(entry)))`.
    fn attend(
        &mut self,
        places: &BlockPlaces,
        sizes: Attention,
        state: &mut BlockState,
        room: &mut Buffer,
    ) -> Result<(), ShapeError> {
        let (pool, weights, rows) = (self.pool, self.weights, sizes.batch * sizes.seq);
        let gains = places.attention_norm.each_ref().map(|place| weights.values(place));
        let BlockState { entry, attention_normed, attention_moments, qkv, mixed, middle, .. } = state;
        norm(pool, Norm::Layer, entry, gains, attention_normed, attention_moments)?;
        let normed = Matrix::new(attention_normed, rows, self.d)?;
        let [weight, bias] = &places.qkv;
        linear(pool, normed, weights.matrix(weight)?, After::Bias(weights.values(bias)), qkv, self.scratch)?;
        sizes.forward(pool, qkv, mixed, room)?;
        let [weight, bias] = &places.output;
        let after = After::Residual(weights.values(bias), entry);
        linear(pool, Matrix::new(mixed, rows, self.d)?, weights.matrix(weight)?, after, middle, self.scratch)
    }

    /// `exit = middle + down(gelu(up(norm(middle))))`.
    fn mlp(&mut self, places: &BlockPlaces, state: &mut BlockState, exit: &mut [f32]) -> Result<(), ShapeError> {
        let (pool, weights) = (self.pool, self.weights);
        let gains = places.mlp_norm.each_ref().map(|place| weights.values(place));
        let BlockState { middle, mlp_normed, mlp_moments, up, active, .. } = state;
        let rows = middle.len() / self.d;
        norm(pool, Norm::Layer, middle, gains, mlp_normed, mlp_moments)?;
        let [weight, bias] = &places.up;
        let factors = [Matrix::new(mlp_normed, rows, self.d)?, weights.matrix(weight)?];
        linear_activated(pool, factors, weights.values(bias), Activation::Gelu, [up, active], self.scratch)?;
        let [weight, bias] = &places.down;
        let after = After::Residual(weights.values(bias), middle);
        linear(pool, Matrix::new(active, rows, 4 * self.d)?, weights.matrix(weight)?, after, exit, self.scratch)
    }
}
