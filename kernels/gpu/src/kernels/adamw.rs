//! One optimizer step, fused into one pass: the twin of [`murmur_kernels::adamw`].

use cubecl::prelude::*;
use murmur_kernels::AdamW;

use super::round::rounded;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: u32 = 256;

/// From the one number a share of the way to the other.
#[cube]
fn between(old: f32, new: f32, share: f32, from_new: bool, zero: u32) -> f32 {
    let from = select(from_new, new, old);
    let to = select(from_new, old, new);
    rounded(fma(share, rounded(to - from, zero), from), zero)
}

/// `c`: scale, the share of each moment and whether it starts from the new number (1) or the old one (0), the two bias corrections, ε,
/// the decay, the learning rate.
#[cube(launch)]
fn optimize(params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], c: &[f32], zero: u32) {
    let i = ABSOLUTE_POS;
    if i < params.len() {
        let g = rounded(grads[i] * c[0], zero);
        let square = rounded(g * g, zero);
        let first = between(m[i], g, c[1], c[3] > 0.5f32, zero);
        let second = between(v[i], square, c[2], c[4] > 0.5f32, zero);
        m[i] = first;
        v[i] = second;
        let root = rounded(second * c[6], zero).sqrt();
        let direction = rounded(first * c[5], zero) / (root + c[7]);
        params[i] = rounded(params[i] * c[8], zero) - rounded(c[9] * direction, zero);
    }
}

/// One optimizer step, in place; bit for bit [`murmur_kernels::adamw`].
///
/// # Shapes
/// `params`, `grads`, `m`, `v`: `[params]`.
///
/// # Errors
/// The lengths differ.
///
/// # Panics
/// If `step` is 0: a bug of the caller.
pub fn adamw(gpu: &Gpu, h: &AdamW, step: u64, [params, grads, m, v]: [&Buffer; 4], scale: f32) -> Result<(), GpuError> {
    assert!(step > 0, "optimizer steps count from 1");
    let lens = [grads.len(), m.len(), v.len()];
    GpuError::unless_equal("adamw", &lens, &[params.len(); 3])?;
    let constants = gpu.upload(&constants(h, step, scale));
    let count = cubes(params.len().div_ceil(UNITS as usize));
    optimize::launch(
        &gpu.client,
        count,
        CubeDim::new_1d(UNITS),
        params.arg(),
        grads.arg(),
        m.arg(),
        v.arg(),
        constants.arg(),
        0,
    );
    Ok(())
}

/// Each rounded to `f32` once.
fn constants(h: &AdamW, step: u64, scale: f32) -> [f32; 10] {
    let correct = |beta: f64| (1.0 / (1.0 - power(beta, step))) as f32;
    let [first, second] =
        [h.beta1, h.beta2].map(|beta| if beta < 0.5 { (beta as f32, 1.0) } else { ((1.0 - beta) as f32, 0.0) });
    let decay = (1.0 - f64::from(h.lr) * f64::from(h.weight_decay)) as f32;
    [scale, first.0, second.0, first.1, second.1, correct(h.beta1), correct(h.beta2), h.epsilon, decay, h.lr]
}

/// By squaring: `f64::powi` may differ between platforms.
fn power(mut base: f64, mut exponent: u64) -> f64 {
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
