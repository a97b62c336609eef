//! Which instruction set the kernels use.

use core::fmt;

use thiserror::Error;

use super::{Kernel, Simd, scalar::Scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// An instruction set that this CPU has. The results do not depend on it, only the time they take.
#[derive(Clone, Copy)]
pub struct Level(Proof);

#[derive(Clone, Copy)]
enum Proof {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// The name is of no instruction set, or of one that this CPU lacks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no instruction set {name:?} here; there are {available}")]
pub struct UnknownLevel {
    /// What was asked for.
    pub name: String,
    /// What this CPU has, separated by commas.
    pub available: String,
}

impl Level {
    /// No vector instructions; every CPU has it.
    pub const SCALAR: Self = Self(Proof::Scalar(Scalar));

    /// Every instruction set of this CPU, the slowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::SCALAR];
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

    /// The instruction set called `scalar`, `avx2` or `avx512`.
    ///
    /// # Errors
    /// The name is another, or this CPU lacks it.
    pub fn named(name: &str) -> Result<Self, UnknownLevel> {
        let available = Self::available();
        let unknown = || UnknownLevel {
            name: name.to_owned(),
            available: available.iter().map(|level| level.name()).collect::<Vec<_>>().join(", "),
        };
        available.iter().copied().find(|level| level.name() == name).ok_or_else(unknown)
    }

    /// Its name, as [`named`](Self::named) takes it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Proof::Scalar(_) => "scalar",
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
    fn each_level_is_found_by_its_name_and_no_other() {
        for level in Level::available() {
            assert_eq!(Level::named(level.name()).unwrap().name(), level.name());
        }
        let unknown = Level::named("mmx").unwrap_err();
        assert!(unknown.to_string().contains("\"mmx\"") && unknown.available.starts_with("scalar"));
    }
}
