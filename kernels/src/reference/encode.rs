//! Compression, by the definition.

use super::bits::{binary, pack, unary};
use crate::{CHUNK, CodecError, Norm, TopK, level_fixed};

/// The twin of [`crate::compress`].
///
/// # Errors
/// As the fast path.
pub fn compress(
    k: TopK,
    beta: f32,
    start: &[f32],
    end: &[f32],
    residual: &mut [f32],
    payload: &mut Vec<u8>,
) -> Result<Norm, CodecError> {
    let params = residual.len();
    if start.len() != params || end.len() != params {
        return Err(CodecError::Lengths { start: start.len(), end: end.len(), residual: params });
    }
    let fed: Vec<f32> = (0..params).map(|i| beta * residual[i] + (start[i] - end[i])).collect();
    if let Some(index) = fed.iter().position(|value| !value.is_finite()) {
        return Err(CodecError::NonFinite { index });
    }
    residual.copy_from_slice(&fed);
    let (mut bits, mut previous, mut squares) = (Vec::new(), (160, 8), 0u128);
    for residual in residual.chunks_mut(CHUNK) {
        let sent = select(residual, k.of_chunk(residual.len()));
        let (split, small, large) = levels(&sent.iter().map(|&i| residual[i].abs()).collect::<Vec<_>>());
        bits.extend(level_step(previous.0, small));
        bits.extend(level_step(previous.1, large - small));
        bits.extend(index_bits(&sent, residual.len()));
        bits.extend(sent.iter().map(|&i| residual[i].is_sign_negative()));
        let is_large = |value: f32| large > small && f64::from(value.abs()) > split;
        bits.extend(sent.iter().map(|&i| is_large(residual[i])));
        for i in sent {
            let level = level_fixed(if is_large(residual[i]) { large } else { small });
            squares += u128::from(level).pow(2);
            let magnitude = (level as f64 / 2f64.powi(40)) as f32;
            residual[i] -= magnitude.copysign(residual[i]);
        }
        previous = (small, large - small);
    }
    payload.extend(pack(&bits));
    Ok(Norm(squares.isqrt() as u64))
}

/// Indices of the `count` largest magnitudes, ties to the lowest index, ascending.
pub fn select(values: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()).then(a.cmp(&b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// The mean, and the levels for the magnitudes up to it and above it.
fn levels(magnitudes: &[f32]) -> (f64, u8, u8) {
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let all: Vec<f64> = magnitudes.iter().copied().map(f64::from).collect();
    let split = mean(&all);
    let (small, large): (Vec<f64>, Vec<f64>) = all.iter().partition(|&&magnitude| magnitude <= split);
    match (small.is_empty(), large.is_empty()) {
        (false, false) => (split, nearest_level(mean(&small)), nearest_level(mean(&large))),
        (false, true) => (split, nearest_level(mean(&small)), nearest_level(mean(&small))),
        (true, false) => (split, nearest_level(mean(&large)), nearest_level(mean(&large))),
        (true, true) => (split, 0, 0),
    }
}

/// The level nearest to a magnitude in ratio: go up while the magnitude is above the geometric middle of two neighbours.
pub fn nearest_level(magnitude: f64) -> u8 {
    let fixed = magnitude * 2f64.powi(40);
    let mut code = 0;
    while code < 255 && fixed * fixed > level_fixed(code) as f64 * level_fixed(code + 1) as f64 {
        code += 1;
    }
    code
}

fn level_step(previous: u8, code: u8) -> Vec<bool> {
    let step = i32::from(code.wrapping_sub(previous) as i8);
    let zigzag = if step < 0 { -2 * step - 1 } else { 2 * step } as u64;
    if zigzag / 2 < 10 {
        [unary(zigzag / 2), binary(zigzag % 2, 1)].concat()
    } else {
        [vec![false; 10], binary(zigzag, 8)].concat()
    }
}

fn index_bits(sent: &[usize], len: usize) -> Vec<bool> {
    let complement = 2 * sent.len() > len;
    let coded: Vec<usize> = (0..len).filter(|index| sent.binary_search(index).is_ok() != complement).collect();
    let rice = rice_parameter(coded.len(), len);
    let mut expected = 0;
    let mut gaps = Vec::new();
    for index in coded {
        gaps.push((index - expected) as u64);
        expected = index + 1;
    }
    let quotients = gaps.iter().flat_map(|gap| unary(gap >> rice));
    let remainders = gaps.iter().flat_map(|gap| binary(*gap, rice));
    quotients.chain(remainders).collect()
}

/// The number of remainder bits for `coded` of `len` indices: the least b for which y + y² ≤ 1, y = (1 − coded/len)^(2^b)
/// in 32-bit fixed point, rounded down at each squaring.
pub fn rice_parameter(coded: usize, len: usize) -> usize {
    if coded == 0 {
        return 0;
    }
    let one = 1u128 << 32;
    let mut y = (len - coded) as u128 * one / len as u128;
    let mut rice = 0;
    while y + y * y / one > one {
        y = y * y / one;
        rice += 1;
    }
    rice
}
