//! LayerNorm and RMSNorm over the last dimension, forward and backward.
//!
//! LayerNorm (Ba et al. 2016): `mean = Σx / d`, `inverse = 1 / √(Σ(x − mean)² / d + 1e-5)`, `y = fma((x − mean)·inverse, gain, bias)`.
//! RMSNorm (Zhang & Sennrich 2019): the same with `mean = 0` and no bias. Sums over a row run in sixteen lanes; sums over rows
//! in groups of 16, then over pairs of groups.

use super::matmul::ShapeError;
use super::pool::Pool;
use super::rows::{ADDED, GROUP, add_pairs, sum};
use super::simd::{Kernel, LANES, Simd};

/// As in GPT-2.
const EPSILON: f32 = 1e-5;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// The mean is taken off.
    Layer,
    /// It is not.
    Rms,
}

/// What the backward pass keeps of each row: its mean and reciprocal deviation.
pub const MOMENTS: usize = 2;

/// The normed rows, and their moments.
///
/// # Shapes
/// `x`, `out`: `[rows, d]`; `gain`, `bias`: `[d]`, an empty `bias` is none; `moments`: `[rows, 2]`.
///
/// # Errors
/// The shapes do not fit.
pub fn norm(
    pool: &Pool,
    which: Norm,
    x: &[f32],
    [gain, bias]: [&[f32]; 2],
    out: &mut [f32],
    moments: &mut [f32],
) -> Result<(), ShapeError> {
    check("norm", x, gain, bias, moments)?;
    ShapeError::unless_equal("norm", &[x.len()], &[out.len()])?;
    let d = gain.len();
    pool.pairs([(out, GROUP * d), (moments, GROUP * MOMENTS)], |group, out, moments| {
        let x = &x[group * GROUP * d..];
        pool.level().run(Forward { which, x, gain, bias, out, moments });
    });
    Ok(())
}

fn check(op: &'static str, x: &[f32], gain: &[f32], bias: &[f32], moments: &[f32]) -> Result<(), ShapeError> {
    ShapeError::unless_equal(op, &[x.len()], &[moments.len() / MOMENTS * gain.len()])?;
    if bias.is_empty() { Ok(()) } else { ShapeError::unless_equal(op, &[gain.len()], &[bias.len()]) }
}

struct Forward<'a> {
    which: Norm,
    x: &'a [f32],
    gain: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
    moments: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.gain.len().max(1);
        let rows = self.x.chunks_exact(d).zip(self.out.chunks_exact_mut(d));
        for ((x, out), kept) in rows.zip(self.moments.chunks_exact_mut(MOMENTS)) {
            let count = d as f32;
            let mean = match self.which {
                Norm::Layer => sum(s, x, |x| x) / count,
                Norm::Rms => 0.0,
            };
            let inverse = 1.0 / (squares(s, x, mean) / count + EPSILON).sqrt();
            kept.copy_from_slice(&[mean, inverse]);
            let (mean, inverse) = (s.splat(mean), s.splat(inverse));
            for (i, (x, out)) in x.chunks(LANES).zip(out.chunks_mut(LANES)).enumerate() {
                let normed = s.mul(s.sub(s.get(x), mean), inverse);
                let gain = s.get(lanes(self.gain, i));
                let y = if self.bias.is_empty() {
                    s.mul(normed, gain)
                } else {
                    s.fma(normed, gain, s.get(lanes(self.bias, i)))
                };
                s.put(y, out);
            }
        }
    }
}

/// `Σ(x − mean)²`; lanes beyond the row count nothing.
#[inline(always)]
fn squares<S: Simd>(s: S, x: &[f32], mean: f32) -> f32 {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut lanes = s.splat(0.0);
    for row in whole {
        let off = s.sub(s.load(row), s.splat(mean));
        lanes = s.fma(off, off, lanes);
    }
    let mut last = [0.0; LANES];
    for (off, x) in last.iter_mut().zip(rest) {
        *off = x - mean;
    }
    let off = s.load(&last);
    s.sum(s.fma(off, off, lanes))
}

#[inline(always)]
fn lanes(values: &[f32], index: usize) -> &[f32] {
    let start = index * LANES;
    &values[start..values.len().min(start + LANES)]
}

/// Gradients of a normalization, from those of its result.
#[derive(Debug)]
pub struct NormGrads<'a> {
    /// `[rows, d]`; the gradient is added to what it holds.
    pub x: &'a mut [f32],
    /// `[d]`, set.
    pub gain: &'a mut [f32],
    /// `[d]`, set; empty where there is no bias.
    pub bias: &'a mut [f32],
}

/// Numbers of scratch that [`norm_backward`] wants.
pub fn norm_scratch(rows: usize, d: usize) -> usize {
    rows.div_ceil(ADDED) * 2 * d
}

/// Adds the gradient of `x` to `grads.x`, and sets those of gain and bias.
///
/// # Shapes
/// `grad`: `[rows, d]`; `scratch`: [`norm_scratch`].
///
/// # Errors
/// The shapes do not fit.
pub fn norm_backward(
    pool: &Pool,
    which: Norm,
    [x, gain, moments, grad]: [&[f32]; 4],
    grads: NormGrads<'_>,
    scratch: &mut [f32],
) -> Result<(), ShapeError> {
    let op = "norm_backward";
    let NormGrads { x: grad_x, gain: grad_gain, bias: grad_bias } = grads;
    check(op, x, gain, grad_bias, moments)?;
    let (d, rows) = (gain.len(), moments.len() / MOMENTS);
    ShapeError::unless_equal(op, &[x.len(), x.len(), d], &[grad.len(), grad_x.len(), grad_gain.len()])?;
    ShapeError::unless_equal(op, &[norm_scratch(rows, d)], &[scratch.len()])?;
    if x.is_empty() {
        return Ok(());
    }
    pool.pairs([(grad_x, GROUP * d), (&mut *scratch, GROUP / ADDED * 2 * d)], |group, grad_x, sums| {
        let (x, grad) = (&x[group * GROUP * d..], &grad[group * GROUP * d..]);
        let moments = &moments[group * GROUP * MOMENTS..];
        pool.level().run(Backward { which, x, gain, moments, grad, grad_x, sums });
    });
    // Gain and bias lie side by side in each group; one pass adds both.
    add_pairs(pool.level(), scratch, 2 * d);
    grad_gain.copy_from_slice(&scratch[..d]);
    let bias = grad_bias.len();
    grad_bias.copy_from_slice(&scratch[d..d + bias]);
    Ok(())
}

struct Backward<'a> {
    which: Norm,
    x: &'a [f32],
    gain: &'a [f32],
    moments: &'a [f32],
    grad: &'a [f32],
    grad_x: &'a mut [f32],
    /// For each group of rows the sums of its gains, then of its biases.
    sums: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let d = self.gain.len();
        self.sums.fill(0.0);
        let inputs = self.x.chunks_exact(d).zip(self.grad.chunks_exact(d)).zip(self.moments.chunks_exact(MOMENTS));
        for (row, (((x, grad), kept), grad_x)) in inputs.zip(self.grad_x.chunks_exact_mut(d)).enumerate() {
            let (gains, biases) = self.sums[row / ADDED * 2 * d..][..2 * d].split_at_mut(d);
            let (mean, inverse) = (s.splat(kept[0]), s.splat(kept[1]));
            let (mut pulls, mut along) = (s.splat(0.0), s.splat(0.0));
            let places = gains.chunks_mut(LANES).zip(biases.chunks_mut(LANES));
            for (i, ((x, grad), (gain_sum, bias_sum))) in
                x.chunks(LANES).zip(grad.chunks(LANES)).zip(places).enumerate()
            {
                let (normed, grad) = (s.mul(s.sub(s.get(x), mean), inverse), s.get(grad));
                let pull = s.mul(grad, s.get(lanes(self.gain, i)));
                pulls = s.add(pulls, pull);
                along = s.fma(pull, normed, along);
                s.put(s.fma(grad, normed, s.get(gain_sum)), gain_sum);
                s.put(s.add(grad, s.get(bias_sum)), bias_sum);
            }
            let count = d as f32;
            let pulls = match self.which {
                Norm::Layer => s.sum(pulls) / count,
                Norm::Rms => 0.0,
            };
            let (pulls, along) = (s.splat(pulls), s.splat(s.sum(along) / count));
            let rows = x.chunks(LANES).zip(grad.chunks(LANES)).zip(grad_x.chunks_mut(LANES));
            for (i, ((x, grad), grad_x)) in rows.enumerate() {
                let normed = s.mul(s.sub(s.get(x), mean), inverse);
                let pull = s.mul(s.get(grad), s.get(lanes(self.gain, i)));
                let off = s.fma(s.sub(s.splat(0.0), normed), along, s.sub(pull, pulls));
                s.put(s.fma(off, inverse, s.get(grad_x)), grad_x);
            }
        }
    }
}
