//! Softmax over rows, and cross-entropy fused with its gradient.

use super::math::{exp, ln};
use super::matmul::ShapeError;
use super::pool::Pool;
use super::rows::{GROUP, largest};
use super::simd::{Kernel, LANES, Simd};

/// Replaces scores by `e^(scale·score − best)` and returns `best` and the sum: `best` is the largest scaled score, and the sum runs in
/// sixteen lanes.
#[inline(always)]
pub(crate) fn weights<S: Simd>(s: S, row: &mut [f32], scale: f32) -> (f32, f32) {
    let best = largest(s, row) * scale;
    let (scale, off) = (s.splat(scale), s.splat(-best));
    let mut lanes = s.splat(0.0);
    let (whole, rest) = row.as_chunks_mut::<LANES>();
    for row in whole {
        let weight = exp(s, s.fma(s.load(row), scale, off));
        lanes = s.add(lanes, weight);
        s.store(weight, row);
    }
    let mut last = [f32::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let weight = exp(s, s.fma(s.load(&last), scale, off));
    s.store_head(weight, rest);
    (best, s.sum(s.add(lanes, s.load_head(rest))))
}

/// Multiplies a row.
#[inline(always)]
pub(crate) fn scaled<S: Simd>(s: S, row: &mut [f32], scale: f32) {
    let scale = s.splat(scale);
    for row in row.chunks_mut(LANES) {
        s.put(s.mul(s.get(row), scale), row);
    }
}

/// Each row of scores becomes shares that add up to one, in place: `exp(x − max) · (1 / Σ)`.
///
/// # Shapes
/// `values`: `[rows, width]`.
///
/// # Errors
/// The rows are not whole, or have no values.
pub fn softmax(pool: &Pool, values: &mut [f32], width: usize) -> Result<(), ShapeError> {
    whole("softmax", values.len(), width)?;
    pool.chunks(values, GROUP * width, |_, values| pool.level().run(Rows { values, width }));
    Ok(())
}

fn whole(op: &'static str, len: usize, width: usize) -> Result<(), ShapeError> {
    let fits = width > 0 && len.is_multiple_of(width);
    if fits { Ok(()) } else { Err(ShapeError { op, left: vec![len], right: vec![width] }) }
}

struct Rows<'a> {
    values: &'a mut [f32],
    width: usize,
}

impl Kernel for Rows<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.values.chunks_exact_mut(self.width) {
            let (_, mass) = weights(s, row, 1.0);
            scaled(s, row, 1.0 / mass);
        }
    }
}

/// Mean cross-entropy in nats; the scores are replaced by its gradient.
///
/// The loss of a row is `(max − score of the target) + ln Σ`; rows are added in `f64` in ascending order. The gradient is
/// `exp(x − max) · ((1 / rows) / Σ)`, less `1 / rows` at the target. A target beyond the width gives NaN.
///
/// # Shapes
/// `scores`: `[rows, width]`; `targets`, `losses`: `[rows]`. `losses` receives each row's loss.
///
/// # Errors
/// The shapes do not fit.
pub fn cross_entropy<T: Copy + Into<usize> + Sync>(
    pool: &Pool,
    scores: &mut [f32],
    targets: &[T],
    losses: &mut [f32],
) -> Result<f32, ShapeError> {
    let rows = targets.len();
    ShapeError::unless_equal("cross_entropy", &[rows], &[losses.len()])?;
    if rows == 0 {
        return Ok(f32::NAN);
    }
    let width = scores.len() / rows;
    ShapeError::unless_equal("cross_entropy", &[scores.len()], &[rows * width])?;
    whole("cross_entropy", scores.len(), width)?;
    let each = 1.0 / rows as f32;
    pool.pairs([(scores, GROUP * width), (&mut *losses, GROUP)], |group, scores, losses| {
        pool.level().run(Surprise { scores, targets: &targets[group * GROUP..], losses, width, each });
    });
    let total: f64 = losses.iter().map(|&loss| f64::from(loss)).fold(0.0, |sum, loss| sum + loss);
    Ok((total / rows as f64) as f32)
}

struct Surprise<'a, T> {
    scores: &'a mut [f32],
    targets: &'a [T],
    losses: &'a mut [f32],
    width: usize,
    each: f32,
}

impl<T: Copy + Into<usize>> Kernel for Surprise<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut masses = [1.0; GROUP];
        let rows = self.scores.chunks_exact_mut(self.width).zip(self.targets);
        for (((row, &target), loss), mass) in rows.zip(self.losses.iter_mut()).zip(&mut masses) {
            let target = target.into();
            let score = row.get(target).copied().unwrap_or(f32::NAN);
            let (best, sum) = weights(s, row, 1.0);
            (*loss, *mass) = (best - score, sum);
            scaled(s, row, self.each / sum);
            if let Some(share) = row.get_mut(target) {
                *share -= self.each;
            }
        }
        for (loss, mass) in self.losses.chunks_mut(LANES).zip(masses.as_chunks::<LANES>().0) {
            s.put(s.add(s.get(loss), ln(s, s.load(mass))), loss);
        }
    }
}
