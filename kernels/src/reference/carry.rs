//! Sealing, by the definition.

use crate::{CHUNK, Carry, CarryShape, Optimizer};

/// The twin of [`Carry::seal`], for finite values and second moments that are not negative.
pub fn seal(carry: &Carry) -> Vec<u8> {
    let mut bytes = vec![match carry.optimizer {
        Optimizer::AdamW => 1,
        Optimizer::Muon => 2,
    }];
    bytes.extend(carry.steps.to_le_bytes());
    for (m, residual) in carry.m.chunks(CHUNK).zip(carry.residual.chunks(CHUNK)) {
        bytes.extend(scale(m).to_le_bytes());
        bytes.extend(scale(residual).to_le_bytes());
        bytes.extend(m.iter().map(|&value| linear(value, scale(m))));
        bytes.extend(residual.iter().map(|&value| linear(value, scale(residual))));
    }
    for v in carry.v.chunks(CHUNK) {
        let exponent = v.iter().map(|&v| rounded_up(v).to_bits() >> 23).max().unwrap_or(0);
        bytes.push(exponent as u8);
        bytes.extend(v.iter().map(|&value| logarithmic(value, exponent)));
    }
    bytes
}

fn scale(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
    if largest < 2f32.powi(-119) { 0.0 } else { largest }
}

fn linear(value: f32, scale: f32) -> u8 {
    if scale == 0.0 { 0 } else { ((f64::from(value) * 127.0 / f64::from(scale)).round() as i8) as u8 }
}

/// The least number with three mantissa bits that is not below `v`, or the largest there is.
fn rounded_up(v: f32) -> f32 {
    let mut values = (0..2040).map(|code| f32::from_bits(code << 20));
    values.find(|&value| value >= v).unwrap_or(f32::from_bits(2039 << 20))
}

/// Which of the 255 numbers with three mantissa bits, from 31 exponents below `exponent` on, is the least not below `v`.
fn logarithmic(v: f32, exponent: u32) -> u8 {
    if v == 0.0 {
        return 0;
    }
    let values = (1..=255u8).map(|code| (code, opened(code, exponent)));
    values.into_iter().find(|&(_, value)| value >= v).map_or(255, |(code, _)| code)
}

fn opened(code: u8, exponent: u32) -> f32 {
    let lowest = (exponent + 1).saturating_sub(32);
    f32::from_bits((lowest * 8 + u32::from(code)) << 20)
}

/// The twin of [`Carry::unseal`], for bytes that [`seal`] made.
///
/// # Panics
/// If the bytes are too short.
pub fn unseal(shape: CarryShape, bytes: &[u8]) -> Carry {
    let mut carry = Carry::fresh(shape);
    let (steps, mut rest) = bytes[1..].split_at(8);
    carry.steps = steps.iter().rev().fold(0, |steps, &byte| steps << 8 | u64::from(byte));
    for (m, residual) in carry.m.chunks_mut(CHUNK).zip(carry.residual.chunks_mut(CHUNK)) {
        let (header, body) = rest.split_at(8);
        let scale = |at: usize| f32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let opened = |code: u8, scale: f32| (f64::from(code as i8) * f64::from(scale) / 127.0) as f32;
        let len = m.len();
        for i in 0..len {
            m[i] = opened(body[i], scale(0));
            residual[i] = opened(body[len + i], scale(4));
        }
        rest = &body[2 * len..];
    }
    for v in carry.v.chunks_mut(CHUNK) {
        let (exponent, body) = (rest[0].into(), &rest[1..]);
        v.iter_mut().zip(body).for_each(|(v, &code)| *v = if code == 0 { 0.0 } else { opened(code, exponent) });
        rest = &body[v.len()..];
    }
    carry
}
