//! A hundred steps give one hash for each seed, whatever instruction set and however many threads compute them.
#![allow(clippy::unwrap_used)]

use murmur_kernels::Optimizer;
use murmur_kernels::exact::{self, Pool};
use murmur_kernels::simd::Level;
use murmur_model::conformance::{EXPECTED, EXPECTED_TRAINING, SEEDS, STEPS, Training, conformance};

#[test]
fn a_hundred_steps_have_one_hash_on_every_instruction_set_and_number_of_threads() {
    for level in Level::ALL {
        // The optimizer, the compression and the fold take the process's level, the model its pool's.
        if level.activate() != level {
            eprintln!("not tested: this machine has no {level}");
            continue;
        }
        for threads in [1, 2] {
            let pool = || Pool::new(exact::Level::at_most(level), threads).unwrap();
            assert_eq!(pool().level().name(), level.name());
            let mut first = Vec::new();
            for (optimizer, expected) in Optimizer::ALL.into_iter().zip(EXPECTED_TRAINING) {
                let runs = SEEDS.map(|seed| Training::run(pool(), optimizer, seed));
                assert!(runs.iter().all(|run| run.losses.len() == STEPS));
                assert_eq!(runs.each_ref().map(Training::hash), expected, "{optimizer}, {level}, {threads} threads");
                first.extend(runs.into_iter().next());
            }
            assert_eq!(conformance(&pool(), &first), EXPECTED, "{level}, {threads} threads");
        }
    }
}

#[test]
fn the_run_that_is_hashed_is_one_that_learns() {
    for optimizer in Optimizer::ALL {
        let Training { losses, .. } = Training::run(Pool::single(exact::Level::best()), optimizer, SEEDS[0]);
        let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
        let (first, last) = (mean(&losses[..10]), mean(&losses[STEPS - 10..]));
        assert!(last < first - 1.0, "{optimizer}: {first} to {last}");
    }
}

#[test]
fn a_multiply_add_that_is_rounded_twice_is_found_out() {
    for (optimizer, expected) in Optimizer::ALL.into_iter().zip(EXPECTED_TRAINING) {
        let unfused = Training::run(Pool::single(exact::Level::UNFUSED), optimizer, SEEDS[0]);
        assert_ne!(unfused.hash(), expected[0], "{optimizer}");
    }
}
