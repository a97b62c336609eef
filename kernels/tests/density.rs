//! How many bits a payload takes, against what no code can beat.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_kernels::{CHUNK, compress};
use support::{density, heavy_tailed};

const PARAMS: usize = 1 << 20;

/// log2 C(4096, k) + 2k bits a chunk, per parameter: which are sent, and two bits for each.
fn bound_bits(k: u16) -> f64 {
    let choices: f64 = (0..k).map(|i| (f64::from(4096 - i) / f64::from(k - i)).log2()).sum();
    (choices + 2.0 * f64::from(k)) / CHUNK as f64
}

fn measured_bits(k: u16) -> f64 {
    let (mut residual, mut payload) = (vec![0.0; PARAMS], Vec::new());
    compress(density(k), 0.95, &heavy_tailed(PARAMS, 1), &vec![0.0; PARAMS], &mut residual, &mut payload).unwrap();
    payload.len() as f64 * 8.0 / PARAMS as f64
}

#[test]
fn a_payload_is_within_eight_percent_of_the_entropy_bound() {
    for k in [16, 64, 128, 256, 512, 1024, 2048, 3072, 4096] {
        let (bits, bound) = (measured_bits(k), bound_bits(k));
        assert!(bits <= 1.08 * bound, "{k} of 4096: {bits:.4} bits a parameter, bound {bound:.4}");
        assert!(bits >= bound * 0.999, "below the bound means the bound is wrong");
    }
}

#[test]
fn sixty_four_of_4096_take_at_most_0_16_bit_a_parameter() {
    assert!(measured_bits(64) <= 0.16);
}
