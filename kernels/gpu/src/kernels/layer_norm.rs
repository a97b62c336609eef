//! LayerNorm and RMSNorm over the last dimension, forward and backward: the twins of [`murmur_kernels::exact`]'s.

use cubecl::prelude::*;
use murmur_kernels::exact::{MOMENTS, Norm};

use super::lanes::{LANES, ROWS, kept, lane, tree_sum, units};
use super::round::{nothing, rounded};
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const EPSILON: f32 = 1e-5;
/// Rows whose sums over rows are added up first.
const GROUP: usize = 16;
const UNITS: usize = 64;

/// What is compiled into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Form {
    mean: bool,
    bias: bool,
    /// Numbers that a unit keeps; 0 if it reads them again.
    keeps: usize,
}

/// A row for each sixteen units. `affine` is the gain and then, if there is one, the bias.
#[cube(launch)]
fn forward(
    x: &[f32],
    affine: &[f32],
    out: &mut [f32],
    moments: &mut [f32],
    d: usize,
    zero: u32,
    #[comptime] form: Form,
) {
    let mut parts = Shared::<[f32]>::new_slice(ROWS * LANES);
    let keeps = comptime!(form.keeps);
    let mut numbers = Array::<f32>::new(keeps.max(1));
    let row = CUBE_POS * ROWS + UNIT_POS_Y as usize;
    let own = UNIT_POS_X as usize;
    let there = row * MOMENTS < moments.len();
    let first = row * d;
    let count = f32::cast_from(d as u32);
    #[unroll]
    for step in 0..keeps {
        let at = step * LANES + own;
        numbers[step] = lane(x, first, at, there && at < d);
    }
    let mut mean = 0.0f32;
    if comptime!(form.mean) {
        let mut sum = nothing(zero);
        if comptime!(keeps > 0) {
            // What lies past the end adds +0, which changes no sum that began with it.
            #[unroll]
            for step in 0..keeps {
                sum += numbers[step];
            }
        } else {
            for step in 0..d.div_ceil(LANES) {
                let at = step * LANES + own;
                sum += lane(x, first, at, there && at < d);
            }
        }
        mean = tree_sum(sum, &mut parts) / count;
    }
    let mut squares = nothing(zero);
    if comptime!(keeps > 0) {
        #[unroll]
        for step in 0..keeps {
            let off = select(there && step * LANES + own < d, numbers[step] - mean, 0.0f32);
            squares = fma(off, off, squares);
        }
    } else {
        for step in 0..d.div_ceil(LANES) {
            let at = step * LANES + own;
            let mut off = 0.0f32;
            if there && at < d {
                off = x[first + at] - mean;
            }
            squares = fma(off, off, squares);
        }
    }
    let root = (tree_sum(squares, &mut parts) / count + EPSILON).sqrt();
    let inverse = 1.0f32 / rounded(root, zero);
    if there {
        if own == 0 {
            moments[row * MOMENTS] = mean;
            moments[row * MOMENTS + 1] = inverse;
        }
        if comptime!(keeps > 0) {
            #[unroll]
            for step in 0..keeps {
                let at = step * LANES + own;
                if at < d {
                    out[first + at] = fitted(numbers[step] - mean, inverse, affine, at, d, comptime!(form.bias));
                }
            }
        } else {
            for step in 0..d.div_ceil(LANES) {
                let at = step * LANES + own;
                if at < d {
                    out[first + at] = fitted(x[first + at] - mean, inverse, affine, at, d, comptime!(form.bias));
                }
            }
        }
    }
}

#[cube]
fn fitted(off: f32, inverse: f32, affine: &[f32], at: usize, d: usize, #[comptime] bias: bool) -> f32 {
    let normed = off * inverse;
    let mut fitted = normed * affine[at];
    if comptime!(bias) {
        fitted = fma(normed, affine[at], affine[d + at]);
    }
    fitted
}

/// `grad_x` += the gradient of `x`; a row for each sixteen units.
#[cube(launch)]
fn backward(
    x: &[f32],
    gain: &[f32],
    moments: &[f32],
    grad: &[f32],
    grad_x: &mut [f32],
    zero: u32,
    #[comptime] mean_off: bool,
) {
    let mut parts = Shared::<[f32]>::new_slice(ROWS * LANES);
    let row = CUBE_POS * ROWS + UNIT_POS_Y as usize;
    let own = UNIT_POS_X as usize;
    let d = gain.len();
    let there = row * MOMENTS < moments.len();
    let first = row * d;
    let mean = lane(moments, row * MOMENTS, 0usize, there);
    let inverse = lane(moments, row * MOMENTS, 1usize, there);
    let mut pulls = nothing(zero);
    let mut along = nothing(zero);
    for step in 0..d.div_ceil(LANES) {
        let at = step * LANES + own;
        let inside = there && at < d;
        let normed = (lane(x, first, at, inside) - mean) * inverse;
        let pull = rounded(lane(grad, first, at, inside) * lane(gain, 0usize, at, inside), zero);
        pulls += pull;
        along = fma(pull, normed, along);
    }
    let count = f32::cast_from(d as u32);
    let mut pulled = 0.0f32;
    if mean_off {
        pulled = tree_sum(pulls, &mut parts) / count;
    }
    let along = tree_sum(along, &mut parts) / count;
    if there {
        for step in 0..d.div_ceil(LANES) {
            let at = step * LANES + own;
            if at < d {
                let normed = rounded((x[first + at] - mean) * inverse, zero);
                let pull = rounded(grad[first + at] * gain[at], zero);
                let off = fma(nothing(zero) - normed, along, pull - pulled);
                grad_x[first + at] = fma(off, inverse, grad_x[first + at]);
            }
        }
    }
}

/// The sums over each group of rows, a unit for each column: `[groups, 2, d]`, gain and bias.
#[cube(launch)]
fn group_sums(x: &[f32], moments: &[f32], grad: &[f32], groups: &mut [f32], d: usize, zero: u32) {
    let column = CUBE_POS_X as usize * UNITS + UNIT_POS as usize;
    let group = CUBE_POS_Y as usize;
    let rows = moments.len() / MOMENTS;
    if column < d {
        let mut gain = nothing(zero);
        let mut bias = nothing(zero);
        for row in group * GROUP..((group + 1) * GROUP).min(rows) {
            let normed = (x[row * d + column] - moments[row * MOMENTS]) * moments[row * MOMENTS + 1];
            gain = fma(grad[row * d + column], normed, gain);
            bias += grad[row * d + column];
        }
        groups[group * 2 * d + column] = gain;
        groups[(group * 2 + 1) * d + column] = bias;
    }
}

/// Each sixteen neighbours of `count` groups become one: added in pairs, then the pairs, and so on. A unit for each column of each result.
#[cube(launch)]
fn add_groups(groups: &[f32], sums: &mut [f32], count: usize, width: usize) {
    let at = ABSOLUTE_POS;
    if at < sums.len() {
        let first = at / width * GROUP;
        let mut parts = Array::<f32>::new(GROUP);
        #[unroll]
        for i in 0..GROUP {
            parts[i] = groups[(first + i).min(count - 1) * width + at % width];
        }
        #[unroll]
        for level in 0..4usize {
            #[unroll]
            for pair in 0..comptime!(GROUP >> (level + 1)) {
                let left = comptime!(pair << (level + 1));
                let right = comptime!(left + (1 << level));
                // The last of an odd number goes on alone.
                parts[left] = select(first + right < count, parts[left] + parts[right], parts[left]);
            }
        }
        sums[at] = parts[0];
    }
}

/// The normed rows, and their moments.
///
/// # Shapes
/// `x`, `out`: `[rows, d]`; `affine`: `[d]`, the gain, or `[2, d]`, gain and bias; `moments`: `[rows, 2]`.
///
/// # Errors
/// The shapes do not fit.
pub fn norm(
    gpu: &Gpu,
    which: Norm,
    x: &Buffer,
    affine: &Buffer,
    d: usize,
    [out, moments]: [&Buffer; 2],
) -> Result<(), GpuError> {
    let rows = moments.len() / MOMENTS;
    let bias = affine.len() == 2 * d;
    GpuError::unless_equal("norm", &[x.len(), out.len()], &[rows * d; 2])?;
    GpuError::unless_equal("norm", &[affine.len()], &[if bias { 2 * d } else { d }])?;
    if !x.is_empty() {
        let form = Form { mean: which == Norm::Layer, bias, keeps: kept(d) };
        let count = cubes(rows.div_ceil(ROWS));
        forward::launch(&gpu.client, count, units(), x.arg(), affine.arg(), out.arg(), moments.arg(), d, 0, form);
    }
    Ok(())
}

/// Adds the gradient of `x` to `grad_x`, and sets `grad_affine`: gain, then bias (of no meaning where there is none).
///
/// # Shapes
/// `x`, `grad`, `grad_x`: `[rows, d]`; `gain`: `[d]`; `moments`: `[rows, 2]`; `grad_affine`: `[2, d]`.
///
/// # Errors
/// The shapes do not fit.
pub fn norm_backward(
    gpu: &Gpu,
    which: Norm,
    [x, gain, moments, grad]: [&Buffer; 4],
    [grad_x, grad_affine]: [&Buffer; 2],
) -> Result<(), GpuError> {
    let (rows, d) = (moments.len() / MOMENTS, gain.len());
    GpuError::unless_equal("norm_backward", &[x.len(), grad.len(), grad_x.len()], &[rows * d; 3])?;
    GpuError::unless_equal("norm_backward", &[grad_affine.len()], &[2 * d])?;
    if x.is_empty() {
        return Ok(());
    }
    let (x, moments, grad) = (|| x.arg(), || moments.arg(), || grad.arg());
    let count = cubes(rows.div_ceil(ROWS));
    backward::launch(
        &gpu.client,
        count,
        units(),
        x(),
        gain.arg(),
        moments(),
        grad(),
        grad_x.arg(),
        0,
        which == Norm::Layer,
    );
    let groups = gpu.room(rows.div_ceil(GROUP) * 2 * d);
    let count = CubeCount::Static(d.div_ceil(UNITS) as u32, rows.div_ceil(GROUP) as u32, 1);
    let flat = CubeDim::new_1d(UNITS as u32);
    group_sums::launch(&gpu.client, count, flat, x(), moments(), grad(), groups.arg(), d, 0);
    let (mut groups, mut count, width) = (groups, rows.div_ceil(GROUP), 2 * d);
    while count > GROUP {
        let sums = gpu.room(count.div_ceil(GROUP) * width);
        add_groups::launch(
            &gpu.client,
            cubes(sums.len().div_ceil(UNITS)),
            flat,
            groups.arg(),
            sums.arg(),
            count,
            width,
        );
        (groups, count) = (sums, count.div_ceil(GROUP));
    }
    add_groups::launch(&gpu.client, cubes(width.div_ceil(UNITS)), flat, groups.arg(), grad_affine.arg(), count, width);
    Ok(())
}
