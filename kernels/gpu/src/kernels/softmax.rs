//! Softmax over rows, and cross-entropy fused with its gradient.

use cubecl::prelude::*;

use super::lanes::{LANES, ROWS, kept, tree_largest, tree_sum, units};
use super::math::{exp, from_bits, larger, ln};
use super::round::{nothing, rounded};
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const MINUS_INFINITY: u32 = 0xff80_0000;
const NAN: u32 = 0x7fc0_0000;

/// Makes `e^(scale·score − best)` of `width` scores from `first` on, and says what `best` and the sum of them are. `best` is the
/// largest scaled score. They replace the scores, or, where `keeps` is not 0, are in `own` only. Every unit of the cube must come here;
/// `there` says whether its row exists.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn weights(
    scores: &mut [f32],
    first: usize,
    width: usize,
    there: bool,
    scale: f32,
    zero: u32,
    parts: &mut Shared<[f32]>,
    own: &mut Array<f32>,
    #[comptime] keeps: usize,
) -> (f32, f32) {
    let lane = UNIT_POS_X as usize;
    let whole = width / LANES;
    let mut most = from_bits(MINUS_INFINITY, zero);
    if comptime!(keeps > 0) {
        #[unroll]
        for step in 0..keeps {
            let mut score = 0.0f32;
            if there && step * LANES + lane < width {
                score = scores[first + step * LANES + lane];
            }
            own[step] = score;
        }
        #[unroll]
        for step in 0..keeps {
            most = select(step < whole, larger(own[step], most), most);
        }
    } else if there {
        for step in 0..whole {
            most = larger(scores[first + step * LANES + lane], most);
        }
    }
    most = tree_largest(most, parts);
    if there {
        for at in whole * LANES..width {
            most = larger(scores[first + at], most);
        }
    }
    // What was read by all is written only by its own unit, and only after all have read it.
    sync_cube();
    let best = most * scale;
    let mut sum = nothing(zero);
    if comptime!(keeps > 0) {
        #[unroll]
        for step in 0..keeps {
            let weight = exp(fma(own[step], scale, -best), zero);
            // What lies past the end adds +0, which changes no sum of weights.
            own[step] = select(step * LANES + lane < width, weight, 0.0f32);
            sum += own[step];
        }
    } else if there {
        for step in 0..whole {
            let at = first + step * LANES + lane;
            let weight = exp(fma(scores[at], scale, -best), zero);
            sum += weight;
            scores[at] = weight;
        }
        let at = whole * LANES + lane;
        let mut last = 0.0f32;
        if at < width {
            last = exp(fma(scores[first + at], scale, -best), zero);
            scores[first + at] = last;
        }
        sum += last;
    }
    (best, tree_sum(sum, parts))
}

/// Multiplies `width` weights of a row from `first` on.
#[cube]
pub(crate) fn scaled(
    values: &mut [f32],
    first: usize,
    width: usize,
    scale: f32,
    own: &Array<f32>,
    #[comptime] keeps: usize,
) {
    let lane = UNIT_POS_X as usize;
    if comptime!(keeps > 0) {
        #[unroll]
        for step in 0..keeps {
            if step * LANES + lane < width {
                values[first + step * LANES + lane] = own[step] * scale;
            }
        }
    } else {
        for step in 0..width.div_ceil(LANES) {
            let at = step * LANES + lane;
            if at < width {
                values[first + at] *= scale;
            }
        }
    }
}

#[cube(launch)]
fn shares(values: &mut [f32], rows: usize, width: usize, zero: u32, #[comptime] keeps: usize) {
    let mut parts = Shared::<[f32]>::new_slice(ROWS * LANES);
    let mut own = Array::<f32>::new(keeps.max(1));
    let row = CUBE_POS * ROWS + UNIT_POS_Y as usize;
    let there = row < rows;
    let (_best, mass) = weights(values, row * width, width, there, 1.0f32, zero, &mut parts, &mut own, keeps);
    if there {
        scaled(values, row * width, width, rounded(1.0f32 / mass, zero), &own, keeps);
    }
}

#[cube(launch)]
fn surprise(scores: &mut [f32], targets: &[u32], losses: &mut [f32], width: usize, each: f32, zero: u32) {
    let mut parts = Shared::<[f32]>::new_slice(ROWS * LANES);
    // At most 256 scores a row, which are soon read again.
    let mut own = Array::<f32>::new(1usize);
    let row = CUBE_POS * ROWS + UNIT_POS_Y as usize;
    let there = row < targets.len();
    let first = row * width;
    let mut target = 0usize;
    let mut score = from_bits(NAN, zero);
    if there {
        target = targets[row] as usize;
        if target < width {
            score = scores[first + target];
        }
    }
    let (best, mass) = weights(scores, first, width, there, 1.0f32, zero, &mut parts, &mut own, 0usize);
    if there {
        let factor = rounded(each / mass, zero);
        for step in 0..width.div_ceil(LANES) {
            let at = step * LANES + UNIT_POS_X as usize;
            if at < width {
                let mut share = rounded(scores[first + at] * factor, zero);
                if at == target {
                    share -= each;
                }
                scores[first + at] = share;
            }
        }
        if UNIT_POS_X == 0 {
            losses[row] = (best - score) + ln(mass, zero);
        }
    }
}

/// Each row of scores becomes shares that add up to one, in place.
///
/// # Shapes
/// `values`: `[rows, width]`.
///
/// # Errors
/// The rows are not whole, or have no values.
pub fn softmax(gpu: &Gpu, values: &Buffer, width: usize) -> Result<(), GpuError> {
    let rows = whole("softmax", values.len(), width)?;
    if rows > 0 {
        shares::launch(&gpu.client, cubes(rows.div_ceil(ROWS)), units(), values.arg(), rows, width, 0, kept(width));
    }
    Ok(())
}

fn whole(op: &'static str, len: usize, width: usize) -> Result<usize, GpuError> {
    let fits = width > 0 && len.is_multiple_of(width);
    if fits { Ok(len / width) } else { Err(GpuError::Shape { op, left: vec![len], right: vec![width] }) }
}

/// Mean cross-entropy in nats; the scores are replaced by its gradient. Waits for the device.
///
/// # Shapes
/// `scores`: `[rows, width]`; `targets`: `[rows]`.
///
/// # Errors
/// The shapes do not fit, or the device failed.
pub fn cross_entropy(gpu: &Gpu, scores: &Buffer, targets: &[u8]) -> Result<f32, GpuError> {
    let rows = targets.len();
    if rows == 0 {
        return Ok(f32::NAN);
    }
    let width = scores.len() / rows;
    GpuError::unless_equal("cross_entropy", &[scores.len()], &[rows * width])?;
    whole("cross_entropy", scores.len(), width)?;
    let targets: Vec<u32> = targets.iter().map(|&target| u32::from(target)).collect();
    let (targets, losses, each) = (gpu.upload_words(&targets), gpu.room(rows), 1.0 / rows as f32);
    let count = cubes(rows.div_ceil(ROWS));
    surprise::launch(&gpu.client, count, units(), scores.arg(), targets.arg(), losses.arg(), width, each, 0);
    let total = gpu.read(&losses)?.into_iter().fold(0.0, |sum, loss| sum + f64::from(loss));
    Ok((total / rows as f64) as f32)
}
