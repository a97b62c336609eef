//! What CPUs and GPUs can both do.

use murmur_kernels::exact::{Activation, Attention, Norm};
use murmur_kernels::{AdamW, Direction, TopK};

use crate::GpuError;

/// Results, one after the other, as bits.
pub(super) type Out = Result<Vec<u32>, GpuError>;

/// A batch of products.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Matrices, rows, columns, steps.
    pub(super) sizes: [usize; 4],
    /// Whether the factors are stored transposed.
    pub(super) transposed: [bool; 2],
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
    /// What the sums start from, if not from zero.
    pub(super) start: Option<&'a [f32]>,
}

/// An embedding's tables.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) table: &'a [f32],
    pub(super) positions: &'a [f32],
    pub(super) tokens: &'a [u8],
    pub(super) seq: usize,
}

/// Something that runs kernels.
pub(super) trait Machine {
    /// The products.
    fn product(&self, job: Product<'_>) -> Out;
    /// Normed rows, and their moments.
    fn norm(&self, which: Norm, x: &[f32], gain: &[f32], bias: &[f32]) -> Out;
    /// Gradients of `x` (added to ones), gain, and bias if there is one.
    fn norm_backward(&self, which: Norm, x: &[f32], gain: &[f32], bias: bool, grad: &[f32]) -> Out;
    /// The function's values, and `grad` times its slopes.
    fn activate(&self, f: Activation, x: &[f32], grad: &[f32]) -> Out;
    /// Shares.
    fn softmax(&self, scores: &[f32], width: usize) -> Out;
    /// The loss, and the gradient.
    fn cross_entropy(&self, scores: &[f32], targets: &[u8]) -> Out;
    /// The mixed values, and the gradient of what they came from.
    fn attention(&self, sizes: Attention, qkv: &[f32], grad: &[f32]) -> Out;
    /// The rows, and both gradients.
    fn embed(&self, tables: Tables<'_>, grad: &[f32]) -> Out;
    /// Parameters and moments after some steps.
    fn adamw(&self, h: &AdamW, start: [&[f32]; 3], grads: &[Vec<f32>], scale: f32) -> Out;
    /// The norm.
    fn global_norm(&self, grads: &[f32]) -> Out;
    /// The new residual, the payload's bytes, and its norm.
    fn compress(&self, k: TopK, beta: f32, vectors: [&[f32]; 3]) -> Out;
    /// The state after one payload, two words each, and its parameters.
    fn fold(&self, k: TopK, payload: &[u8], direction: Direction, state: &[i64]) -> Out;
}
