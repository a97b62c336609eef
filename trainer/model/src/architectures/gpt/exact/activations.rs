//! Every buffer of a step.

use murmur_kernels::exact::{Attention, Buffer, MOMENTS, Scratch, linear_scratch, norm_scratch, product_scratch};

use crate::{Architecture, gpt::Gpt};

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
    pub(super) fn fit(&mut self, config: &Gpt, vocab: usize, shape: [usize; 2]) {
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

/// Bytes of the buffers of a step on a batch of `[sequences, positions]`: what `Activations::fit` makes, the room of attention and
/// that of the products. The largest number there is rather than an overflow.
pub(in crate::architectures::gpt) fn step_bytes(config: &Gpt, [batch, seq]: [u64; 2]) -> u64 {
    let [layers, heads, d, vocab] =
        [config.layers, config.heads, config.d_model, config.vocabulary().size()].map(|number| number as u64);
    let rows = batch.saturating_mul(seq);
    let of_block = 16 * d + 2 * MOMENTS as u64;
    let of_row = layers * of_block + 8 * d + MOMENTS as u64 + vocab + 1;
    let small = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let width = config.d_model / config.heads.max(1);
    let one = Attention { batch: 1, seq: small(seq), heads: small(heads), width };
    let attention = batch.saturating_mul(one.scratch() as u64);
    // Groups of rows and packed factors take little of a large batch, so a batch beyond counting may be cut here.
    let few = small(rows.min(1 << 40));
    let groups = norm_scratch(few, config.d_model).max(linear_scratch(few, 4 * config.d_model));
    let columns = [config.d_model, 3 * config.d_model, 4 * config.d_model, config.vocabulary().size()];
    let factor = columns.map(|n| product_scratch(few.max(4 * config.d_model), n)).into_iter().max().unwrap_or(0);
    let parts = [rows.saturating_mul(of_row), attention, groups as u64, factor as u64];
    parts.into_iter().fold(0, u64::saturating_add).saturating_mul(size_of::<f32>() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_kernels::exact::{Level, Pool};

    use super::*;
    use crate::{Batch, Replica, gpt::ExactReplica};

    /// Numbers that a replica holds after a step, without the packed factors, which only the kernels see.
    fn held(config: Gpt, batch: usize) -> u64 {
        let text: Vec<u8> = (0..=batch * config.context).map(|i| i as u8).collect();
        let params = config.initial_params(&[0; 32]);
        let mut replica = ExactReplica::new(config, Pool::single(Level::active())).unwrap();
        let batch = Batch::in_a_row(batch, config.context, &text);
        replica.loss_and_grad(&params, &batch, &mut vec![0.0; params.len()]).unwrap();
        let Activations {
            shape: _,
            blocks,
            exit,
            moments,
            normed,
            scores,
            losses,
            stream,
            narrow,
            wide,
            groups,
            attention,
            scratch: _,
        } = &replica.state;
        let outer = [exit, moments, normed, scores, losses, stream, narrow, wide, groups, attention];
        let of_block = |block: &BlockState| {
            let BlockState {
                entry,
                attention_moments,
                attention_normed,
                qkv,
                mixed,
                middle,
                mlp_moments,
                mlp_normed,
                up,
                active,
            } = block;
            let narrow = entry.len() + attention_normed.len() + mixed.len() + middle.len() + mlp_normed.len();
            narrow + attention_moments.len() + mlp_moments.len() + qkv.len() + up.len() + active.len()
        };
        (outer.iter().map(|buffer| buffer.len()).sum::<usize>() + blocks.iter().map(of_block).sum::<usize>()) as u64
    }

    #[test]
    fn the_bytes_of_a_step_are_those_of_its_buffers() {
        let shape = |layers, heads, d_model, context| Gpt { layers, heads, d_model, context };
        for (config, batch) in [(Gpt::tiny(), 9), (shape(3, 2, 40, 70), 2), (shape(1, 4, 64, 200), 3)] {
            let said = step_bytes(&config, [batch as u64, config.context as u64]) / 4;
            let widest = 4 * config.d_model;
            let most = [config.d_model, 3 * config.d_model, widest, config.vocabulary().size()]
                .map(|n| product_scratch((batch * config.context).max(widest), n));
            let factor = most.into_iter().max().unwrap() as u64;
            assert_eq!(said, held(config, batch) + factor, "{config:?}");
        }
    }

    #[test]
    fn a_step_beyond_counting_takes_the_largest_number() {
        let config = Gpt { layers: 64, heads: 1, d_model: 4096, context: 4096 };
        assert_eq!(step_bytes(&config, [u64::MAX, 4096]), u64::MAX);
    }
}
