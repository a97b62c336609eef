//! Slow, readable twins of every fast path: what the crate *means*.
//!
//! They go one element and one bit at a time, allocate freely, and share with the fast paths only the level table and the
//! error type. Tests compare the two bit for bit at boundary sizes. Where a fast path names an error's chunk, the twin
//! names the same one, but the kind of error may differ when a chunk is wrong in several ways.

mod bits;
mod carry;
mod decode;
mod encode;
mod optimizer;

pub use carry::{seal, unseal};
pub use decode::{Entry, decode, fold};
pub use encode::{compress, nearest_level, rice_parameter, select};
pub use optimizer::{adamw, global_norm, muon};

use crate::CHUNK;

/// The fixed-point state of each parameter, by the definition: real value times 2^40, rounded half to even.
pub fn from_f32(values: &[f32]) -> Vec<i64> {
    values.iter().map(|&value| (f64::from(value) * 2f64.powi(40)).round_ties_even() as i64).collect()
}

/// The parameters of a state, by the definition, through a division that is exact but for the first rounding.
pub fn to_f32(state: &[i64]) -> Vec<f32> {
    state.iter().map(|&fixed| fixed as f32 / (1u64 << 40) as f32).collect()
}

/// The root of a state, from one long byte string.
pub fn state_root(state: &[i64]) -> [u8; 32] {
    let bytes: Vec<u8> = state.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut root = blake3::Hasher::new_derive_key("murmuration blob root v1");
    root.update(&(bytes.len() as u64).to_le_bytes());
    for chunk in bytes.chunks(CHUNK * 8) {
        root.update(blake3::hash(chunk).as_bytes());
    }
    *root.finalize().as_bytes()
}
