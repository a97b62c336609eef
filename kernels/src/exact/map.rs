//! A function applied to each number.

use super::math;
use super::matmul::ShapeError;
use super::pool::Pool;
use super::simd::{Kernel, LANES, Simd};

/// Values that one thread works on at a time.
const SPAN: usize = 1 << 14;

/// What is computed of each number by itself.
pub(crate) trait Pointwise: Copy + Sync {
    /// Of these numbers.
    fn of<S: Simd>(self, s: S, x: S::V) -> S::V;
}

/// A function of one number that the profile has, with the error that `math` states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `eˣ`.
    Exp,
    /// The natural logarithm.
    Ln,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// The square root, correctly rounded.
    Sqrt,
    /// `1 / √x`: two correctly rounded operations.
    Rsqrt,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::Exp, Self::Ln, Self::Sigmoid, Self::Tanh, Self::Erf, Self::Sin, Self::Cos, Self::Sqrt, Self::Rsqrt];
}

impl Pointwise for Function {
    #[inline(always)]
    fn of<S: Simd>(self, s: S, x: S::V) -> S::V {
        match self {
            Self::Exp => math::exp(s, x),
            Self::Ln => math::ln(s, x),
            Self::Sigmoid => math::sigmoid(s, x),
            Self::Tanh => math::tanh(s, x),
            Self::Erf => math::erf(s, x),
            Self::Sin => math::sin_cos(s, x)[0],
            Self::Cos => math::sin_cos(s, x)[1],
            Self::Sqrt => s.sqrt(x),
            Self::Rsqrt => s.div(s.splat(1.0), s.sqrt(x)),
        }
    }
}

/// `out = f(x)`.
///
/// # Errors
/// The lengths differ.
pub fn map(pool: &Pool, f: Function, x: &[f32], out: &mut [f32]) -> Result<(), ShapeError> {
    pointwise("map", pool, f, x, out)
}

/// `out = f(x)`, called `op` where the lengths differ.
pub(crate) fn pointwise<F: Pointwise>(
    op: &'static str,
    pool: &Pool,
    f: F,
    x: &[f32],
    out: &mut [f32],
) -> Result<(), ShapeError> {
    ShapeError::unless_equal(op, &[x.len()], &[out.len()])?;
    pool.chunks(out, SPAN, |i, out| pool.level().run(Values { f, x: &x[i * SPAN..], out }));
    Ok(())
}

struct Values<'a, F> {
    f: F,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl<F: Pointwise> Kernel for Values<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (x, out) in self.x.chunks(LANES).zip(self.out.chunks_mut(LANES)) {
            s.put(self.f.of(s, s.get(&x[..out.len()])), out);
        }
    }
}
