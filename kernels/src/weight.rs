//! How much an update counts.

/// The weight of an update in the fold, unsigned Q16 fixed point: 65536 is 1.0. Zero to 4.0.
///
/// The bound keeps `level · weight` inside an `i64`, so that no hostile weight can overflow the fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

/// The weight was above 4.0. Nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("weight of {given}/65536 is above 4.0")]
pub struct WeightTooLarge {
    /// What was asked for, in 1/65536.
    pub given: u32,
}

impl Weight {
    /// The update does not count.
    pub const ZERO: Self = Self(0);
    /// The update counts as it is.
    pub const ONE: Self = Self(1 << 16);
    /// The largest weight, 4.0.
    pub const MAX: Self = Self(4 << 16);

    /// A weight of `q16` / 65536.
    ///
    /// # Errors
    /// If it is above 4.0.
    pub fn new(q16: u32) -> Result<Self, WeightTooLarge> {
        if q16 <= Self::MAX.0 { Ok(Self(q16)) } else { Err(WeightTooLarge { given: q16 }) }
    }

    /// A weight of `q16` / 65536, or 4.0 if that is less.
    pub fn saturating(q16: u64) -> Self {
        Self(q16.min(u64::from(Self::MAX.0)) as u32)
    }

    /// The weight in 1/65536.
    pub fn q16(self) -> u32 {
        self.0
    }

    /// `fixed` times the weight, rounded half up. `fixed` is a magnitude below 2^44, so the product fits.
    pub(crate) fn apply(self, fixed: u64) -> i64 {
        ((fixed * u64::from(self.0) + (1 << 15)) >> 16) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_is_the_largest_weight() {
        assert_eq!(Weight::new(4 << 16), Ok(Weight::MAX));
        assert_eq!(Weight::new((4 << 16) + 1), Err(WeightTooLarge { given: (4 << 16) + 1 }));
        assert_eq!(Weight::saturating(u64::MAX), Weight::MAX);
    }

    #[test]
    fn a_product_is_rounded_half_up() {
        assert_eq!(Weight::ONE.apply(512), 512);
        assert_eq!(Weight::saturating(1).apply(1 << 15), 1);
        assert_eq!(Weight::saturating(1).apply((1 << 15) - 1), 0);
        assert_eq!(Weight::MAX.apply(crate::level_fixed(255)), 4 * crate::level_fixed(255) as i64);
    }
}
