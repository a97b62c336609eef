//! The root of a state that changes little by little.

use std::ops::Range;

use rayon::prelude::*;

use crate::digest::{root_of, state_chunk_hash};
use crate::{CHUNK, threads};

/// Remembers the chunk hashes of one state, and hashes again only what was touched since.
///
/// The contract: whoever changes a parameter says so with [`StateDigest::touch`] before the next question; then every
/// answer equals [`crate::state_root`] of the state. A top-k payload has entries in every chunk, so a fold touches them all;
/// what is saved is the hashing between two folds, and of the rest when a part changes.
#[derive(Clone, Debug)]
pub struct StateDigest {
    params: usize,
    hashes: Vec<[u8; 32]>,
    touched: Vec<bool>,
    root: Option<[u8; 32]>,
}

impl StateDigest {
    /// Of a state of `params` parameters, of which nothing is known yet.
    pub fn new(params: usize) -> Self {
        let chunks = params.div_ceil(CHUNK);
        Self { params, hashes: vec![[0; 32]; chunks], touched: vec![true; chunks], root: None }
    }

    /// These parameters may have changed. What lies beyond the last one is ignored.
    pub fn touch(&mut self, changed: Range<usize>) {
        let end = changed.end.min(self.params);
        if changed.start < end {
            self.touched[changed.start / CHUNK..end.div_ceil(CHUNK)].fill(true);
            self.root = None;
        }
    }

    /// Every parameter may have changed.
    pub fn touch_all(&mut self) {
        self.touch(0..self.params);
    }

    /// [`crate::state_root`] of `state`.
    ///
    /// # Shapes
    /// `state`: `[params]`.
    ///
    /// # Panics
    /// If `state` has another length: a bug of the caller.
    pub fn root(&mut self, state: &[i64]) -> [u8; 32] {
        self.refresh(state);
        let root = || root_of(size_of_val(state) as u64, &self.hashes);
        *self.root.get_or_insert_with(root)
    }

    /// [`crate::state_chunk_hashes`] of `state`.
    ///
    /// # Shapes
    /// `state`: `[params]`; returns `[⌈params / 4096⌉]`.
    ///
    /// # Panics
    /// If `state` has another length: a bug of the caller.
    pub fn chunk_hashes(&mut self, state: &[i64]) -> &[[u8; 32]] {
        self.refresh(state);
        &self.hashes
    }

    fn refresh(&mut self, state: &[i64]) {
        assert_eq!(state.len(), self.params, "a digest belongs to a state of one length");
        let refresh = |((hash, touched), chunk): ((&mut [u8; 32], &mut bool), &[i64])| {
            if std::mem::take(touched) {
                *hash = state_chunk_hash(chunk);
            }
        };
        let (hashes, touched) = (&mut self.hashes, &mut self.touched);
        if threads::pay(self.params) {
            hashes.par_iter_mut().zip(touched).zip(state.par_chunks(CHUNK)).for_each(refresh);
        } else {
            hashes.iter_mut().zip(touched).zip(state.chunks(CHUNK)).for_each(refresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_root;

    #[test]
    fn a_touched_state_has_its_new_root() {
        for params in [0, 1, CHUNK, 3 * CHUNK + 5, threads::PAY_PARAMS + 1] {
            let mut state: Vec<i64> = (0..params as i64).collect();
            let mut digest = StateDigest::new(params);
            assert_eq!(digest.root(&state), state_root(&state));
            for at in [0, CHUNK - 1, CHUNK, params / 2, params.saturating_sub(1)] {
                let Some(value) = state.get_mut(at) else { continue };
                *value -= 7;
                digest.touch(at..at + 1);
                assert_eq!(digest.root(&state), state_root(&state), "{at} of {params}");
                assert_eq!(digest.chunk_hashes(&state), crate::state_chunk_hashes(&state));
            }
        }
    }

    #[test]
    fn only_touched_chunks_are_hashed_again() {
        let mut state = vec![0; 2 * CHUNK];
        let mut digest = StateDigest::new(state.len());
        let root = digest.root(&state);
        (state[0], state[CHUNK]) = (1, 1);
        assert_eq!(digest.root(&state), root, "nobody said that anything changed");
        digest.touch(CHUNK..CHUNK);
        assert_eq!(digest.root(&state), root, "an empty range touches nothing");
        digest.touch(CHUNK..usize::MAX);
        assert_eq!(digest.chunk_hashes(&state)[1], crate::state_chunk_hashes(&state)[1]);
        assert_ne!(digest.root(&state), state_root(&state), "the first chunk is as it was");
        digest.touch_all();
        assert_eq!(digest.root(&state), state_root(&state));
    }
}
