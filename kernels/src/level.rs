//! The 256 magnitudes a sent value can have.
//!
//! Level `e` is `MANTISSA[e mod 8] · 2^(e / 8 + 2)` in units of 2^-40: eight steps an octave, from 2^-31 to 1.836, each an
//! integer in the fold and exact in `f32`. There are no floats on the wire, so no NaN and no infinite scale.

use crate::FRACTION_BITS;

/// Number of levels.
pub const LEVELS: usize = 256;

/// round(128 · 2^(j / 8)).
const MANTISSA: [u64; 8] = [128, 140, 152, 166, 181, 197, 215, 235];

const TABLE: [u64; LEVELS] = table();

const fn table() -> [u64; LEVELS] {
    let mut table = [0; LEVELS];
    let mut code = 0;
    while code < LEVELS {
        table[code] = MANTISSA[code % 8] << (code / 8 + 2);
        code += 1;
    }
    table
}

/// The magnitude of level `code`, in units of 2^-40.
pub fn level_fixed(code: u8) -> u64 {
    TABLE[usize::from(code)]
}

/// The magnitude of level `code` as a real number; exact, as a level has 8 significant bits.
pub(crate) fn level_f32(code: u8) -> f32 {
    const UNIT: f32 = 1.0 / (1u64 << FRACTION_BITS) as f32;
    level_fixed(code) as f32 * UNIT
}

/// The level nearest to a magnitude on a logarithmic scale: its square is compared with the products of neighbouring
/// levels, which are exact in `f64`, so no logarithm is taken. A tie goes to the smaller level.
pub(crate) fn nearest_level(magnitude: f64) -> u8 {
    const UNIT: f64 = (1u64 << FRACTION_BITS) as f64;
    let fixed = magnitude * UNIT;
    let square = fixed * fixed;
    let above = |pair: &[u64]| square > pair[0] as f64 * pair[1] as f64;
    let (mut low, mut high) = (0, LEVELS - 1);
    while low < high {
        let middle = (low + high) / 2;
        if above(&TABLE[middle..middle + 2]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low as u8
}

/// The Euclidean norm of a payload, rounded down, in units of 2^-40; `u64::MAX` if it is larger.
///
/// An integer, so that every peer computes the same clipping weight from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Norm(pub u64);

/// Σ level² of a payload, in units of 2^-80.
#[derive(Clone, Copy, Default)]
pub(crate) struct SquareSum(u128);

impl SquareSum {
    /// Adds `count` entries of level `code`.
    pub(crate) fn add(&mut self, code: u8, count: usize) {
        let level = u128::from(level_fixed(code));
        self.0 = self.0.saturating_add(level * level * count as u128);
    }

    /// The sum of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(crate) fn norm(self) -> Norm {
        Norm(u64::try_from(self.0.isqrt()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mantissas_are_eighth_octaves() {
        for (j, &mantissa) in MANTISSA.iter().enumerate() {
            assert_eq!(mantissa, (128.0 * (j as f64 / 8.0).exp2()).round() as u64);
        }
    }

    #[test]
    fn levels_grow_from_2_to_the_minus_31_to_1_836() {
        assert!(TABLE.is_sorted_by(|a, b| a < b));
        assert_eq!(level_f32(0), 1.0 / (1u64 << 31) as f32);
        assert_eq!(level_f32(255), 235.0 / 128.0);
    }

    #[test]
    fn every_level_is_nearest_to_itself_and_the_ends_catch_the_rest() {
        for code in 0..=255 {
            assert_eq!(nearest_level(f64::from(level_f32(code))), code);
        }
        assert_eq!(nearest_level(0.0), 0);
        assert_eq!(nearest_level(f64::from(f32::MAX)), 255);
    }

    #[test]
    fn the_norm_is_an_integer_root() {
        let mut sum = SquareSum::default();
        assert_eq!(sum.norm(), Norm(0));
        sum.add(0, 15);
        assert_eq!(sum.norm(), Norm(1982), "floor(sqrt(15) * 512)");
    }
}
