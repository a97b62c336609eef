//! Inputs the test files share: whole numbers mixed into values, so that they depend on no random number generator.
#![allow(dead_code)]

use murmur_kernels::TopK;

/// Lengths around every boundary of the code: empty, one, a word of bits, a chunk, several chunks and a bit.
pub(crate) const LENGTHS: [usize; 12] = [0, 1, 2, 15, 63, 64, 65, 4095, 4096, 4097, 2 * 4096, 3 * 4096 + 17];

/// Densities around every boundary: the least, the usual, half, past half, all.
pub(crate) const DENSITIES: [u16; 12] = [16, 17, 64, 128, 255, 256, 1024, 2048, 2049, 3072, 4095, 4096];

pub(crate) fn density(k: u16) -> TopK {
    TopK::new(k).unwrap()
}

/// The `i`-th whole number of the sequence `seed`: SplitMix64.
pub(crate) fn mix(seed: u64, i: u64) -> u64 {
    let x = (seed << 32).wrapping_add(i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Uniform in [0, 1).
fn uniform(seed: u64, i: u64) -> f32 {
    (mix(seed, i) >> 40) as f32 / (1u32 << 24) as f32
}

/// Many small values and a few large ones, as gradients have: a bell over a uniform, around 10^-3.
pub(crate) fn heavy_tailed(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| bell(seed, i) / (0.05 + uniform(seed, 4 * i + 3)) * 1e-3).collect()
}

fn bell(seed: u64, i: u64) -> f32 {
    (0..3).map(|part| uniform(seed, 4 * i + part)).sum::<f32>() - 1.5
}

/// Kinds of vectors that have broken codecs: all alike, ties everywhere, zeros of both signs, enormous and tiny.
pub(crate) fn awkward(count: usize, kind: usize) -> Vec<f32> {
    let value = |i: u64| match kind {
        0 => 0.0,
        1 => 1e-3,
        2 => [-0.0, 0.0][(i % 2) as usize],
        3 => (mix(1, i) % 3) as f32 - 1.0,
        4 => {
            if i % 1000 == 7 {
                5e-4
            } else {
                0.0
            }
        }
        5 => f32::from_bits((mix(2, i) % 5) as u32),
        6 => {
            if i.is_multiple_of(2) {
                3e37
            } else {
                -1e-30
            }
        }
        _ => i as f32,
    };
    (0..count as u64).map(value).collect()
}

pub(crate) const AWKWARD_KINDS: usize = 8;
