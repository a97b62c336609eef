//! Operations that burn composes of many passes over memory, each as one pass with its own backward.
//!
//! They join burn as a backend extension: on plain tensors only the forward pass runs; on tensors that track gradients the
//! forward pass also keeps what the backward pass needs. The matrix products stay burn's. The arithmetic is in `rows`
//! and `attention`, on slices; it calls no transcendental function of the platform but the logarithm of the loss.

mod attention;
mod rows;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::Token;

/// Layer normalization of the last dimension, with gain and bias `[d_model]`.
pub(super) fn norm(x: Tensor<3>, gain: Tensor<1>, bias: Tensor<1>) -> Tensor<3> {
    let (x, gain, bias) = (x.into_dispatch(), gain.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_norm(x, gain, bias))
}

/// GELU in its tanh form, elementwise.
pub(super) fn gelu(x: Tensor<3>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_gelu(x.into_dispatch()))
}

/// Causal attention: queries, keys and values side by side `[batch, seq, 3·d_model]` give `[batch, seq, d_model]`.
pub(super) fn attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_attention(qkv.into_dispatch(), heads))
}

/// Mean cross-entropy `[1]` of scores `[batch, seq, vocab]` against `batch · seq` targets, in nats.
pub(super) fn cross_entropy(scores: Tensor<3>, targets: Vec<Token>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as FusedOps>::fused_cross_entropy(scores.into_dispatch(), targets))
}

#[backend_extension(Flex, Autodiff)]
trait FusedOps: Backend {
    fn fused_norm(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    fn fused_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;
    fn fused_cross_entropy(scores: FloatTensor<Self>, targets: Vec<Token>) -> FloatTensor<Self>;
}

type Values = FloatTensor<Flex>;

impl FusedOps for Flex {
    fn fused_norm(x: Values, gain: Values, bias: Values) -> Values {
        rows::norm(&x, &gain, &bias).0
    }

    fn fused_gelu(x: Values) -> Values {
        rows::gelu(&x).0
    }

    fn fused_attention(qkv: Values, heads: usize) -> Values {
        attention::forward(&qkv, heads).0
    }

    fn fused_cross_entropy(scores: Values, targets: Vec<Token>) -> Values {
        rows::cross_entropy(&scores, &targets).0
    }
}

impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused_norm(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, x_node), (gain, gain_node), bias) = (x.into_parts(), gain.into_parts(), bias.into_parts());
        let (normed, stats) = rows::norm(&x, &gain, &bias.0);
        match Norm.prepare::<C>([x_node, gain_node, bias.1]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, gain, stats), normed),
            OpsKind::UnTracked(prep) => prep.finish(normed),
        }
    }

    fn fused_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let (y, slopes) = rows::gelu(&x);
        match Scaled.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(slopes, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn fused_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        let (qkv, node) = qkv.into_parts();
        let (mixed, shares) = attention::forward(&qkv, heads);
        match Attention.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((qkv, shares), mixed),
            OpsKind::UnTracked(prep) => prep.finish(mixed),
        }
    }

    fn fused_cross_entropy(scores: FloatTensor<Self>, targets: Vec<Token>) -> FloatTensor<Self> {
        let (scores, node) = scores.into_parts();
        let (loss, slopes) = rows::cross_entropy(&scores, &targets);
        match Scaled.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(slopes, loss),
            OpsKind::UnTracked(prep) => prep.finish(loss),
        }
    }
}

/// Backward of a function whose slopes are known: the gradient times them.
#[derive(Debug)]
struct Scaled;

impl Backward<Flex, 1> for Scaled {
    type State = Values;

    fn backward(self, ops: Ops<Values, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let slopes = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| rows::scaled(slopes, &grad));
    }
}

#[derive(Debug)]
struct Attention;

impl Backward<Flex, 1> for Attention {
    type State = (Values, Values);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (qkv, shares) = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| attention::backward(&qkv, &shares, &grad));
    }
}

#[derive(Debug)]
struct Norm;

impl Backward<Flex, 3> for Norm {
    type State = (Values, Values, Vec<rows::Moments>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, gain, stats) = ops.state;
        let slopes = rows::norm_backward(&x, &gain, &stats, &grads.consume::<Flex>(&ops.node));
        for (parent, slope) in ops.parents.into_iter().zip(slopes) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, slope);
            }
        }
    }
}
