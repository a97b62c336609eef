//! The tensors of a GPT, in the order they lie in the flat vector.

use super::Gpt;
use crate::layout::{Layout, Role};

/// The layout with a vocabulary of this size.
pub(super) fn layout(config: &Gpt, vocab: usize) -> Layout {
    let (mut layout, d) = (Layout::default(), config.d_model);
    layout.push("embedding.token.weight", &[vocab, d], Role::Embedding);
    layout.push("embedding.position.weight", &[config.context, d], Role::Embedding);
    for block in 0..config.layers {
        push_block(&mut layout, block, d);
    }
    layout.push_norm("norm", d);
    layout.push("head.weight", &[d, vocab], Role::Head);
    layout
}

fn push_block(layout: &mut Layout, block: usize, d: usize) {
    let name = |part: &str| format!("blocks.{block}.{part}");
    layout.push_norm(&name("attention.norm"), d);
    layout.push_linear(&name("attention.qkv"), [d, 3 * d], Role::Matrix);
    layout.push_linear(&name("attention.output"), [d, d], Role::Residual);
    layout.push_norm(&name("mlp.norm"), d);
    layout.push_linear(&name("mlp.up"), [d, 4 * d], Role::Matrix);
    layout.push_linear(&name("mlp.down"), [4 * d, d], Role::Residual);
}
