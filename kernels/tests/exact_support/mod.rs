//! What the tests of the exact profile share.
#![allow(clippy::unwrap_used, dead_code)]

use murmur_kernels::exact::{Level, Pool};

/// Every instruction set of this machine, on one thread and on three.
pub(crate) fn pools() -> Vec<Pool> {
    let both = |level| [Pool::single(level), Pool::new(level, 3).unwrap()];
    Level::available().into_iter().flat_map(both).collect()
}

/// `len` numbers between −2 and 2 that follow from `seed`.
pub(crate) fn numbers(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) ^ 0x85eb_ca6b;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1u32 << 22) as f32 - 2.0
    };
    (0..len).map(|_| next()).collect()
}
