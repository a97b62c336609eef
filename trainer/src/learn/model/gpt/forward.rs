//! The forward pass on burn tensors.

use burn::tensor::module::{embedding, linear};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Gpt;
use crate::learn::model::{Layout, Token, fused};

/// The tensors of a layout, handed out in its order.
struct Weights<'a> {
    layout: &'a Layout,
    leaves: &'a [Tensor<1>],
    next: usize,
}

impl Weights<'_> {
    fn vector(&mut self) -> Tensor<1> {
        self.next += 1;
        self.leaves[self.next - 1].clone()
    }

    fn matrix(&mut self) -> Tensor<2> {
        let shape = &self.layout.entries()[self.next].shape;
        let shape = [shape[0], shape[1]];
        self.vector().reshape(shape)
    }

    fn linear<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        linear(x, self.matrix(), Some(self.vector()))
    }

    fn norm(&mut self, x: Tensor<3>) -> Tensor<3> {
        fused::norm(x, self.vector(), self.vector())
    }
}

/// Scores `[batch, seq, vocab]` of the token that follows each position of `tokens` `[batch, seq]`.
///
/// `leaves` are the tensors of the layout, in its order, each flattened.
pub(super) fn logits(config: &Gpt, layout: &Layout, leaves: &[Tensor<1>], tokens: Tensor<2, Int>) -> Tensor<3> {
    let mut weights = Weights { layout, leaves, next: 0 };
    let [_, seq] = tokens.dims();
    let token = embedding(weights.matrix(), tokens);
    let position = weights.matrix().narrow(0, 0, seq).unsqueeze::<3>();
    let mut x = token + position;
    for _ in 0..config.layers {
        x = x.clone() + attention(&mut weights, config.heads, x);
        x = x.clone() + mlp(&mut weights, x);
    }
    let x = weights.norm(x);
    linear(x, weights.matrix(), None)
}

fn attention(weights: &mut Weights<'_>, heads: usize, x: Tensor<3>) -> Tensor<3> {
    let normed = weights.norm(x);
    let qkv = weights.linear(normed);
    weights.linear(fused::attention(qkv, heads))
}

fn mlp(weights: &mut Weights<'_>, x: Tensor<3>) -> Tensor<3> {
    let normed = weights.norm(x);
    let up = weights.linear(normed);
    weights.linear(fused::gelu(up))
}

/// `[rows, columns]` tokens as burn's integers.
pub(super) fn token_tensor(tokens: &[Token], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = tokens.iter().map(|token| token.0.cast_signed()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
