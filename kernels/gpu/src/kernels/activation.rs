//! GELU and SiLU, forward and backward, elementwise.

use cubecl::prelude::*;
use murmur_kernels::exact::Activation;

use super::math::sigmoid;
use super::round::rounded;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: u32 = 256;
const RATE: f32 = 1.595_769;
const CUBE: f32 = 0.044_715;

#[cube]
fn share(x: f32, zero: u32, #[comptime] gelu: bool) -> f32 {
    let mut at = x;
    if gelu {
        let cube = rounded(fma(rounded(x * x, zero), CUBE, 1.0f32), zero);
        at = rounded(rounded(x * cube, zero) * RATE, zero);
    }
    sigmoid(at, zero)
}

#[cube(launch)]
fn values(x: &[f32], out: &mut [f32], zero: u32, #[comptime] gelu: bool) {
    let i = ABSOLUTE_POS;
    if i < x.len() {
        out[i] = x[i] * share(x[i], zero, gelu);
    }
}

#[cube(launch)]
fn slopes(x: &[f32], grad: &mut [f32], zero: u32, #[comptime] gelu: bool) {
    let i = ABSOLUTE_POS;
    if i < x.len() {
        let at = x[i];
        let part = share(at, zero, gelu);
        let mut steepness = 1.0f32;
        if gelu {
            let growth = rounded(fma(rounded(at * at, zero), 3.0f32 * CUBE, 1.0f32), zero);
            steepness = rounded(growth * RATE, zero);
        }
        let bend = rounded(rounded(at * part, zero) * rounded(1.0f32 - part, zero), zero);
        grad[i] *= rounded(fma(bend, steepness, rounded(part, zero)), zero);
    }
}

/// `out = f(x)`.
///
/// # Errors
/// The lengths differ.
pub fn activate(gpu: &Gpu, f: Activation, x: &Buffer, out: &Buffer) -> Result<(), GpuError> {
    GpuError::unless_equal("activate", &[x.len()], &[out.len()])?;
    let count = cubes(x.len().div_ceil(UNITS as usize));
    values::launch(&gpu.client, count, CubeDim::new_1d(UNITS), x.arg(), out.arg(), 0, f == Activation::Gelu);
    Ok(())
}

/// `grad = grad · f′(x)`, in place.
///
/// # Errors
/// The lengths differ.
pub fn activate_backward(gpu: &Gpu, f: Activation, x: &Buffer, grad: &Buffer) -> Result<(), GpuError> {
    GpuError::unless_equal("activate_backward", &[x.len()], &[grad.len()])?;
    let count = cubes(x.len().div_ceil(UNITS as usize));
    slopes::launch(&gpu.client, count, CubeDim::new_1d(UNITS), x.arg(), grad.arg(), 0, f == Activation::Gelu);
    Ok(())
}
