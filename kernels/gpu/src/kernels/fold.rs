//! The fixed-point state on a GPU: the twins of [`murmur_kernels::fold`] and [`murmur_kernels::to_f32`].
//!
//! A state value is two words, the low one first, as its bytes lie in memory: no device needs 64-bit integers. Payloads are
//! checked and decoded on the CPU, as a stranger's bits decide every step of it.

use cubecl::prelude::*;
use murmur_kernels::{CodecError, Direction, TopK, Weight, fold_steps};
use thiserror::Error;

use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: u32 = 256;

/// `state[indices[i]] += amounts[i]`, wrapping; no index comes twice. Amounts are two words each, too.
#[cube(launch)]
fn add(state: &mut [u32], indices: &[u32], amounts: &[u32]) {
    let i = ABSOLUTE_POS;
    if i < indices.len() {
        let at = indices[i] as usize * 2;
        let low = state[at] + amounts[2 * i];
        let carry = u32::cast_from(low < amounts[2 * i]);
        state[at] = low;
        state[at + 1] = state[at + 1] + amounts[2 * i + 1] + carry;
    }
}

/// The `f32` nearest to `state · 2^-40`, half to even, made of its bits.
#[cube(launch)]
fn convert(state: &[u32], out: &mut [f32]) {
    let i = ABSOLUTE_POS;
    if i < out.len() {
        let sign = state[2 * i + 1] & 0x8000_0000u32;
        let mut low = state[2 * i];
        let mut high = state[2 * i + 1];
        if sign != 0u32 {
            low = !low + 1u32;
            high = !high;
            if low == 0u32 {
                high += 1u32;
            }
        }
        // Shift the highest one to the top of 64 bits.
        let mut zeros = u32::leading_zeros(high);
        if high == 0u32 {
            zeros = u32::leading_zeros(low) + 32u32;
            high = low;
            low = 0u32;
        }
        let shift = zeros % 32u32;
        if shift > 0u32 {
            high = (high << shift) | (low >> (32u32 - shift));
            low <<= shift;
        }
        // 24 of them are the significand; what lies below decides the rounding.
        let mut significand = high >> 8u32;
        let tail = high & 0xffu32;
        let more = tail > 0x80u32 || (tail == 0x80u32 && (low != 0u32 || (significand & 1u32) == 1u32));
        if more {
            significand += 1u32;
        }
        let mut bits = sign;
        if zeros < 64u32 {
            // The highest one stands for 2^(63 − zeros − 40); 127 is the exponent's bias. A carry out of the significand
            // raises the exponent.
            bits |= ((149u32 - zeros) << 23u32) + significand;
        }
        out[i] = f32::reinterpret(bits);
    }
}

/// Why a payload was not folded. The state is what it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FoldError {
    /// As on the CPU.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The state does not consist of whole values.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Copies a state to the device.
pub fn upload_state(gpu: &Gpu, state: &[i64]) -> Buffer {
    gpu.upload_words(&state.iter().flat_map(|&value| words(value)).collect::<Vec<_>>())
}

fn words(value: i64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// Waits for the device and copies a state back.
///
/// # Errors
/// The device failed.
pub fn read_state(gpu: &Gpu, state: &Buffer) -> Result<Vec<i64>, GpuError> {
    let words = gpu.words(state)?;
    let (pairs, _) = words.as_chunks::<2>();
    Ok(pairs.iter().map(|&[low, high]| (u64::from(high) << 32 | u64::from(low)).cast_signed()).collect())
}

/// Folds a payload into the state; bit for bit [`murmur_kernels::fold`].
///
/// # Shapes
/// `state`: `[params]`, two words each.
///
/// # Errors
/// The payload is refused.
pub fn fold(
    gpu: &Gpu,
    k: TopK,
    payload: &[u8],
    weight: Weight,
    direction: Direction,
    state: &Buffer,
) -> Result<(), FoldError> {
    let params = state.len() / 2;
    GpuError::unless_equal("fold", &[state.len()], &[2 * params])?;
    let steps = fold_steps(k, params, payload, weight, direction)?;
    if steps.indices.is_empty() {
        return Ok(());
    }
    let amounts: Vec<u32> = steps.amounts.iter().flat_map(|&amount| words(amount)).collect();
    let count = cubes(steps.indices.len().div_ceil(UNITS as usize));
    let (indices, amounts) = (gpu.upload_words(&steps.indices), gpu.upload_words(&amounts));
    add::launch(&gpu.client, count, CubeDim::new_1d(UNITS), state.arg(), indices.arg(), amounts.arg());
    Ok(())
}

/// The parameters a state stands for; bit for bit [`murmur_kernels::to_f32`].
///
/// # Shapes
/// `state`: `[params]`, two words each. `out`: `[params]`.
///
/// # Errors
/// The lengths do not fit.
pub fn to_f32(gpu: &Gpu, state: &Buffer, out: &Buffer) -> Result<(), GpuError> {
    GpuError::unless_equal("to_f32", &[state.len()], &[2 * out.len()])?;
    let count = cubes(out.len().div_ceil(UNITS as usize));
    convert::launch(&gpu.client, count, CubeDim::new_1d(UNITS), state.arg(), out.arg());
    Ok(())
}
