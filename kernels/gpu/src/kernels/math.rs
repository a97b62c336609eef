//! Functions of one number: the twins of the exact profile's, operation by operation.
//!
//! Every product that a sum takes is [`rounded`], and every sum that algebra could take apart; products that are only factors
//! need not be.

use cubecl::prelude::*;

use super::round::rounded;

/// Below it `exp` is `+0`.
const EXP_LEAST: f32 = -86.98;
/// Above it `exp` is infinite.
const EXP_MOST: f32 = 88.722_83;
/// `1.5 · 2²³`: adding it rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
const LOG2_E: f32 = core::f32::consts::LOG2_E;
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;
const INFINITY: u32 = 0x7f80_0000;
const MINUS_INFINITY: u32 = 0xff80_0000;
const NAN: u32 = 0x7fc0_0000;

/// A number by its bits; as an operation at run time, as some compilers refuse constants that are not finite.
#[cube]
pub(crate) fn from_bits(#[comptime] bits: u32, zero: u32) -> f32 {
    f32::reinterpret(zero ^ bits)
}

/// `if a > b { a } else { b }`.
#[cube]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    select(a > b, a, b)
}

/// `eˣ`.
#[cube]
pub(crate) fn exp(x: f32, zero: u32) -> f32 {
    let shifted = rounded(fma(x, LOG2_E, ROUND), zero);
    let n = shifted - ROUND;
    let r = rounded(fma(n, -LN2_HIGH, x), zero);
    let r = rounded(fma(n, -LN2_LOW, r), zero);
    let q = rounded(fma(0.001_392_617_6f32, r, 0.008_363_173f32), zero);
    let q = rounded(fma(q, r, 0.041_666_556f32), zero);
    let q = rounded(fma(q, r, 0.166_665_78f32), zero);
    let q = rounded(fma(q, r, 0.5f32), zero);
    let p = rounded(fma(rounded(r * r, zero), q, r), zero);
    let power = f32::reinterpret((u32::reinterpret(shifted) << 23u32) + (126u32 << 23u32));
    let result = rounded(fma(p, power, rounded(power, zero)), zero) * 2.0f32;
    let result = select(x < EXP_LEAST, 0.0f32, result);
    select(x > EXP_MOST, from_bits(INFINITY, zero), result)
}

/// The natural logarithm; minus infinity at ±0, NaN below, infinity at infinity; NaN stays NaN.
#[cube]
pub(crate) fn ln(x: f32, zero: u32) -> f32 {
    let small = x < f32::MIN_POSITIVE;
    let scaled = select(small, x * 8_388_608.0f32, x);
    let from = select(small, -23.0f32, 0.0f32);
    let above = u32::reinterpret(scaled) - 0x3f35_04f3u32;
    let exponent = f32::cast_from(i32::reinterpret(above) >> 23i32) + from;
    let m = f32::reinterpret((above & 0x007f_ffffu32) + 0x3f35_04f3u32);
    let t = rounded(m - 1.0f32, zero);
    let square = rounded(t * t, zero);
    let q = fma(0.069_716_12f32, t, -0.114_797_34f32);
    let q = fma(q, t, 0.116_854_2f32);
    let q = fma(q, t, -0.124_256_87f32);
    let q = fma(q, t, 0.142_490_58f32);
    let q = fma(q, t, -0.166_678_03f32);
    let q = fma(q, t, 0.200_007_16f32);
    let q = fma(q, t, -0.249_999_97f32);
    let q = fma(q, t, 0.333_333_3f32);
    let p = rounded(rounded(square * t, zero) * q, zero);
    let p = rounded(fma(exponent, LN2_LOW, p), zero);
    let p = rounded(fma(square, -0.5f32, p), zero);
    let result = fma(exponent, LN2_HIGH, rounded(t + p, zero));
    let result = select(x > f32::MAX, x, result);
    let outside = select(x < 0.0f32, from_bits(NAN, zero), from_bits(MINUS_INFINITY, zero));
    let result = select(x > 0.0f32, result, outside);
    // What compares with nothing is NaN.
    let beyond = select(x > 0.0f32, result, from_bits(NAN, zero));
    select(x.abs() < from_bits(INFINITY, zero), result, beyond)
}
