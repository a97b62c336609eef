//! How many parameters of a chunk are sent.

/// Parameters in a chunk. Every tensor of the model is flattened into one vector, and the vector is cut into chunks of
/// this many parameters; the last chunk may be shorter.
pub const CHUNK: usize = 4096;

/// The density of a payload: this many of every [`CHUNK`] parameters are sent. 16 to 4096.
///
/// 64 is 1.56 %, the density of the papers; small models on fast links do better with more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopK(u16);

/// The density was not between 16 and 4096. Nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("top-k of {given} of {CHUNK}: must be {min} to {CHUNK}", min = TopK::MIN)]
pub struct TopKOutOfRange {
    /// What was asked for.
    pub given: u16,
}

impl TopK {
    /// The sparsest payload: below this, per-chunk costs would outweigh the entries.
    pub const MIN: u16 = 16;

    /// A density of `k` of every [`CHUNK`] parameters.
    ///
    /// # Errors
    /// If `k` is not in 16..=4096.
    pub fn new(k: u16) -> Result<Self, TopKOutOfRange> {
        if (Self::MIN..=CHUNK as u16).contains(&k) { Ok(Self(k)) } else { Err(TopKOutOfRange { given: k }) }
    }

    /// Parameters sent of a full chunk.
    pub fn get(self) -> u16 {
        self.0
    }

    /// Parameters sent of a chunk of `len` parameters: ⌈k · len / 4096⌉, so a short last chunk keeps the density and
    /// sends at least one parameter if it has any.
    pub fn of_chunk(self, len: usize) -> usize {
        (usize::from(self.0) * len).div_ceil(CHUNK)
    }

    /// Parameters sent of a vector of `params` parameters.
    pub fn of_vector(self, params: usize) -> usize {
        (params / CHUNK) * usize::from(self.0) + self.of_chunk(params % CHUNK)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_sixteen_to_a_whole_chunk_is_a_density() {
        assert_eq!(TopK::new(15), Err(TopKOutOfRange { given: 15 }));
        assert_eq!(TopK::new(4097), Err(TopKOutOfRange { given: 4097 }));
        assert_eq!(TopK::new(16).unwrap().get(), 16);
        assert_eq!(TopK::new(4096).unwrap().of_chunk(CHUNK), CHUNK);
    }

    #[test]
    fn a_short_chunk_keeps_the_density_and_never_sends_more_than_it_has() {
        let sparse = TopK::new(16).unwrap();
        assert_eq!([0, 1, 256, 257].map(|len| sparse.of_chunk(len)), [0, 1, 1, 2]);
        let dense = TopK::new(4096).unwrap();
        assert!((0..=CHUNK).all(|len| dense.of_chunk(len) == len));
        assert_eq!(sparse.of_vector(3 * CHUNK + 17), 49);
    }
}
