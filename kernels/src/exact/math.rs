//! Functions of one number, sixteen at a time: polynomials and exact operations only.
//!
//! | function | how | error at most |
//! |---|---|---|
//! | [`exp`] | `x = n·ln 2 + r`; degree 6 in `r`; `2ⁿ` by its bits | 1.5 ulp |
//! | [`ln`] | `x = m·2ᵉ`, `m` about 1; degree 11 in `m − 1` | 1.5 ulp |
//! | [`sigmoid`] | `1 / (1 + exp(−x))` | 3 ulp |
//! | [`tanh`] | odd polynomial below 0.625, else `1 − 2 / (exp(2x) + 1)` | 2 ulp |
//! | [`erf`] | odd polynomial below 1, else `1 − exp(−x²)·Q(1 / (1 + x/2))` | 3 ulp |
//! | [`sin_cos`] | `x = n·π/2 + r`; odd and even polynomials in `r` | 2 ulp of 1, for `|x| ≤ 8192` |
//!
//! A test measures each. The coefficients interpolate at Chebyshev nodes in 40 digits and are rounded to `f32`. Roots and quotients are
//! correctly rounded by IEEE 754, so they need no polynomial.

use super::simd::Simd;

/// Below it, where `exp` would be less than 2e-38, it is `+0`: no result is subnormal.
const EXP_LEAST: f32 = -86.98;
/// Above it `exp` is infinite.
const EXP_MOST: f32 = 88.722_83;
/// `1.5 · 2²³`: adding it rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// A polynomial by Horner's rule, coefficients in ascending order.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut sum = s.splat(coefficients[N - 1]);
    for &coefficient in coefficients[..N - 1].iter().rev() {
        sum = s.fma(sum, x, s.splat(coefficient));
    }
    sum
}

/// `|x|`.
#[inline(always)]
pub(crate) fn abs<S: Simd>(s: S, x: S::V) -> S::V {
    s.and(x, s.splat_bits(0x7fff_ffff))
}

/// `eˣ`; `+0` below −86.98, infinite above 88.72; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let shifted = s.fma(x, s.splat(core::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.sub(shifted, s.splat(ROUND));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let q = polynomial(s, r, EXP);
    let p = s.fma(s.mul(r, r), q, r);
    // 2ⁿ in two factors: n = 128 is no exponent of its own.
    let power = s.add_bits(s.up_23(shifted), s.splat_bits(126 << 23));
    let result = s.mul(s.fma(p, power, power), s.splat(2.0));
    let result = s.if_less(x, s.splat(EXP_LEAST), s.splat(0.0), result);
    s.if_less(s.splat(EXP_MOST), x, s.splat(f32::INFINITY), result)
}

/// The natural logarithm; minus infinity at ±0, NaN below, infinity at infinity; NaN stays NaN.
#[inline(always)]
pub(crate) fn ln<S: Simd>(s: S, x: S::V) -> S::V {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let small = s.splat(f32::MIN_POSITIVE);
    // Subnormal numbers are made normal by 2²³ first.
    let scaled = s.if_less(x, small, s.mul(x, s.splat(8_388_608.0)), x);
    let from = s.if_less(x, small, s.splat(-23.0), s.splat(0.0));
    let above = s.add_bits(scaled, s.splat_bits(SQRT_HALF.wrapping_neg()));
    let exponent = s.add(s.exponent(above), from);
    let m = s.add_bits(s.and(above, s.splat_bits(0x007f_ffff)), s.splat_bits(SQRT_HALF));
    let t = s.sub(m, s.splat(1.0));
    let square = s.mul(t, t);
    let p = s.mul(s.mul(square, t), polynomial(s, t, LN));
    let p = s.fma(exponent, s.splat(LN2_LOW), p);
    let p = s.fma(square, s.splat(-0.5), p);
    let result = s.fma(exponent, s.splat(LN2_HIGH), s.add(t, p));
    let result = s.if_less(s.splat(f32::MAX), x, x, result);
    let zero = s.if_less(x, s.splat(0.0), s.splat(f32::NAN), s.splat(f32::NEG_INFINITY));
    let result = s.if_less(s.splat(0.0), x, result, zero);
    // What compares with nothing is NaN.
    s.if_less(abs(s, x), s.splat(f32::INFINITY), result, s.if_less(s.splat(0.0), x, result, s.sub(x, x)))
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let down = exp(s, s.sub(s.splat(0.0), x));
    s.div(one, s.add(one, down))
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let size = abs(s, x);
    let square = s.mul(x, x);
    let near = s.fma(s.mul(x, square), polynomial(s, square, TANH), x);
    let one = s.splat(1.0);
    let far = s.sub(one, s.div(s.splat(2.0), s.add(exp(s, s.add(size, size)), one)));
    let far = s.xor(far, s.and(x, s.splat_bits(1 << 31)));
    s.if_less(size, s.splat(0.625), near, far)
}

/// The error function.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let (size, one) = (abs(s, x), s.splat(1.0));
    let near = s.mul(x, polynomial(s, s.mul(x, x), ERF));
    // Beyond 4 the result is 1; the polynomial is not used there.
    let far = s.if_less(size, s.splat(4.0), size, s.splat(4.0));
    let t = s.div(one, s.fma(far, s.splat(0.5), one));
    let tail = s.mul(exp(s, s.sub(s.splat(0.0), s.mul(far, far))), polynomial(s, t, ERFC));
    let far = s.xor(s.sub(one, tail), s.and(x, s.splat_bits(1 << 31)));
    let result = s.if_less(size, one, near, far);
    let beyond = s.if_less(s.splat(f32::MAX), size, result, x);
    s.if_less(size, s.splat(f32::INFINITY), result, beyond)
}

/// Sine and cosine. Beyond `|x| = 8192` the reduction loses digits: the bits are still the same everywhere.
#[inline(always)]
pub(crate) fn sin_cos<S: Simd>(s: S, x: S::V) -> [S::V; 2] {
    let shifted = s.fma(x, s.splat(core::f32::consts::FRAC_2_PI), s.splat(ROUND));
    let n = s.sub(shifted, s.splat(ROUND));
    let parts: [f32; 3] = [1.570_800_8, -4.454_399_5e-6, -5.564_431_6e-11];
    let r = parts.iter().fold(x, |r, part| s.fma(n, s.splat(-part), r));
    let square = s.mul(r, r);
    let sin = s.fma(s.mul(r, square), polynomial(s, square, SIN), r);
    let cos = s.fma(square, s.splat(-0.5), s.splat(1.0));
    let cos = s.fma(s.mul(square, square), polynomial(s, square, COS), cos);
    // The lowest bit of n swaps the two, the next ones give the signs.
    let odd = s.up_23(s.and(shifted, s.splat_bits(1)));
    let swap = |even, other| s.if_less(s.splat(0.0), odd, other, even);
    let flip = |quarter: S::V, v: S::V| {
        let negative = s.up_23(s.and(quarter, s.splat_bits(2)));
        s.if_less(s.splat(0.0), negative, s.sub(s.splat(0.0), v), v)
    };
    [flip(shifted, swap(sin, cos)), flip(s.add_bits(shifted, s.splat_bits(1)), swap(cos, sin))]
}

const EXP: [f32; 5] = [0.5, 0.166_665_78, 0.041_666_556, 0.008_363_173, 0.001_392_617_6];
const LN: [f32; 9] = [
    0.333_333_3,
    -0.249_999_97,
    0.200_007_16,
    -0.166_678_03,
    0.142_490_58,
    -0.124_256_87,
    0.116_854_2,
    -0.114_797_34,
    0.069_716_12,
];
const TANH: [f32; 6] = [-0.333_333_34, 0.133_333, -0.053_958_46, 0.021_762_503, -0.008_323_187, 0.002_269_501_8];
const ERF: [f32; 8] = [
    core::f32::consts::FRAC_2_SQRT_PI,
    -0.376_126_38,
    0.112_837_82,
    -0.026_865_43,
    0.005_221_031_6,
    -0.000_848_408_03,
    0.000_112_659_59,
    -9.667_045e-6,
];
const ERFC: [f32; 9] = [
    -0.000_107_819_58,
    0.284_118_33,
    0.265_590_7,
    0.322_940_92,
    -0.038_725_007,
    0.455_822_14,
    -0.360_963_6,
    0.055_280_78,
    0.016_150_665,
];
const SIN: [f32; 4] = [-0.166_666_67, 0.008_333_332, -0.000_198_400_87, 2.724_992_6e-6];
const COS: [f32; 4] = [0.041_666_668, -0.001_388_888_8, 2.480_06e-5, -2.730_096e-7];
