//! Whether an instruction set gives the profile's bits.

use std::time::Instant;

use murmur_kernels::{Optimizer, exact, simd::Level};
use murmur_model::conformance::{EXPECTED, SEEDS, Training, conformance, training_hash};

use crate::{error::Failure, learn::numeric::exact_pool};

/// What one instruction set gave.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelFound {
    /// The instruction set.
    pub simd: Level,
    /// One hash over all vectors and the training runs, hex.
    pub conformance: String,
    /// Of it, the hash over the vectors, hex.
    pub vectors: String,
    /// Of it, the hash of the training runs by all optimizers, hex.
    pub training: String,
    /// How long all of it took.
    pub seconds: f64,
}

impl LevelFound {
    /// Whether it is what the profile says.
    pub fn agrees(&self) -> bool {
        self.conformance == EXPECTED
    }
}

/// Computes the vectors on one thread and the training runs on `threads`. From now on this process uses `level`.
///
/// # Errors
/// As [`exact_pool`].
pub(super) fn find(level: Level, threads: usize) -> Result<LevelFound, Failure> {
    level.activate();
    let begun = Instant::now();
    let run = |optimizer| Ok(Training::run(exact_pool(threads)?, optimizer, SEEDS[0]));
    let runs = Optimizer::ALL.into_iter().map(run).collect::<Result<Vec<_>, Failure>>()?;
    let pool = exact_pool(1)?;
    Ok(LevelFound {
        simd: level,
        conformance: conformance(&pool, &runs),
        vectors: exact::conformance::conformance(&pool),
        training: training_hash(&runs),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_best_instruction_set_of_this_machine_agrees() {
        let found = find(Level::best(), 2).unwrap();
        assert!(found.agrees(), "{found:?}");
        assert_eq!(found.vectors, exact::conformance::EXPECTED);
    }
}
