//! The inner optimizer: AdamW (Loshchilov & Hutter 2019, algorithm 2) fused into one pass, and the norm for clipping.
//!
//! Departure from the paper: the decay is `1 − lr · weight_decay`, as in the common libraries, and the gradient is
//! multiplied by a clipping scale on the way in.

use rayon::prelude::*;

use crate::prefetch::prefetch;
use crate::simd::{Level, per_level};
use crate::threads;

/// Parameters that one thread takes at a time; small, as each of four vectors is read and three are written.
const PART: usize = 1 << 15;

/// The settings of [`adamw`]. All dimensionless but `lr`, which has the unit of the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Step size. The schedule changes it from step to step.
    pub lr: f32,
    /// Decay of the first moment, 0 ≤ β₁ < 1; 0.9 is usual. In `f64`, as `1 − β₁` of an `f32` would be off by 2e-7.
    pub beta1: f64,
    /// Decay of the second moment, 0 ≤ β₂ < 1; 0.95 to 0.999 are usual.
    pub beta2: f64,
    /// Added to the root of the second moment; 1e-8 is usual.
    pub epsilon: f32,
    /// Decoupled weight decay, applied as `params · (1 − lr · weight_decay)`; 0.1 is usual for language models.
    pub weight_decay: f32,
}

/// One optimizer step, in place. Element by element, so the order of elements cannot matter; each operation is rounded
/// once in `f32`, so every CPU gives the same bits. Many parameters are shared out between the threads of rayon's pool.
///
/// A moment is `fma(1 − β, new − old, old)`, or `fma(β, old − new, new)` where β is below a half; nothing else is fused. The constants
/// are made in `f64` and rounded once.
///
/// `step` counts from 1 and only sets the bias correction. `scale` multiplies the gradient first (1.0: no clipping).
///
/// # Shapes
/// `params`, `grads`, `m`, `v`: `[params]`.
///
/// # Panics
/// If the lengths differ or `step` is 0: bugs of the caller.
pub fn adamw(h: &AdamW, step: u64, params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], scale: f32) {
    check(step, params, grads, m, v);
    let step = Step::new(h, step, scale);
    if !threads::pay(params.len()) {
        return apply_all(&step, params, grads, m, v);
    }
    let moments = m.par_chunks_mut(PART).zip(v.par_chunks_mut(PART));
    let parts = params.par_chunks_mut(PART).zip(grads.par_chunks(PART)).zip(moments);
    parts.for_each(|((params, grads), (m, v))| apply_all(&step, params, grads, m, v));
}

/// Not of the profile: [`adamw`] with each multiply-add rounded twice, for comparison with devices that cannot fuse.
///
/// # Panics
/// As [`adamw`].
pub fn adamw_unfused(
    h: &AdamW,
    step: u64,
    params: &mut [f32],
    grads: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    scale: f32,
) {
    check(step, params, grads, m, v);
    Step::new(h, step, scale).apply_each::<false>(params, grads, m, v);
}

fn check(step: u64, params: &[f32], grads: &[f32], m: &[f32], v: &[f32]) {
    assert!(step > 0, "optimizer steps count from 1");
    let params_count = params.len();
    assert!(
        [grads.len(), m.len(), v.len()] == [params_count; 3],
        "parameters, gradients and moments must have one length"
    );
}

per_level! {
    fn apply_all(step: &Step, params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32]) = apply_all_body
}

#[inline(always)]
fn apply_all_body(step: &Step, params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32]) {
    step.apply_each::<true>(params, grads, m, v);
}

/// How far a moment goes from one number to another.
#[derive(Clone, Copy)]
struct Blend {
    /// At most a half.
    share: f32,
    /// From the new number towards the old one; else the other way.
    from_new: bool,
}

impl Blend {
    fn new(beta: f64) -> Self {
        let from_new = beta < 0.5;
        let share = if from_new { beta } else { 1.0 - beta };
        Self { share: share as f32, from_new }
    }

    #[inline(always)]
    fn of<const FUSED: bool>(self, old: f32, new: f32) -> f32 {
        let (from, to) = if self.from_new { (new, old) } else { (old, new) };
        if FUSED { self.share.mul_add(to - from, from) } else { self.share * (to - from) + from }
    }
}

/// The constants of one step, each rounded to `f32` once.
struct Step {
    scale: f32,
    first: Blend,
    second: Blend,
    correct1: f32,
    correct2: f32,
    epsilon: f32,
    decay: f32,
    lr: f32,
}

impl Step {
    fn new(h: &AdamW, step: u64, scale: f32) -> Self {
        Self {
            scale,
            first: Blend::new(h.beta1),
            second: Blend::new(h.beta2),
            correct1: (1.0 / (1.0 - power(h.beta1, step))) as f32,
            correct2: (1.0 / (1.0 - power(h.beta2, step))) as f32,
            epsilon: h.epsilon,
            decay: (1.0 - f64::from(h.lr) * f64::from(h.weight_decay)) as f32,
            lr: h.lr,
        }
    }

    #[inline(always)]
    fn apply_each<const FUSED: bool>(&self, params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((p, g), m), v) in params.iter_mut().zip(grads).zip(m).zip(v) {
            self.apply::<FUSED>(p, *g, m, v);
        }
    }

    #[inline(always)]
    fn apply<const FUSED: bool>(&self, p: &mut f32, g: f32, m: &mut f32, v: &mut f32) {
        let g = g * self.scale;
        *m = self.first.of::<FUSED>(*m, g);
        *v = self.second.of::<FUSED>(*v, g * g);
        let direction = (*m * self.correct1) / ((*v * self.correct2).sqrt() + self.epsilon);
        *p = *p * self.decay - self.lr * direction;
    }
}

/// `base` to the power `exponent` by squaring: `f64::powi` may differ between platforms.
pub(crate) fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

const LANES: usize = 16;

/// Rows of lanes, a cache line each, that the norm asks for ahead: a quarter to a third faster than without.
const AHEAD: usize = 128;

/// The Euclidean norm of a gradient. Element `i` is squared and added in `f64` to lane `i mod 16`, in ascending order;
/// the lanes are added as a tree (8 apart, then 4, 2, 1); the root is rounded to `f32`. Overflow gives infinity.
///
/// # Shapes
/// `grads`: `[params]`.
pub fn global_norm(grads: &[f32]) -> f32 {
    // Without the instruction, a fused multiply-add is a call.
    if Level::active() == Level::Scalar { norm_body::<false>(grads) } else { norm(grads) }
}

per_level! {
    fn norm(grads: &[f32]) -> f32 = norm_body::<true>
}

/// A square of an `f32` is exact in `f64`, so that fusing it with its addition changes no bit.
#[inline(always)]
fn norm_body<const FUSED: bool>(grads: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (rows, rest) = grads.as_chunks::<LANES>();
    for (at, row) in rows.iter().enumerate() {
        rows.get(at + AHEAD).into_iter().for_each(prefetch);
        add_squares::<FUSED>(&mut lanes, row);
    }
    add_squares::<FUSED>(&mut lanes, rest);
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0].sqrt() as f32
}

#[inline(always)]
fn add_squares<const FUSED: bool>(lanes: &mut [f64; LANES], row: &[f32]) {
    for (lane, &g) in lanes.iter_mut().zip(row) {
        let g = f64::from(g);
        *lane = if FUSED { g.mul_add(g, *lane) } else { *lane + g * g };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: AdamW = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.5 };

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
        let (mut p, mut m, mut v) = ([1.0, 1.0], [0.0; 2], [0.0; 2]);
        adamw(&USUAL, 1, &mut p, &[3.0, -0.01], &mut m, &mut v, 1.0);
        assert!((p[0] - (0.95 - 0.1)).abs() < 1e-5, "{p:?}");
        assert!((p[1] - (0.95 + 0.1)).abs() < 1e-5, "{p:?}");
    }

    #[test]
    fn scaling_the_gradient_is_the_same_as_passing_a_scaled_gradient() {
        let (mut a, mut b) = ([[0.5f32], [0.0], [0.0]], [[0.5f32], [0.0], [0.0]]);
        let [p, m, v] = &mut a;
        adamw(&USUAL, 3, p, &[4.0], m, v, 0.25);
        let [p, m, v] = &mut b;
        adamw(&USUAL, 3, p, &[1.0], m, v, 1.0);
        assert_eq!(a, b);
    }

    #[test]
    fn a_moment_that_forgets_everything_is_the_new_number_and_one_of_either_kind_is_close() {
        assert_eq!(Blend::new(0.0).of::<true>(1.0, 1e-9), 1e-9);
        for beta in [0.25, 0.499, 0.5, 0.9, 0.999] {
            let moment = f64::from(Blend::new(beta).of::<true>(2.0, -1.0));
            assert!((moment - (2.0 * beta - (1.0 - beta))).abs() < 2e-7, "{beta}: {moment}");
        }
    }

    #[test]
    fn the_norm_is_right_and_does_not_overflow_early() {
        assert_eq!(global_norm(&[]), 0.0);
        assert_eq!(global_norm(&[3.0, -4.0]), 5.0);
        assert_eq!(global_norm(&[1.0; 1 << 14]), 128.0);
        assert_eq!(global_norm(&[3e30, 4e30]), 5e30);
    }

    #[test]
    fn a_large_step_count_needs_no_correction() {
        assert_eq!(power(0.9, 0), 1.0);
        assert!(power(0.9, u64::MAX) < 1e-300);
        assert!((power(0.9, 10) - 0.348_678_440_1).abs() < 1e-12);
    }
}
