//! Numbers to try kernels on: the same on every machine.

/// Numbers between −1 and 1, with zeros of both signs among them.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let number = |bits: u64| match bits % 61 {
        0 => 0.0,
        1 => -0.0,
        _ => bits as f32 / 8_388_608.0 - 1.0,
    };
    draws(count, seed).into_iter().map(number).collect()
}

/// Numbers of every size, subnormal ones too, infinities and what is no number.
pub(crate) fn wild(count: usize, seed: u64) -> Vec<f32> {
    let bits = |(high, low): (u64, u64)| ((high << 16) ^ low) as u32;
    draws(count, seed).into_iter().zip(draws(count, !seed)).map(|pair| f32::from_bits(bits(pair))).collect()
}

/// Differences with many equal magnitudes, zeros and subnormal numbers.
pub(crate) fn tied(count: usize, seed: u64) -> Vec<f32> {
    let round = |x: f32| if x.abs() < 0.1 { x * 1e-38 } else { (x * 4.0).round() / 256.0 };
    numbers(count, seed).into_iter().map(round).collect()
}

/// Bytes below `most`.
pub(crate) fn bytes(count: usize, seed: u64, most: u8) -> Vec<u8> {
    draws(count, seed).into_iter().map(|bits| (bits % u64::from(most)) as u8).collect()
}

/// 24 bits each (xorshift64, Marsaglia 2003, §4).
fn draws(count: usize, seed: u64) -> Vec<u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 40
    };
    (0..count).map(|_| next()).collect()
}
