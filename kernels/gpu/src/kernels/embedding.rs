//! Rows of a table, looked up, and their gradient.

use cubecl::prelude::*;

use super::round::nothing;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

const UNITS: usize = 256;

/// `out[i] = table[tokens[i]] + positions[i mod seq]`, a unit for each number.
#[cube(launch)]
fn look_up(table: &[f32], positions: &[f32], tokens: &[u32], out: &mut [f32], seq: usize, d: usize) {
    let at = ABSOLUTE_POS;
    if at < out.len() {
        let row = at / d;
        out[at] = table[tokens[row] as usize * d + at % d] + positions[row % seq * d + at % d];
    }
}

/// `sums[r]` is the sum of the rows of `grad` that `uses[starts[r]..starts[r + 1]]` names, in that order from `+0`.
#[cube(launch)]
fn gather(grad: &[f32], starts: &[u32], uses: &[u32], sums: &mut [f32], d: usize, zero: u32) {
    let at = ABSOLUTE_POS;
    if at < sums.len() {
        let row = at / d;
        let mut sum = nothing(zero);
        for i in starts[row] as usize..starts[row + 1] as usize {
            sum += grad[uses[i] as usize * d + at % d];
        }
        sums[at] = sum;
    }
}

/// The sum of each token's row and its position's.
///
/// # Shapes
/// `table`: `[vocab, d]`, `positions`: `[≥ seq, d]`, `tokens`: `[batch · seq]`, `out`: `[batch · seq, d]`.
///
/// # Errors
/// The shapes do not fit, or a token is beyond the table.
pub fn embed(
    gpu: &Gpu,
    [table, positions]: [&Buffer; 2],
    tokens: &[u8],
    seq: usize,
    out: &Buffer,
) -> Result<(), GpuError> {
    let d = check("embed", table.len(), tokens, seq, out.len())?;
    if positions.len() < seq * d {
        return Err(GpuError::Shape { op: "embed", left: vec![positions.len()], right: vec![seq, d] });
    }
    let tokens = gpu.upload_words(&tokens.iter().map(|&token| u32::from(token)).collect::<Vec<_>>());
    let units = CubeDim::new_1d(UNITS as u32);
    let count = cubes(out.len().div_ceil(UNITS));
    look_up::launch(&gpu.client, count, units, table.arg(), positions.arg(), tokens.arg(), out.arg(), seq, d);
    Ok(())
}

/// The width of a row.
fn check(op: &'static str, table: usize, tokens: &[u8], seq: usize, out: usize) -> Result<usize, GpuError> {
    let d = out.checked_div(tokens.len()).unwrap_or(0);
    let whole = seq > 0 && d > 0 && tokens.len().is_multiple_of(seq) && out == tokens.len() * d;
    let most = tokens.iter().max().map_or(0, |&token| usize::from(token) + 1);
    if whole && most * d <= table && table.is_multiple_of(d) {
        return Ok(d);
    }
    Err(GpuError::Shape { op, left: vec![table], right: vec![tokens.len(), seq, out, most] })
}

/// Gradients of both tables, written over `grad_table` and `grad_positions`: each row is the sum, from `+0`, over the places where
/// it was used, in ascending order. The CPU, which has the tokens, makes the lists of places.
///
/// # Shapes
/// `grad`: `[batch · seq, d]`; positions beyond `seq` get zero.
///
/// # Errors
/// The shapes do not fit, or a token is beyond the table.
pub fn embed_backward(
    gpu: &Gpu,
    grad: &Buffer,
    tokens: &[u8],
    seq: usize,
    [grad_table, grad_positions]: [&Buffer; 2],
) -> Result<(), GpuError> {
    let d = check("embed_backward", grad_table.len(), tokens, seq, grad.len())?;
    if grad_positions.len() < seq * d || !grad_positions.len().is_multiple_of(d) {
        return Err(GpuError::Shape { op: "embed_backward", left: vec![grad_positions.len()], right: vec![seq, d] });
    }
    let used: Vec<usize> = tokens.iter().map(|&token| usize::from(token)).collect();
    let places: Vec<usize> = (0..tokens.len()).map(|i| i % seq).collect();
    for (used, sums) in [(used, grad_table), (places, grad_positions)] {
        let (starts, uses) = lists(&used, sums.len() / d);
        let (starts, uses) = (gpu.upload_words(&starts), gpu.upload_words(&uses));
        let units = CubeDim::new_1d(UNITS as u32);
        let count = cubes(sums.len().div_ceil(UNITS));
        gather::launch(&gpu.client, count, units, grad.arg(), starts.arg(), uses.arg(), sums.arg(), d, 0);
    }
    Ok(())
}

/// For each of `rows` rows the places in `used` that name it, ascending, one list after the other; and where each list begins.
fn lists(used: &[usize], rows: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0; rows + 1];
    used.iter().for_each(|&row| starts[row + 1] += 1);
    for row in 0..rows {
        starts[row + 1] += starts[row];
    }
    let mut next = starts.clone();
    let mut uses = vec![0; used.len()];
    for (place, &row) in used.iter().enumerate() {
        uses[next[row] as usize] = place as u32;
        next[row] += 1;
    }
    (starts, uses)
}
