//! A hundred steps give one hash for each seed, whatever instruction set and however many threads compute them.
#![allow(clippy::unwrap_used)]

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
            for (seed, expected) in SEEDS.into_iter().zip(EXPECTED_TRAINING) {
                let training = Training::run(pool(), seed);
                assert_eq!(training.losses.len(), STEPS);
                assert_eq!(training.hash(), expected, "seed {seed}, {level}, {threads} threads");
                if seed == SEEDS[0] {
                    assert_eq!(conformance(&pool(), &training), EXPECTED, "{level}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn the_run_that_is_hashed_is_one_that_learns() {
    let Training { losses, .. } = Training::run(Pool::single(exact::Level::best()), SEEDS[0]);
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..10]), mean(&losses[STEPS - 10..]));
    assert!(last < first - 1.0, "{first} to {last}");
}

#[test]
fn a_multiply_add_that_is_rounded_twice_is_found_out() {
    let unfused = Training::run(Pool::single(exact::Level::UNFUSED), SEEDS[0]);
    assert_ne!(unfused.hash(), EXPECTED_TRAINING[0]);
}
