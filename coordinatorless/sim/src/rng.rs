//! Seeded random numbers. Each concern has its own generator, so that a change in one does not shift the draws of the
//! others.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// A seeded generator.
#[derive(Clone, Debug)]
pub(crate) struct SeededRng(ChaCha8Rng);

impl SeededRng {
    /// The generator of one concern of one seed.
    pub(crate) fn new(seed: u64, concern: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("murmuration simulator dice v1");
        hasher.update(&seed.to_le_bytes()).update(concern.as_bytes());
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Any 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into a list of `length`; 0 if it is empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A number in `range`, both ends included.
    pub(crate) fn between(&mut self, range: [u64; 2]) -> u64 {
        range[0] + self.below((range[1] - range[0]).saturating_add(1))
    }

    /// True with a probability of `percent`.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.below(100) < percent
    }

    /// A waiting time of a Poisson process with the given mean. Geometric in steps of a thousandth of the mean: a
    /// floating-point logarithm could differ between machines and change the history.
    pub(crate) fn waiting_time(&mut self, mean: u64) -> u64 {
        let step = (mean / 1000).max(1);
        let mut waited = 0;
        while self.below(1000) != 0 && waited < mean.saturating_mul(16) {
            waited += step;
        }
        waited
    }

    /// `length` random bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
