//! Which instructions the kernels use: decided once per process, and never visible in a result.
//!
//! Every kernel gives the same bits at every level, so the level is no input: it may differ between peers, and a test runs
//! all that the machine has. The environment variable [`VARIABLE`] caps it (`MURMUR_SIMD=scalar cargo test`), which
//! needs no plumbing through the crates in between. A kernel asks [`Level::active`] once per call, not per element.

use std::cmp;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

/// The environment variable that caps the level: `scalar`; on x86-64 also `avx2` or `avx512`, on AArch64 also `neon`.
pub const VARIABLE: &str = "MURMUR_SIMD";

/// A set of instructions. `a <= b` if all machines that have `b` have `a`, so those of different architectures do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What the compiler may assume of every CPU of the architecture.
    Scalar,
    /// NEON: every 64-bit ARM that runs an operating system.
    Neon,
    /// AVX2, FMA, BMI1, BMI2, LZCNT and POPCNT: Intel since 2013, AMD since 2015.
    Avx2,
    /// AVX-512 F, BW, CD, DQ and VL: Intel servers since 2017, AMD since 2022.
    Avx512,
}

/// The name is none of `scalar`, `neon`, `avx2`, `avx512`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no instruction level: scalar, neon, avx2 or avx512")]
pub struct UnknownLevel {
    /// What was given.
    pub given: String,
}

/// The level in use as [`Level::to_code`], or [`UNDECIDED`].
static ACTIVE: AtomicU8 = AtomicU8::new(UNDECIDED);
const UNDECIDED: u8 = u8::MAX;

impl Level {
    /// All levels of all architectures, of each the lowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The highest level this CPU and operating system have.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if x86::has_avx512() {
                return Self::Avx512;
            }
            if x86::has_avx2() {
                return Self::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self::Neon;
        }
        Self::Scalar
    }

    /// The levels this machine can run, lowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_available())
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        self <= Self::best()
    }

    /// The level that [`VARIABLE`] asks for, if it is set.
    ///
    /// # Errors
    /// If it names no level. [`Level::active`] then takes the best one; a binary should say so.
    pub fn from_environment() -> Result<Option<Self>, UnknownLevel> {
        match std::env::var_os(VARIABLE) {
            Some(name) => name.to_string_lossy().parse().map(Some),
            None => Ok(None),
        }
    }

    /// The level kernels use in this process: the best one, but not above what [`VARIABLE`] says. A kernel may run the
    /// instructions of this level without asking the CPU again.
    #[inline]
    pub fn active() -> Self {
        match ACTIVE.load(Ordering::Relaxed) {
            0 => Self::Scalar,
            1 => Self::Neon,
            2 => Self::Avx2,
            3 => Self::Avx512,
            _ => Self::decide(),
        }
    }

    /// From now on, kernels of this process use this level, or the best one if that is lower, or the scalar one if this level is
    /// another architecture's; returns which. Running kernels finish at the level they began with. For tests and benchmarks
    /// that compare levels.
    pub fn activate(self) -> Self {
        let best = Self::best();
        let level = [self, best].into_iter().find(|level| *level <= self && *level <= best).unwrap_or(Self::Scalar);
        ACTIVE.store(level.to_code(), Ordering::Relaxed);
        level
    }

    #[cold]
    fn decide() -> Self {
        Self::from_environment().ok().flatten().unwrap_or_else(Self::best).activate()
    }

    fn to_code(self) -> u8 {
        match self {
            Self::Scalar => 0,
            Self::Neon => 1,
            Self::Avx2 => 2,
            Self::Avx512 => 3,
        }
    }

    /// The name in [`VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        match (self, other) {
            _ if self == other => Some(cmp::Ordering::Equal),
            (Self::Scalar, _) | (Self::Avx2, Self::Avx512) => Some(cmp::Ordering::Less),
            (_, Self::Scalar) | (Self::Avx512, Self::Avx2) => Some(cmp::Ordering::Greater),
            _ => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        let level = Self::ALL.into_iter().find(|level| level.name() == name);
        level.ok_or_else(|| UnknownLevel { given: name.to_owned() })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The whole set of each level: a kernel must not meet half of one.

    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }

    pub(super) fn has_avx512() -> bool {
        has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }
}

/// Compiles one body for every level, and runs the one of [`Level::active`]. NEON is a part of AArch64 that the compiler always
/// uses, so there the levels share a body.
///
/// The body is an `#[inline(always)]` function of safe, plain Rust, which the compiler turns into the instructions of each
/// level. It neither reorders floating-point operations nor fuses any that are not written fused, so all have the same bits.
macro_rules! per_level {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident($($argument:ident: $type:ty),+ $(,)?) $(-> $output:ty)? = $body:path) => {
        $(#[$attribute])*
        #[allow(unsafe_code)]
        $vis fn $name($($argument: $type),+) $(-> $output)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                fn avx512($($argument: $type),+) $(-> $output)? {
                    $body($($argument),+)
                }
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                fn avx2($($argument: $type),+) $(-> $output)? {
                    $body($($argument),+)
                }
                match $crate::simd::Level::active() {
                    // SAFETY: the active level is never above what this CPU has, and has all features named above.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($argument),+) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($argument),+) },
                    $crate::simd::Level::Scalar | $crate::simd::Level::Neon => {}
                }
            }
            $body($($argument),+)
        }
    };
}
pub(crate) use per_level;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_one_name() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("AVX2".parse::<Level>(), Err(UnknownLevel { given: "AVX2".into() }));
    }

    #[test]
    fn no_level_above_the_best_is_ever_used() {
        assert_eq!(Level::available().last(), Some(Level::best()));
        // The level in use is the process's, which other tests set at the same time; what is returned is not.
        for level in Level::ALL {
            assert!(level.activate().is_available() && level.activate() <= level);
            assert_eq!(level.activate() == level, level.is_available());
        }
        assert_eq!(Level::best().activate(), Level::best());
    }

    #[test]
    fn levels_of_another_architecture_are_neither_above_nor_below() {
        assert!(Level::Avx2 < Level::Avx512 && Level::ALL.iter().all(|level| Level::Scalar <= *level));
        assert_eq!(Level::Neon.partial_cmp(&Level::Avx512), None);
        assert!(!(Level::Neon.is_available() && Level::Avx2.is_available()));
    }
}
