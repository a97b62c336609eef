//! The carry in two bytes per parameter, and one more for each second moment.
//!
//! Sealed bytes are the optimizer (1 byte) and `steps` as little-endian `u64`; then per 4096-chunk of `len` parameters
//!
//! | part | bytes | meaning |
//! |---|---|---|
//! | scale of m | 4 | largest magnitude in the chunk, `f32` little-endian; below 2^-119, zero |
//! | scale of the residual | 4 | the same |
//! | m | len | `i8`: round(m · 127 / scale), half away from zero |
//! | residual | len | as m |
//!
//! and then per 4096-chunk of `len` second moments
//!
//! | part | bytes | meaning |
//! |---|---|---|
//! | exponent of v | 1 | biased `f32` exponent of the chunk's largest, rounded up |
//! | v | len | 0: zero; else a code with 3 mantissa bits and 32 exponents below the chunk's, rounded up |
//!
//! v is rounded up, so that it is never zero while it was not: a step divides by its root. What is unsealed seals to the
//! same bytes again, and bytes for which that would not hold are refused, so a carry has one sealed form.

use crate::simd::per_level;
use crate::{CHUNK, Carry, CarryError, CarryShape, Optimizer};

/// The optimizer, then the steps.
const HEADER_BYTES: usize = 1 + 8;
/// Two scales.
const LINEAR_HEADER_BYTES: usize = 8;
/// One exponent.
const LOG_HEADER_BYTES: usize = 1;
const LINEAR_MAX: f64 = 127.0;
/// Below this, 127 steps would not be distinct normal numbers, and the chunk counts as zero.
const LINEAR_SCALE_MIN: f32 = 128.0 * f32::MIN_POSITIVE;

impl Carry {
    /// Seals the carry. A NaN is sealed as zero, an infinity as the largest number, a negative second moment as zero.
    ///
    /// # Shapes
    /// Returns [`CarryShape::sealed_bytes`].
    ///
    /// # Panics
    /// If momentum and residual differ in length: a bug of the caller.
    pub fn seal(&self) -> Vec<u8> {
        assert_eq!(self.residual.len(), self.m.len(), "momentum and residual must have one length");
        let shape = self.shape();
        let mut bytes = vec![0; shape.sealed_bytes()];
        let (header, body) = bytes.split_at_mut(HEADER_BYTES);
        header[0] = self.optimizer.code();
        header[1..].copy_from_slice(&self.steps.to_le_bytes());
        let (linear, log) = body.split_at_mut(shape.linear_bytes());
        let chunks = self.m.chunks(CHUNK).zip(self.residual.chunks(CHUNK));
        for ((m, residual), bytes) in chunks.zip(linear.chunks_mut(LINEAR_HEADER_BYTES + 2 * CHUNK)) {
            seal_linear_chunk(m, residual, bytes);
        }
        for (v, bytes) in self.v.chunks(CHUNK).zip(log.chunks_mut(LOG_HEADER_BYTES + CHUNK)) {
            seal_log_chunk(v, bytes);
        }
        bytes
    }

    /// Opens sealed bytes of a carry of this shape. Allocates only after the length is checked.
    ///
    /// # Errors
    /// If the optimizer is another, the length is wrong, a scale is not a finite magnitude, or the bytes are not what
    /// [`Carry::seal`] makes of any carry. A chunk that is named counts those of m and the residual first, then those of v.
    pub fn unseal(shape: CarryShape, bytes: &[u8]) -> Result<Self, CarryError> {
        let expected = shape.sealed_bytes();
        let wrong = CarryError::Length { expected, given: bytes.len() };
        let ([code, steps @ ..], body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(wrong)?;
        if *code != shape.optimizer.code() {
            let given = Optimizer::ALL.into_iter().find(|optimizer| optimizer.code() == *code);
            let given = given.map_or("an unknown optimizer", Optimizer::name);
            return Err(CarryError::Optimizer { expected: shape.optimizer, given });
        }
        if bytes.len() != expected {
            return Err(wrong);
        }
        let steps = u64::from_le_bytes(*steps);
        if steps > Self::STEPS_MAX {
            return Err(CarryError::Steps { given: steps });
        }
        let mut carry = Self { steps, ..Self::fresh(shape) };
        carry.fill(body)?;
        Ok(carry)
    }

    /// Becomes what [`Carry::unseal`] makes of `sealed`, which this carry was sealed to, in place: a second one of a large model
    /// may be more than a machine holds.
    ///
    /// # Errors
    /// Those of [`Carry::unseal`]; the carry is then of no use.
    pub fn reopen(&mut self, sealed: &[u8]) -> Result<(), CarryError> {
        let expected = self.shape().sealed_bytes();
        let body = sealed.get(HEADER_BYTES..).filter(|_| sealed.len() == expected);
        let body = body.ok_or(CarryError::Length { expected, given: sealed.len() })?;
        self.fill(body)
    }

    /// Unseals all vectors, whose lengths fit.
    fn fill(&mut self, body: &[u8]) -> Result<(), CarryError> {
        let (shape, carry) = (self.shape(), self);
        let (linear, log) = body.split_at(shape.linear_bytes());
        let chunks = carry.m.chunks_mut(CHUNK).zip(carry.residual.chunks_mut(CHUNK));
        for (chunk, ((m, residual), bytes)) in chunks.zip(linear.chunks(LINEAR_HEADER_BYTES + 2 * CHUNK)).enumerate() {
            unseal_linear_chunk(bytes, m, residual).map_err(|fault| fault.at(chunk))?;
        }
        let before = shape.params.div_ceil(CHUNK);
        for (chunk, (v, bytes)) in carry.v.chunks_mut(CHUNK).zip(log.chunks(LOG_HEADER_BYTES + CHUNK)).enumerate() {
            unseal_log_chunk(bytes, v).map_err(|fault| fault.at(before + chunk))?;
        }
        Ok(())
    }
}

impl CarryShape {
    /// Length of the sealed form.
    pub fn sealed_bytes(self) -> usize {
        let log = self.second_moments + LOG_HEADER_BYTES * self.second_moments.div_ceil(CHUNK);
        HEADER_BYTES + self.linear_bytes() + log
    }

    fn linear_bytes(self) -> usize {
        2 * self.params + LINEAR_HEADER_BYTES * self.params.div_ceil(CHUNK)
    }
}

/// A fault without its place.
enum Fault {
    Scale,
    NotCanonical,
}

impl Fault {
    fn at(self, chunk: usize) -> CarryError {
        match self {
            Self::Scale => CarryError::Scale { chunk },
            Self::NotCanonical => CarryError::NotCanonical { chunk },
        }
    }
}

per_level! {
    /// Fills `bytes`, which are of the right length.
    fn seal_linear_chunk(m: &[f32], residual: &[f32], bytes: &mut [u8]) = seal_linear_chunk_body
}

#[inline(always)]
fn seal_linear_chunk_body(m: &[f32], residual: &[f32], bytes: &mut [u8]) {
    let (header, body) = bytes.split_at_mut(LINEAR_HEADER_BYTES);
    let (m_codes, residual_codes) = body.split_at_mut(m.len());
    header[..4].copy_from_slice(&seal_linear(m, m_codes).to_le_bytes());
    header[4..].copy_from_slice(&seal_linear(residual, residual_codes).to_le_bytes());
}

per_level! {
    /// Fills `bytes`, which are of the right length.
    fn seal_log_chunk(v: &[f32], bytes: &mut [u8]) = seal_log_chunk_body
}

#[inline(always)]
fn seal_log_chunk_body(v: &[f32], bytes: &mut [u8]) {
    let (header, codes) = bytes.split_at_mut(LOG_HEADER_BYTES);
    header[0] = seal_log(v, codes);
}

per_level! {
    fn unseal_linear_chunk(bytes: &[u8], m: &mut [f32], residual: &mut [f32]) -> Result<(), Fault> = unseal_linear_chunk_body
}

#[inline(always)]
fn unseal_linear_chunk_body(bytes: &[u8], m: &mut [f32], residual: &mut [f32]) -> Result<(), Fault> {
    let (header, body) = bytes.split_at(LINEAR_HEADER_BYTES);
    let scale = |at: usize| f32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (m_codes, residual_codes) = body.split_at(m.len());
    unseal_linear(m_codes, scale(0), m)?;
    unseal_linear(residual_codes, scale(4), residual)
}

per_level! {
    fn unseal_log_chunk(bytes: &[u8], v: &mut [f32]) -> Result<(), Fault> = unseal_log_chunk_body
}

#[inline(always)]
fn unseal_log_chunk_body(bytes: &[u8], v: &mut [f32]) -> Result<(), Fault> {
    let (header, codes) = bytes.split_at(LOG_HEADER_BYTES);
    unseal_log(codes, header[0].into(), v)
}

/// NaN to zero, infinities to the largest number.
#[inline(always)]
fn tame(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value.clamp(f32::MIN, f32::MAX) }
}

#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    // The bits of magnitudes are ordered like magnitudes, and the maximum of integers is the same in any order.
    let largest = values.iter().map(|&value| tame(value).abs().to_bits()).max().map_or(0.0, f32::from_bits);
    if largest < LINEAR_SCALE_MIN { 0.0 } else { largest }
}

/// Fills `codes`, and returns their scale.
#[inline(always)]
fn seal_linear(values: &[f32], codes: &mut [u8]) -> f32 {
    let scale = largest(values);
    if scale == 0.0 {
        codes.fill(0);
        return scale;
    }
    for (code, &value) in codes.iter_mut().zip(values) {
        let steps = f64::from(tame(value)) * LINEAR_MAX / f64::from(scale);
        *code = nearest(steps);
    }
    scale
}

/// Half away from zero, for `steps` of at most 127 in magnitude.
#[inline(always)]
#[allow(unsafe_code)]
fn nearest(steps: f64) -> u8 {
    let beyond = steps + 0.5f64.copysign(steps);
    // SAFETY: a tame value is no NaN and at most its chunk's scale in magnitude, so `steps` is at most 127. Unlike the checked
    // conversion, this one has a vector instruction.
    let truncated = unsafe { beyond.to_int_unchecked::<i32>() };
    truncated as u8
}

#[inline(always)]
fn unseal_linear(codes: &[u8], scale: f32, values: &mut [f32]) -> Result<(), Fault> {
    if !scale.is_finite() || scale.is_sign_negative() {
        return Err(Fault::Scale);
    }
    let reach = codes.iter().map(|code| code.cast_signed().unsigned_abs()).max().unwrap_or(0);
    let tiny = scale > 0.0 && scale < LINEAR_SCALE_MIN;
    // The largest magnitude seals to ±127, and only zeros have no scale.
    if tiny || reach != if scale > 0.0 { LINEAR_MAX as u8 } else { 0 } {
        return Err(Fault::NotCanonical);
    }
    unseal_by_table(codes, values, |code| (f64::from(code.cast_signed()) * f64::from(scale) / LINEAR_MAX) as f32);
    Ok(())
}

/// Looks each code up: a chunk has sixteen times as many codes as there are different ones.
#[inline(always)]
fn unseal_by_table(codes: &[u8], values: &mut [f32], meaning: impl Fn(u8) -> f32) {
    let mut table = [0.0; 256];
    table.iter_mut().zip(0..=u8::MAX).for_each(|(value, code)| *value = meaning(code));
    values.iter_mut().zip(codes).for_each(|(value, &code)| *value = table[usize::from(code)]);
}

/// Bits dropped from an `f32` to leave sign, exponent and 3 bits of mantissa.
const DROPPED: u32 = 20;
/// The code of the largest finite number with 3 bits of mantissa.
const LOG_MAX: u32 = f32::MAX.to_bits() >> DROPPED;
/// Exponents a chunk's codes reach down, the largest one included.
const EXPONENTS: u32 = 32;

/// A second moment rounded up to 3 bits of mantissa: exponent · 8 + mantissa. Grows with `v`; zero only for zero.
#[inline(always)]
fn log_code(v: f32) -> u32 {
    let bits = if v > 0.0 { v.to_bits() } else { 0 };
    bits.div_ceil(1 << DROPPED).min(LOG_MAX)
}

/// The code that stands just below the smallest one of a chunk whose largest exponent is this.
fn log_base(exponent: u32) -> u32 {
    (exponent + 1).saturating_sub(EXPONENTS) * 8
}

#[inline(always)]
fn relative(code: u32, base: u32) -> u8 {
    if code == 0 { 0 } else { code.saturating_sub(base).max(1) as u8 }
}

/// Fills `codes`, and returns the exponent they are relative to.
#[inline(always)]
fn seal_log(values: &[f32], codes: &mut [u8]) -> u8 {
    let exponent = values.iter().map(|&v| log_code(v)).max().unwrap_or(0) >> 3;
    let base = log_base(exponent);
    codes.iter_mut().zip(values).for_each(|(code, &v)| *code = relative(log_code(v), base));
    exponent as u8
}

#[inline(always)]
fn unseal_log(codes: &[u8], exponent: u32, values: &mut [f32]) -> Result<(), Fault> {
    if exponent > LOG_MAX >> 3 {
        return Err(Fault::Scale);
    }
    let base = log_base(exponent);
    let reach = u32::from(codes.iter().copied().max().unwrap_or(0));
    if (base + reach) >> 3 != exponent {
        return Err(Fault::NotCanonical);
    }
    unseal_by_table(codes, values, |code| {
        // The table also has codes that do not occur, which may lie past the largest number.
        let bits = (base + u32::from(code)).min(LOG_MAX) << DROPPED;
        if code == 0 { 0.0 } else { f32::from_bits(bits) }
    });
    Ok(())
}
