//! One optimizer step, fused into one pass: the twin of [`murmur_kernels::adamw`].

use cubecl::prelude::*;
use murmur_kernels::AdamW;

use super::round::rounded;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: u32 = 256;

/// `c`: scale, β₁, β₂, 1 − β₁, 1 − β₂, the two bias corrections, ε, the decay, the learning rate.
#[cube(launch)]
fn optimize(params: &mut [f32], grads: &[f32], m: &mut [f32], v: &mut [f32], c: &[f32], zero: u32) {
    let i = ABSOLUTE_POS;
    if i < params.len() {
        let g = rounded(grads[i] * c[0], zero);
        let first = rounded(c[1] * m[i], zero) + rounded(c[3] * g, zero);
        let square = rounded(g * g, zero);
        let second = rounded(c[2] * v[i], zero) + rounded(c[4] * square, zero);
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
    let correct = |beta: f32| (1.0 / (1.0 - power(f64::from(beta), step))) as f32;
    let fresh = [1.0 - h.beta1, 1.0 - h.beta2];
    let corrections = [correct(h.beta1), correct(h.beta2)];
    let decay = 1.0 - h.lr * h.weight_decay;
    [scale, h.beta1, h.beta2, fresh[0], fresh[1], corrections[0], corrections[1], h.epsilon, decay, h.lr]
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
