//! GELU and SiLU, forward and backward, elementwise.

use cubecl::prelude::*;
use murmur_kernels::exact::Activation;

use super::math::{exp, larger};
use super::round::{nothing, rounded};
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: u32 = 256;
/// Numbers of one unit: enough are then on their way from memory at once to keep it busy. Neighbouring units have neighbouring numbers.
const EACH: usize = 4;
const RATE: f32 = 1.595_769_2;
const CUBE: f32 = 0.071_354_814;
const SQUARE: f32 = 0.214_064_45;

/// `x·(1 + c·x²)·2√(2/π)`, where `square` is `c·2√(2/π)`.
#[cube]
fn along(x: f32, square: f32, zero: u32) -> f32 {
    let factor = rounded(fma(rounded(x * x, zero), square, RATE), zero);
    rounded(x * factor, zero)
}

/// `−|x|`, by its bits: `−0` for either zero.
#[cube]
fn below(x: f32) -> f32 {
    f32::reinterpret(u32::reinterpret(x) | 0x8000_0000u32)
}

/// The smaller of `σ(t)` and `1 − σ(t)`.
#[cube]
fn small(x: f32, zero: u32, #[comptime] gelu: bool) -> f32 {
    let mut t = x;
    if gelu {
        t = along(x, CUBE, zero);
    }
    let weight = rounded(exp(below(t), zero), zero);
    rounded(weight / rounded(1.0f32 + weight, zero), zero)
}

/// The place of a unit's number.
#[cube]
fn place(#[comptime] number: usize) -> usize {
    (CUBE_POS * EACH + number) * UNITS as usize + UNIT_POS as usize
}

/// A unit's numbers, and 0 beyond the end.
#[cube]
fn numbers(x: &[f32]) -> Array<f32> {
    let mut found = Array::<f32>::new(EACH);
    #[unroll]
    for number in 0..EACH {
        found[number] = 0.0f32;
        if place(number) < x.len() {
            found[number] = x[place(number)];
        }
    }
    found
}

#[cube(launch)]
fn values(x: &[f32], out: &mut [f32], zero: u32, #[comptime] gelu: bool) {
    let all = numbers(x);
    #[unroll]
    for number in 0..EACH {
        let at = all[number];
        let value = fma(below(at), small(at, zero, gelu), larger(nothing(zero), at));
        if place(number) < out.len() {
            out[place(number)] = value;
        }
    }
}

#[cube(launch)]
fn slopes(x: &[f32], grad: &mut [f32], zero: u32, #[comptime] gelu: bool) {
    let all = numbers(x);
    let grads = numbers(&*grad);
    #[unroll]
    for number in 0..EACH {
        let at = all[number];
        let less = small(at, zero, gelu);
        let more = rounded(1.0f32 - less, zero);
        let mut slope = at;
        if gelu {
            slope = along(at, SQUARE, zero);
        }
        let share = select(at < 0.0f32, less, more);
        let made = grads[number] * rounded(fma(slope, rounded(less * more, zero), share), zero);
        if place(number) < grad.len() {
            grad[place(number)] = made;
        }
    }
}

/// `out = f(x)`.
///
/// # Errors
/// The lengths differ.
pub fn activate(gpu: &Gpu, f: Activation, x: &Buffer, out: &Buffer) -> Result<(), GpuError> {
    GpuError::unless_equal("activate", &[x.len()], &[out.len()])?;
    let count = cubes(x.len().div_ceil(EACH * UNITS as usize));
    values::launch(&gpu.client, count, CubeDim::new_1d(UNITS), x.arg(), out.arg(), 0, f == Activation::Gelu);
    Ok(())
}

/// `grad = grad · f′(x)`, in place.
///
/// # Errors
/// The lengths differ.
pub fn activate_backward(gpu: &Gpu, f: Activation, x: &Buffer, grad: &Buffer) -> Result<(), GpuError> {
    GpuError::unless_equal("activate_backward", &[x.len()], &[grad.len()])?;
    let count = cubes(x.len().div_ceil(EACH * UNITS as usize));
    slopes::launch(&gpu.client, count, CubeDim::new_1d(UNITS), x.arg(), grad.arg(), 0, f == Activation::Gelu);
    Ok(())
}
