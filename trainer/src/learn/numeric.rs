//! The numeric profile of a run: the rules under which two machines give the same bits, and what computes under them.

use core::str::FromStr;

use murmur_collectives::Hash;
use murmur_kernels::exact::{
    self, PROFILE, Pool,
    conformance::{EXPECTED, conformance},
};
use murmur_kernels::simd::{Level, UnknownLevel, VARIABLE};

use crate::{
    error::{Exit, Failure},
    learn::model::{ModelConfig, Replica, class_replica},
};

/// Which peers compute equal bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numeric {
    /// All peers': murmur's own kernels, which fix the order of every sum. Any peer may audit any other.
    Exact,
    /// Those of machines alike, which audit each other: burn's kernels.
    Class,
}

/// A profile that this program does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the numeric profile {0:?} is not one of this program's, {PROFILE} and class")]
pub struct UnknownProfile(String);

impl Numeric {
    /// The words in settings.
    pub const NAMES: &'static [&'static str] = &["exact", "class"];

    /// What a manifest calls it: with its version, as another version gives other bits.
    pub fn profile(self) -> &'static str {
        match self {
            Self::Exact => PROFILE,
            Self::Class => "class",
        }
    }

    /// The profile that a manifest names.
    ///
    /// # Errors
    /// It is unknown here.
    pub fn of_profile(name: &str) -> Result<Self, UnknownProfile> {
        let known = [Self::Exact, Self::Class].into_iter().find(|numeric| numeric.profile() == name);
        known.ok_or_else(|| UnknownProfile(name.to_owned()))
    }

    /// The class that every update of a run must be of; `None` where each author says its own.
    pub fn class(self) -> Option<Hash> {
        match self {
            Self::Exact => Some(class_hash(PROFILE)),
            Self::Class => None,
        }
    }

    /// A model of this shape that computes under this profile, with `threads` threads.
    ///
    /// # Errors
    /// [`Exit::Config`] for an impossible shape; [`Exit::Device`] when this machine does not compute the exact profile, or has
    /// no more threads.
    pub fn replica(self, config: ModelConfig, threads: usize) -> Result<Box<dyn Replica + Send>, Failure> {
        match self {
            Self::Exact => {
                let pool = exact_pool(threads)?;
                check_conformance(&pool)?;
                Ok(config.exact_replica(pool)?)
            }
            Self::Class => Ok(class_replica(&config)?),
        }
    }
}

impl FromStr for Numeric {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        match name {
            "exact" => Ok(Self::Exact),
            "class" => Ok(Self::Class),
            _ => Err(UnknownProfile(name.to_owned())),
        }
    }
}

/// A class as entries name it.
pub fn class_hash(name: &str) -> Hash {
    Hash::of("murmuration numeric class v1", name.as_bytes())
}

/// Threads for the exact kernels, at this process's instruction set.
///
/// # Errors
/// [`Exit::Device`] when the system refuses the threads.
pub fn exact_pool(threads: usize) -> Result<Pool, Failure> {
    Pool::new(exact::Level::active(), threads)
        .map_err(|error| Failure::new(Exit::Device, "cannot start the threads to compute with").because(error))
}

/// Whether this machine computes the exact profile: its results for the conformance vectors are the pinned ones.
///
/// # Errors
/// [`Exit::Device`] naming the instruction set, and how to force another.
pub fn check_conformance(pool: &Pool) -> Result<(), Failure> {
    let found = conformance(pool);
    if found == EXPECTED {
        return Ok(());
    }
    let level = pool.level().name();
    let others = exact::Level::available().into_iter().map(exact::Level::name).filter(|name| *name != level);
    let others: Vec<String> = others.map(|name| format!("{VARIABLE}={name}")).collect();
    let force = if others.is_empty() { String::new() } else { format!("Force another with {}. ", others.join(" or ")) };
    Err(Failure::new(Exit::Device, format!("with {level} instructions this machine does not compute the profile {PROFILE}"))
        .because(format!("its conformance hash is {found}, not {EXPECTED}"))
        .hint(format!(
            "{force}Please report what `murmur doctor --kernels` prints. The processor, its memory or the compiler is faulty."
        )))
}

/// Refuses an instruction set that was forced and is unknown or not there. Call it before computing anything.
///
/// # Errors
/// [`Exit::Config`].
pub fn check_forced_level() -> Result<(), Failure> {
    forced(Level::from_environment(), Level::best())
}

fn forced(asked: Result<Option<Level>, UnknownLevel>, best: Level) -> Result<(), Failure> {
    let failure = match asked {
        Ok(None) => return Ok(()),
        Ok(Some(level)) if level <= best => return Ok(()),
        Ok(Some(level)) => Failure::new(Exit::Config, format!("this machine has no {level} instructions")),
        Err(unknown) => Failure::new(Exit::Config, unknown.to_string()),
    };
    let there: Vec<_> = Level::ALL.into_iter().filter(|level| *level <= best).map(Level::name).collect();
    let there = there.join(" or ");
    Err(failure
        .at(format!("environment variable {VARIABLE}"))
        .hint(format!("Set it to {there}, or leave it away: the best is taken. The results are the same.")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::learn::model::gpt::Gpt;

    #[test]
    fn every_name_is_a_profile_and_a_profile_of_another_version_is_none() {
        for name in Numeric::NAMES {
            let numeric: Numeric = name.parse().unwrap();
            assert_eq!(Numeric::of_profile(numeric.profile()), Ok(numeric));
        }
        let unknown = Numeric::of_profile("exact/1").unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "the numeric profile \"exact/1\" is not one of this program's, exact/4 and class"
        );
    }

    #[test]
    fn the_class_of_an_exact_run_is_that_of_its_replicas() {
        let replica = Numeric::Exact.replica(Gpt::tiny().into(), 2).unwrap();
        assert_eq!(Numeric::Exact.class(), Some(class_hash(&replica.class())));
        assert_eq!(Numeric::Class.class(), None);
    }

    #[test]
    fn a_machine_that_rounds_otherwise_is_refused_with_its_instruction_set() {
        let failure = check_conformance(&Pool::single(exact::Level::UNFUSED)).unwrap_err();
        assert_eq!(failure.exit(), Exit::Device);
        assert!(failure.sentence().contains("unfused instructions") && failure.sentence().contains(EXPECTED));
        assert!(failure.render().contains("MURMUR_SIMD=scalar"));
        for level in exact::Level::available() {
            assert!(check_conformance(&Pool::single(level)).is_ok(), "{}", level.name());
        }
    }

    #[test]
    fn a_forced_instruction_set_must_be_there() {
        assert!(forced(Ok(None), Level::Scalar).is_ok());
        assert!(forced(Ok(Some(Level::Avx2)), Level::Avx2).is_ok());
        let absent = forced(Ok(Some(Level::Avx512)), Level::Avx2).unwrap_err();
        assert_eq!(absent.exit(), Exit::Config);
        assert_eq!(absent.sentence(), "this machine has no avx512 instructions: in environment variable MURMUR_SIMD");
        assert!(absent.render().contains("scalar or avx2"));
        let unknown = forced("sse9".parse().map(Some), Level::Avx2).unwrap_err();
        assert!(unknown.exit() == Exit::Config && unknown.sentence().contains("\"sse9\""));
    }
}
