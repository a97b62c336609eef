//! A linear layer: a product and what follows it, done while the rows are in cache.

use super::activation::{Activation, Slopes};
use super::matmul::{Matrix, Scratch, ShapeError, Start, matmul, matmul_then};
use super::pool::Pool;
use super::rows::{ADDED, add_groups};
use super::simd::{Kernel, LANES, Simd};

/// What follows the product.
#[derive(Clone, Copy, Debug)]
pub enum After<'a> {
    /// Nothing.
    Nothing,
    /// The bias `[n]` is added.
    Bias(&'a [f32]),
    /// The bias is added, then the residual `[m, n]`.
    Residual(&'a [f32], &'a [f32]),
}

/// `out = x · weight`, then `after`.
///
/// # Shapes
/// `x`: `[m, k]`, `weight`: `[k, n]`, `out`: `[m, n]`.
///
/// # Errors
/// The shapes do not fit.
pub fn linear(
    pool: &Pool,
    x: Matrix<'_>,
    weight: Matrix<'_>,
    after: After<'_>,
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    let n = weight.shape()[1];
    let (bias, residual): (&[f32], &[f32]) = match after {
        After::Nothing => (&[], &[]),
        After::Bias(bias) => (bias, &[]),
        After::Residual(bias, residual) => (bias, residual),
    };
    check_bias(bias, n)?;
    if !residual.is_empty() {
        ShapeError::unless_equal("linear", &[residual.len()], &[out.len()])?;
    }
    matmul_then(pool, [x, weight], Start::Zero, [out, &mut [], &mut []], scratch, |row, out, _| {
        if !bias.is_empty() {
            let residual = residual.get(row * n..).unwrap_or(&[]);
            pool.level().run(AddBias { bias, residual, out });
        }
    })
}

fn check_bias(bias: &[f32], n: usize) -> Result<(), ShapeError> {
    if bias.is_empty() { Ok(()) } else { ShapeError::unless_equal("linear", &[bias.len()], &[n]) }
}

struct AddBias<'a> {
    bias: &'a [f32],
    residual: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AddBias<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.bias.len();
        for (row, out) in self.out.chunks_exact_mut(n).enumerate() {
            let residual = self.residual.get(row * n..(row + 1) * n);
            for (i, (out, bias)) in out.chunks_mut(LANES).zip(self.bias.chunks(LANES)).enumerate() {
                let sum = s.add(s.get(out), s.get(bias));
                let sum = match residual {
                    Some(residual) => s.add(s.get(&residual[i * LANES..][..out.len()]), sum),
                    None => sum,
                };
                s.put(sum, out);
            }
        }
    }
}

/// `before = x · weight + bias` and `out = f(before)`.
///
/// # Shapes
/// As [`linear`]; `before`: `[m, n]`.
///
/// # Errors
/// The shapes do not fit.
pub fn linear_activated(
    pool: &Pool,
    [x, weight]: [Matrix<'_>; 2],
    bias: &[f32],
    f: Activation,
    [before, out]: [&mut [f32]; 2],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    ShapeError::unless_equal("linear_activated", &[bias.len()], &[weight.shape()[1]])?;
    ShapeError::unless_equal("linear_activated", &[before.len()], &[out.len()])?;
    matmul_then(pool, [x, weight], Start::Zero, [before, out, &mut []], scratch, |_, before, out| {
        pool.level().run(BiasThen { f, bias, before, out });
    })
}

struct BiasThen<'a> {
    f: Activation,
    bias: &'a [f32],
    before: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for BiasThen<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.bias.len();
        for (before, out) in self.before.chunks_exact_mut(n).zip(self.out.chunks_exact_mut(n)) {
            let places = before.chunks_mut(LANES).zip(out.chunks_mut(LANES));
            for ((before, out), bias) in places.zip(self.bias.chunks(LANES)) {
                let sum = s.add(s.get(before), s.get(bias));
                s.put(sum, before);
                s.put(self.f.value(s, sum), out);
            }
        }
    }
}

/// The gradient of a linear layer's input: `grad · weightᵀ`, times `f′(before)` if there was an activation before it.
///
/// # Shapes
/// `grad`: `[m, n]`, `weight`: `[k, n]` as stored for [`linear`], `out` and `before`: `[m, k]`.
///
/// # Errors
/// The shapes do not fit.
pub fn linear_backward(
    pool: &Pool,
    [grad, weight]: [Matrix<'_>; 2],
    before: Option<(Activation, &[f32])>,
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    let k = weight.shape()[0];
    if let Some((_, before)) = before {
        ShapeError::unless_equal("linear_backward", &[before.len()], &[out.len()])?;
    }
    matmul_then(pool, [grad, weight.transposed()], Start::Zero, [out, &mut [], &mut []], scratch, |row, out, _| {
        if let Some((f, before)) = before {
            pool.level().run(Slopes { f, x: &before[row * k..], grad: out });
        }
    })
}

/// Numbers of scratch that [`linear_grads`] wants.
pub fn linear_scratch(m: usize, n: usize) -> usize {
    m.div_ceil(ADDED) * n
}

/// The gradients of a linear layer's weight, `xᵀ · grad`, and of its bias, the sums over rows; an empty `grad_bias` is none.
///
/// # Shapes
/// `x`: `[m, k]`, `grad`: `[m, n]`, not transposed, `grad_weight`: `[k, n]`, `grad_bias`: `[n]`; `groups`: at least [`linear_scratch`].
///
/// # Errors
/// The shapes do not fit, or `grad` is transposed.
pub fn linear_grads(
    pool: &Pool,
    [x, grad]: [Matrix<'_>; 2],
    [grad_weight, grad_bias]: [&mut [f32]; 2],
    groups: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    let [m, n] = grad.shape();
    if grad_bias.is_empty() {
        return matmul(pool, x.transposed(), grad, Start::Zero, grad_weight, scratch);
    }
    ShapeError::unless_equal("linear_grads", &[usize::from(grad.transposed)], &[0])?;
    let room = linear_scratch(m, n);
    ShapeError::unless_equal("linear_grads", &[grad_bias.len(), room], &[n, groups.len().min(room)])?;
    let groups = &mut groups[..room];
    matmul_then(
        pool,
        [x.transposed(), grad],
        Start::Zero,
        [grad_weight, &mut [], &mut *groups],
        scratch,
        |_, _, _| (),
    )?;
    add_groups(pool.level(), groups, grad_bias);
    Ok(())
}
