//! The Euclidean norm of a gradient: the twin of [`murmur_kernels::global_norm`].
//!
//! The definition has sixteen sums in `f64`, each in ascending order, so sixteen units are all that can work on it. A square
//! of an `f32` is exact in `f64`: a compiler that fuses the product into the sum changes nothing.

use cubecl::prelude::*;

use crate::{Buffer, Gpu, GpuError};

const LANES: usize = 16;

/// Rows of sixteen numbers that are on their way from memory at once: an addition must wait for the one before it, a load need not.
const AHEAD: usize = 64;

#[cube(launch)]
fn squares(grads: &[f32], lanes: &mut [f64]) {
    let lane = UNIT_POS as usize;
    let mut sum = 0.0f64;
    let whole = grads.len() / (AHEAD * LANES);
    let mut ahead = Array::<f32>::new(AHEAD);
    for part in 0..whole {
        #[unroll]
        for row in 0..AHEAD {
            ahead[row] = grads[(part * AHEAD + row) * LANES + lane];
        }
        #[unroll]
        for row in 0..AHEAD {
            let g = f64::cast_from(ahead[row]);
            sum += g * g;
        }
    }
    for row in whole * AHEAD..grads.len().div_ceil(LANES) {
        let i = row * LANES + lane;
        if i < grads.len() {
            let g = f64::cast_from(grads[i]);
            sum += g * g;
        }
    }
    lanes[lane] = sum;
}

/// The norm; bit for bit [`murmur_kernels::global_norm`]. Waits for the device. One without `f64` sends the gradient back, and
/// the CPU computes it.
///
/// # Shapes
/// `grads`: `[params]`.
///
/// # Errors
/// The device failed.
pub fn global_norm(gpu: &Gpu, grads: &Buffer) -> Result<f32, GpuError> {
    if grads.is_empty() || !gpu.has_f64() {
        return Ok(murmur_kernels::global_norm(&gpu.read(grads)?));
    }
    let lanes = gpu.room(2 * LANES);
    let units = CubeDim::new_1d(LANES as u32);
    squares::launch(&gpu.client, CubeCount::new_single(), units, grads.arg(), lanes.arg_of(LANES));
    let words = gpu.words(&lanes)?;
    let (pairs, _) = words.as_chunks::<2>();
    let mut sums: Vec<f64> =
        pairs.iter().map(|&[low, high]| f64::from_bits(u64::from(high) << 32 | u64::from(low))).collect();
    while sums.len() > 1 {
        let half = sums.len() / 2;
        sums = (0..half).map(|lane| sums[lane] + sums[lane + half]).collect();
    }
    Ok(sums[0].sqrt() as f32)
}
