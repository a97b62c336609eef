//! The payload format.
//!
//! A payload is a bit string, least significant bit first, with no header: the density and the number of parameters come
//! from the manifest. Chunks follow each other without alignment; the last byte is padded with zeros. A chunk of `len`
//! parameters that sends `count` of them is
//!
//! | part | bits | meaning |
//! |---|---|---|
//! | small level | ≈ 3 | its code minus the previous chunk's, modulo 256, zigzag, Rice with escape |
//! | spread | ≈ 3 | large code − small code, coded like the small level |
//! | quotients | coded + Σ | per coded index, (gap − 1) / 2^rice in unary: zeros, then a one |
//! | remainders | coded · rice | per coded index, (gap − 1) mod 2^rice |
//! | signs | count | 1: negative |
//! | sizes | count | 1: large level |
//!
//! *Coded* indices are those sent, or, if more than half of the chunk is sent, those *not* sent. A gap is the distance from
//! the previous coded index (from −1 for the first), so indices are strictly increasing by construction. `rice` follows
//! from `coded` and `len` alone: see [`ChunkLayout::new`]. Quotients and remainders lie in separate runs, so that a decoder
//! finds a quotient with one count of trailing zeros and every remainder at a known place.
//!
//! One content has one encoding: if no entry is large, the spread is zero; if the spread is not zero, both levels occur;
//! an escape is used only where the unary form is too long; padding is zero.

use crate::{CHUNK, TopK};

/// What the density and the length of a chunk say about its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkLayout {
    /// Parameters in the chunk.
    pub(crate) len: usize,
    /// Parameters sent.
    pub(crate) count: usize,
    /// Indices coded.
    pub(crate) coded: usize,
    /// The coded indices are those not sent.
    pub(crate) complement: bool,
    /// Bits of a gap that are not in unary.
    pub(crate) rice: usize,
}

impl ChunkLayout {
    /// The layout of a chunk of `len` parameters.
    pub(crate) fn new(k: TopK, len: usize) -> Self {
        let count = k.of_chunk(len);
        let complement = 2 * count > len;
        let coded = if complement { len - count } else { count };
        Self { len, count, coded, complement, rice: rice_parameter(coded, len) }
    }

    /// Bits of the quotients, at most: the gaps of `coded` indices sum to `len` at most.
    pub(crate) fn unary_bits_max(self) -> usize {
        self.coded + ((self.len - self.coded) >> self.rice)
    }

    /// Bits of the chunk, at most.
    pub(crate) fn bits_max(self) -> usize {
        2 * LEVEL_BITS_MAX + self.unary_bits_max() + self.coded * self.rice + 2 * self.count
    }
}

/// The layouts of a vector's chunks, in order. A full chunk's is computed once.
pub(crate) fn layouts(k: TopK, params: usize) -> impl Iterator<Item = ChunkLayout> {
    let last = params % CHUNK;
    let full = ChunkLayout::new(k, CHUNK);
    let short = (last > 0).then(|| ChunkLayout::new(k, last));
    std::iter::repeat_n(full, params / CHUNK).chain(short)
}

/// The Rice parameter of least expected cost, if each of `len` parameters were coded with probability `coded / len`.
///
/// With y = (1 − coded/len)^(2^b), one more remainder bit stops paying as soon as y + y² ≤ 1. Powers are squarings in 32-bit
/// fixed point, so that everyone agrees.
fn rice_parameter(coded: usize, len: usize) -> usize {
    const ONE: u64 = 1 << 32;
    if coded == 0 {
        return 0;
    }
    let mut rice = 0;
    let mut y = ((len - coded) as u64 * ONE) / len as u64;
    let mut square = squared(y);
    while y + square > ONE {
        y = square;
        square = squared(y);
        rice += 1;
    }
    rice
}

fn squared(y: u64) -> u64 {
    ((u128::from(y) * u128::from(y)) >> 32) as u64
}

/// Fewest remainder bits of a level.
pub(crate) const LEVEL_RICE: u32 = 1;
/// This many zeros, in place of a quotient, mean that the level follows as 8 bits.
pub(crate) const LEVEL_ESCAPE: u32 = 10;
/// Bits of a level code, at most.
pub(crate) const LEVEL_BITS_MAX: usize = LEVEL_ESCAPE as usize + 8;

/// The two levels of a chunk, as table codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Code of the small level.
    pub(crate) small: u8,
    /// Code of the large level minus that of the small one.
    pub(crate) spread: u8,
}

impl Levels {
    /// What the first chunk's levels are coded against: 2^-11, and an octave between the two.
    pub(crate) const START: Self = Self { small: 160, spread: 8 };

    /// Code of the large level. Codes from the wire are checked before.
    pub(crate) fn large(self) -> u8 {
        self.small + self.spread
    }
}

/// Bytes of a payload, at most. Use it as the size limit before anything else is read.
pub fn payload_bytes_max(k: TopK, params: usize) -> usize {
    let full = ChunkLayout::new(k, CHUNK).bits_max();
    let last = params % CHUNK;
    let short = if last > 0 { ChunkLayout::new(k, last).bits_max() } else { 0 };
    ((params / CHUNK) * full + short).div_ceil(8)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_payload_of_the_largest_model_has_a_length_of_32_bits() {
        let longest = |k| payload_bytes_max(TopK::new(k).unwrap(), 1 << 33);
        let most = (TopK::MIN..=CHUNK as u16).map(longest).max();
        assert!(most.is_some_and(|most| u32::try_from(most).is_ok()), "{most:?}");
    }

    #[test]
    fn the_rice_parameter_is_the_cheapest_for_a_geometric_gap() {
        for coded in 1..=CHUNK / 2 {
            let absent = 1.0 - coded as f64 / CHUNK as f64;
            let cost = |rice: usize| {
                let y = absent.powi(1 << rice);
                (rice + 1) as f64 + y / (1.0 - y)
            };
            let best = (0..=12).map(cost).fold(f64::INFINITY, f64::min);
            assert!(cost(rice_parameter(coded, CHUNK)) <= best + 1e-6, "{coded}");
        }
    }

    #[test]
    fn more_than_half_is_coded_by_what_is_absent() {
        let layout = |k, len| ChunkLayout::new(TopK::new(k).unwrap(), len);
        assert!(!layout(2048, CHUNK).complement);
        assert_eq!(layout(2049, CHUNK).coded, 2047);
        assert_eq!(layout(4096, CHUNK).coded, 0);
        assert_eq!((layout(16, 1).count, layout(16, 1).coded), (1, 0), "the only parameter of a chunk needs no index");
    }

    #[test]
    fn an_empty_vector_has_no_chunks_and_an_empty_payload() {
        let k = TopK::new(64).unwrap();
        assert_eq!(layouts(k, 0).count(), 0);
        assert_eq!(payload_bytes_max(k, 0), 0);
        assert_eq!(layouts(k, 2 * CHUNK + 1).map(|layout| layout.len).collect::<Vec<_>>(), [CHUNK, CHUNK, 1]);
    }
}
