//! GELU, SiLU and SwiGLU, forward and backward, elementwise.
//!
//! Both functions are `x·σ(t)`, where `t` has the sign of `x`. All is computed from the smaller of `σ(t)` and `1 − σ(t)`, which is
//! `e^−|t| / (1 + e^−|t|)`: nothing cancels, and what it is off counts little where the result is large. Infinite numbers give NaN.

use super::map::{Pointwise, pointwise};
use super::math::{abs, exp};
use super::matmul::ShapeError;
use super::pool::Pool;
use super::simd::{Kernel, LANES, Simd};

/// Values that one thread works on at a time.
const SPAN: usize = 1 << 14;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x·σ(t)`, `t = 2√(2/π)·(x + 0.044715·x³)`: the tanh form of GELU (Hendrycks & Gimpel 2016).
    Gelu,
    /// `x·σ(x)`.
    Silu,
}

/// `2√(2/π)`.
const RATE: f32 = 1.595_769_2;
/// `0.044715 · 2√(2/π)`.
const CUBE: f32 = 0.071_354_814;
/// Three times that.
const SQUARE: f32 = 0.214_064_45;

impl Activation {
    /// `fma(−|x|, small, max(x, 0))`, where `small` is the smaller of `σ(t)` and `1 − σ(t)`.
    #[inline(always)]
    pub(crate) fn value<S: Simd>(self, s: S, x: S::V) -> S::V {
        let below = s.xor(abs(s, x), s.splat_bits(1 << 31));
        s.fma(below, self.small(s, x), s.max(s.splat(0.0), x))
    }

    #[inline(always)]
    fn small<S: Simd>(self, s: S, x: S::V) -> S::V {
        let t = match self {
            Self::Gelu => s.mul(x, s.fma(s.mul(x, x), s.splat(CUBE), s.splat(RATE))),
            Self::Silu => x,
        };
        let weight = exp(s, s.xor(abs(s, t), s.splat_bits(1 << 31)));
        s.div(weight, s.add(s.splat(1.0), weight))
    }

    /// `fma(x·t′, small·(1 − small), σ)`.
    #[inline(always)]
    pub(crate) fn slope<S: Simd>(self, s: S, x: S::V) -> S::V {
        let small = self.small(s, x);
        let large = s.sub(s.splat(1.0), small);
        let along = match self {
            Self::Gelu => s.mul(x, s.fma(s.mul(x, x), s.splat(SQUARE), s.splat(RATE))),
            Self::Silu => x,
        };
        s.fma(along, s.mul(small, large), s.if_less(x, s.splat(0.0), small, large))
    }
}

impl Pointwise for Activation {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V) -> S::V {
        self.value(s, x)
    }
}

/// `out = f(x)`.
///
/// # Errors
/// The lengths differ.
pub fn activate(pool: &Pool, f: Activation, x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
    pointwise("activate", pool, f, x, out)
}

/// `grad = grad · f′(x)`, in place.
///
/// # Errors
/// The lengths differ.
pub fn activate_backward(pool: &Pool, f: Activation, x: &[f32], grad: &mut [f32]) -> Result<(), ShapeError> {
    ShapeError::unless_equal("activate_backward", &[x.len()], &[grad.len()])?;
    pool.chunks(grad, SPAN, |i, grad| pool.level().run(Slopes { f, x: &x[i * SPAN..], grad }));
    Ok(())
}

pub(crate) struct Slopes<'a> {
    pub(crate) f: Activation,
    pub(crate) x: &'a [f32],
    pub(crate) grad: &'a mut [f32],
}

impl Kernel for Slopes<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, grad) in self.x.chunks(LANES).zip(self.grad.chunks_mut(LANES)) {
            let slope = self.f.slope(s, s.get(&x[..grad.len()]));
            s.put(s.mul(s.get(grad), slope), grad);
        }
    }
}

/// `out = silu(gate) · x` (Shazeer 2020).
///
/// # Errors
/// The lengths differ.
pub fn swiglu(pool: &Pool, gate: &[f32], x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
    ShapeError::unless_equal("swiglu", &[gate.len(), x.len()], &[x.len(), out.len()])?;
    pool.chunks(out, SPAN, |i, out| pool.level().run(Gated { gate: &gate[i * SPAN..], x: &x[i * SPAN..], out }));
    Ok(())
}

struct Gated<'a> {
    gate: &'a [f32],
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for ((gate, x), out) in self.gate.chunks(LANES).zip(self.x.chunks(LANES)).zip(self.out.chunks_mut(LANES)) {
            let value = Activation::Silu.value(s, s.get(&gate[..out.len()]));
            s.put(s.mul(value, s.get(&x[..out.len()])), out);
        }
    }
}

/// Gradients of gate and `x` written over `grads`, from that of the result.
///
/// # Errors
/// The lengths differ.
pub fn swiglu_backward(
    pool: &Pool,
    [gate, x, grad]: [&[f32]; 3],
    [grad_gate, grad_x]: [&mut [f32]; 2],
) -> Result<(), ShapeError> {
    let lengths = [x.len(), grad.len(), grad_gate.len(), grad_x.len()];
    ShapeError::unless_equal("swiglu_backward", &[gate.len(); 4], &lengths)?;
    pool.pairs([(grad_gate, SPAN), (grad_x, SPAN)], |i, grad_gate, grad_x| {
        let inputs = [gate, x, grad].map(|values| &values[i * SPAN..]);
        pool.level().run(GatedBack { inputs, grad_gate, grad_x });
    });
    Ok(())
}

struct GatedBack<'a> {
    inputs: [&'a [f32]; 3],
    grad_gate: &'a mut [f32],
    grad_x: &'a mut [f32],
}

impl Kernel for GatedBack<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [gate, x, grad] = self.inputs.map(|values| values.chunks(LANES));
        let outs = self.grad_gate.chunks_mut(LANES).zip(self.grad_x.chunks_mut(LANES));
        for (((gate, x), grad), (grad_gate, grad_x)) in gate.zip(x).zip(grad).zip(outs) {
            let [gate, x, grad] = [gate, x, grad].map(|row| s.get(&row[..grad_x.len()]));
            s.put(s.mul(s.mul(grad, x), Activation::Silu.slope(s, gate)), grad_gate);
            s.put(s.mul(grad, Activation::Silu.value(s, gate)), grad_x);
        }
    }
}
