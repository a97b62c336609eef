//! Names of blobs: a root over the hashes of 32 KiB chunks.
//!
//! A receiver that has the root asks for the chunk hashes, checks them against the root with [`root_of`], and from then
//! on checks each chunk alone, whoever sent it. Chunk hashes are plain BLAKE3; the root is BLAKE3 in key-derivation mode
//! over the byte length and the chunk hashes, so no chunk can pass for a root.

use rayon::prelude::*;

use crate::{CHUNK, threads};

/// Bytes in a chunk of a blob: 4096 state values of 8 bytes.
pub const BLOB_CHUNK: usize = CHUNK * size_of::<i64>();

const ROOT_CONTEXT: &str = "murmuration blob root v1";

/// The hash of each 32 KiB chunk, the last one possibly shorter. No bytes, no hashes.
pub fn chunk_hashes(bytes: &[u8]) -> Vec<[u8; 32]> {
    let hash = |chunk: &[u8]| *blake3::hash(chunk).as_bytes();
    if threads::pay(bytes.len() / size_of::<i64>()) {
        bytes.par_chunks(BLOB_CHUNK).map(hash).collect()
    } else {
        bytes.chunks(BLOB_CHUNK).map(hash).collect()
    }
}

/// [`chunk_hashes`] of the state written as little-endian `i64`.
///
/// # Shapes
/// `state`: `[params]`; returns `[⌈params / 4096⌉]`.
pub fn state_chunk_hashes(state: &[i64]) -> Vec<[u8; 32]> {
    if threads::pay(state.len()) {
        state.par_chunks(CHUNK).map(state_chunk_hash).collect()
    } else {
        state.chunks(CHUNK).map(state_chunk_hash).collect()
    }
}

#[cfg(target_endian = "little")]
#[allow(unsafe_code)]
pub(crate) fn state_chunk_hash(chunk: &[i64]) -> [u8; 32] {
    // SAFETY: the bytes are those of the slice, which lives as long; every byte of an `i64` is a valid `u8`. In this byte
    // order they are the little-endian ones already.
    let bytes = unsafe { std::slice::from_raw_parts(chunk.as_ptr().cast::<u8>(), size_of_val(chunk)) };
    *blake3::hash(bytes).as_bytes()
}

#[cfg(not(target_endian = "little"))]
pub(crate) fn state_chunk_hash(chunk: &[i64]) -> [u8; 32] {
    let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
    *blake3::hash(&bytes).as_bytes()
}

/// The root of a blob of `len_bytes` bytes with these chunk hashes.
///
/// It does not check that the number of hashes fits the length; a receiver compares it with
/// `len_bytes.div_ceil(BLOB_CHUNK)` first.
pub fn root_of(len_bytes: u64, hashes: &[[u8; 32]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(ROOT_CONTEXT);
    hasher.update(&len_bytes.to_le_bytes());
    hasher.update(hashes.as_flattened());
    *hasher.finalize().as_bytes()
}

/// The root of a blob.
pub fn blob_root(bytes: &[u8]) -> [u8; 32] {
    root_of(bytes.len() as u64, &chunk_hashes(bytes))
}

/// The root of a state: [`blob_root`] of its values as little-endian `i64`.
///
/// # Shapes
/// `state`: `[params]`.
pub fn state_root(state: &[i64]) -> [u8; 32] {
    root_of(size_of_val(state) as u64, &state_chunk_hashes(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_cut_at_exactly_32_kib() {
        assert_eq!(BLOB_CHUNK, 32 * 1024);
        let bytes = vec![7; 2 * BLOB_CHUNK + 1];
        assert_eq!([0, 1, BLOB_CHUNK, BLOB_CHUNK + 1].map(|n| chunk_hashes(&bytes[..n]).len()), [0, 1, 1, 2]);
    }

    #[test]
    fn length_and_every_byte_change_the_root() {
        let bytes = vec![0; BLOB_CHUNK + 5];
        let root = blob_root(&bytes);
        assert_ne!(root, blob_root(&bytes[1..]));
        let mut other = bytes.clone();
        other[BLOB_CHUNK] = 1;
        assert_ne!(root, blob_root(&other));
        assert_ne!(root_of(0, &[]), root_of(1, &[]));
    }
}
