//! Between the fixed-point state and the `f32` parameters a model computes with.

use crate::simd::per_level;

/// Fraction bits of the state: a state value `s` stands for the parameter `s · 2^-40`.
///
/// 40 bits leave 2^23 for the integer part and keep the rounding of one update's value near 10^-12.
pub const FRACTION_BITS: u32 = 40;

/// Parameters stay below this in magnitude on the way in, so that ten thousand updates at the largest level and weight
/// cannot wrap the state.
const MAGNITUDE_LIMIT: f32 = (1 << 22) as f32;

/// A parameter was NaN, infinite, or 2^22 or more in magnitude. Nothing was converted.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("parameter {index} is {value}: not a finite number below 2^22")]
pub struct NonFinite {
    /// Its place in the vector.
    pub index: usize,
    /// What it was.
    pub value: f32,
}

/// The parameters a state stands for, each rounded once, half to even.
///
/// # Shapes
/// `state`: `[params]`, `out`: `[params]`.
///
/// # Panics
/// If the lengths differ: a bug of the caller.
pub fn to_f32(state: &[i64], out: &mut [f32]) {
    assert_eq!(state.len(), out.len(), "state and parameters must have one length");
    convert(state, out);
}

per_level! {
    fn convert(state: &[i64], out: &mut [f32]) = convert_body
}

#[inline(always)]
fn convert_body(state: &[i64], out: &mut [f32]) {
    const UNIT: f32 = 1.0 / (1u64 << FRACTION_BITS) as f32;
    for (parameter, &fixed) in out.iter_mut().zip(state) {
        // The conversion rounds; multiplying by a power of two cannot, as the result is far from the subnormals.
        *parameter = fixed as f32 * UNIT;
    }
}

/// The state nearest to given parameters, ties to even. Exact for every parameter of at least 2^-17 in magnitude.
///
/// # Shapes
/// `values`: `[params]`; returns `[params]`.
///
/// # Errors
/// The first parameter that is NaN, infinite, or 2^22 or more in magnitude.
pub fn from_f32(values: &[f32]) -> Result<Vec<i64>, NonFinite> {
    values.iter().enumerate().map(|(index, &value)| fixed_of(index, value)).collect()
}

fn fixed_of(index: usize, value: f32) -> Result<i64, NonFinite> {
    const SCALE: f64 = (1u64 << FRACTION_BITS) as f64;
    // Written so that NaN fails it.
    if value.abs() < MAGNITUDE_LIMIT {
        Ok((f64::from(value) * SCALE).round_ties_even() as i64)
    } else {
        Err(NonFinite { index, value })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_the_round_trip() {
        let values: Vec<f32> = (0..1000).map(|i| (i - 500) as f32 * 0.001 + 1.0 / 65536.0).collect();
        let mut back = vec![0.0; values.len()];
        to_f32(&from_f32(&values).unwrap(), &mut back);
        assert_eq!(values, back);
    }

    #[test]
    fn the_first_bad_parameter_is_named() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 4_194_304.0] {
            let error = from_f32(&[0.0, 1.0, bad, f32::NAN]).unwrap_err();
            assert_eq!(error.index, 2);
        }
        assert!(from_f32(&[4_194_303.5, -4_194_303.5]).is_ok());
    }

    #[test]
    fn the_conversion_rounds_once_to_even() {
        let mut out = [0.0; 2];
        to_f32(&[(1 << 24) + 1, (1 << 24) + 3], &mut out);
        let unit = (1u64 << 40) as f32;
        assert_eq!(out, [16_777_216.0 / unit, 16_777_220.0 / unit]);
        assert_eq!(from_f32(&[f32::from_bits(0x2b00_0000)]).unwrap(), [0], "half of 2^-40 is a tie");
    }
}
