//! Which instruction set the kernels use.

use core::fmt;

use crate::simd;

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::{Kernel, Simd, scalar::Scalar, unfused::Unfused};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// The proof that this CPU has an instruction set; [`simd::Level`] is only its name. The results do not depend on it, only the
/// time they take.
#[derive(Clone, Copy)]
pub struct Level(Proof);

#[derive(Clone, Copy)]
enum Proof {
    Scalar(Scalar),
    Unfused(Unfused),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Level {
    /// No vector instructions; every CPU has it.
    pub const SCALAR: Self = Self(Proof::Scalar(Scalar));

    /// Not of the profile: scalar, and each multiply-add rounded twice. For comparison with devices that cannot fuse; it is not
    /// available, and no cap leads to it.
    pub const UNFUSED: Self = Self(Proof::Unfused(Unfused));

    /// Every instruction set of this CPU, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::SCALAR];
        #[cfg(target_arch = "aarch64")]
        levels.extend(Neon::new().map(|proof| Self(Proof::Neon(proof))));
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(Avx2::new().map(|proof| Self(Proof::Avx2(proof))));
            levels.extend(Avx512::new().map(|proof| Self(Proof::Avx512(proof))));
        }
        levels
    }

    /// The fastest instruction set of this CPU.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::SCALAR)
    }

    /// The instruction set that this process uses, which the environment can cap: see [`simd::Level::active`].
    pub fn active() -> Self {
        Self::at_most(simd::Level::active())
    }

    /// The fastest that is not above `level`: scalar, for a level of another architecture.
    pub fn at_most(level: simd::Level) -> Self {
        let below = |own: &Self| own.name().parse::<simd::Level>().is_ok_and(|own| own <= level);
        Self::available().into_iter().rfind(below).unwrap_or(Self::SCALAR)
    }

    /// Its name, as [`simd::Level`] has it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Proof::Scalar(_) => "scalar",
            Proof::Unfused(_) => "unfused",
            #[cfg(target_arch = "aarch64")]
            Proof::Neon(_) => "neon",
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(_) => "avx512",
        }
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Out {
        match self.0 {
            Proof::Scalar(s) => s.enter(kernel),
            Proof::Unfused(s) => s.enter(kernel),
            #[cfg(target_arch = "aarch64")]
            Proof::Neon(s) => s.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx2(s) => s.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Proof::Avx512(s) => s.enter(kernel),
        }
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Level({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_kept_and_every_level_is_reached_by_its_own_name() {
        for level in Level::available() {
            assert_eq!(Level::at_most(level.name().parse().unwrap()).name(), level.name());
        }
        assert_eq!(Level::at_most(simd::Level::best()).name(), Level::best().name());
    }
}
