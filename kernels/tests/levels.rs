//! Neither the instructions nor the number of threads show in any bit.
//!
//! Each case gives one hash over everything it computes; it must be the same at every level this machine has, with one
//! thread and with several, on vectors that begin at any address.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Mutex, MutexGuard};

use murmur_kernels::simd::Level;
use murmur_kernels::{
    AdamW, CHUNK, Carry, CodecError, Direction, Optimizer, StateDigest, Weight, adamw, blob_root, compress, fold,
    from_f32, global_norm, state_root, to_f32, validate,
};
use support::{AWKWARD_KINDS, LENGTHS, awkward, density, heavy_tailed, mix};

/// The level is the process's, so tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs `work` at each level, and on pools of one and three threads.
fn same_everywhere(case: &str, work: impl Fn() -> Vec<u8> + Sync) {
    let _turn = turn();
    let mut results = Vec::new();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for level in Level::available() {
            level.activate();
            results.push((blob_root(&pool.install(&work)), level, threads));
        }
    }
    Level::best().activate();
    for (root, level, threads) in &results {
        assert_eq!(*root, results[0].0, "{case}: {level} with {threads} threads differs from {}", results[0].1);
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect()
}

/// Two updates of one author, folded: every output of the codec.
fn codec(k: u16, start: &[f32], end: &[f32], residual: &[f32]) -> Vec<u8> {
    let (k, mut residual, mut state) = (density(k), residual.to_vec(), vec![3; start.len()]);
    let mut digest = StateDigest::new(state.len());
    let mut bytes = Vec::new();
    for weight in [Weight::ONE, Weight::new(40_001).unwrap()] {
        let mut payload = Vec::new();
        let norm = compress(k, 0.95, start, end, &mut residual, &mut payload).unwrap();
        assert_eq!(validate(k, start.len(), &payload), Ok(norm));
        fold(k, &payload, weight, Direction::Add, &mut state).unwrap();
        digest.touch_all();
        assert_eq!(digest.root(&state), state_root(&state));
        bytes.extend([&payload[..], &norm.0.to_le_bytes(), &state_root(&state), &bytes_of(&residual)].concat());
    }
    bytes
}

#[test]
fn the_codec_has_the_same_bits_everywhere() {
    for length in LENGTHS {
        for unaligned in 0..4 {
            let [start, end, residual] = [1, 2, 3].map(|seed| heavy_tailed(length + unaligned, seed));
            let [start, end, residual] = [&start, &end, &residual].map(|values| &values[unaligned..]);
            for k in [16, 64, 300, 1024, 3000] {
                same_everywhere(&format!("{length} at {k}, offset {unaligned}"), || codec(k, start, end, residual));
            }
        }
    }
}

#[test]
fn the_codec_has_the_same_bits_everywhere_on_awkward_vectors() {
    for kind in 0..AWKWARD_KINDS {
        let start = awkward(CHUNK + 100, kind);
        for zero in [0.0, -0.0] {
            let zeros = vec![zero; start.len()];
            for k in [16, 64, 1000] {
                same_everywhere(&format!("kind {kind} at {k}"), || codec(k, &start, &zeros, &zeros));
            }
        }
    }
}

#[test]
fn a_large_vector_has_the_same_bits_everywhere() {
    let params = (1 << 20) + 4097;
    let [start, end, residual] = [1, 2, 3].map(|seed| heavy_tailed(params, seed));
    same_everywhere("large", || codec(64, &start, &end, &residual));
}

#[test]
fn a_number_that_is_none_is_refused_alike_everywhere() {
    let params = (1 << 20) + 5;
    let (start, end) = (heavy_tailed(params, 1), vec![0.0; params]);
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in [0, 7, 31, 4096, params - 1] {
            let mut dirty = start.clone();
            dirty[index] = bad;
            same_everywhere(&format!("{bad} at {index}"), || {
                let (mut residual, mut payload) = (start.clone(), vec![5]);
                let refused = compress(density(64), 0.9, &dirty, &end, &mut residual, &mut payload);
                assert_eq!(refused, Err(CodecError::NonFinite { index }));
                [payload, bytes_of(&residual)].concat()
            });
        }
    }
}

#[test]
fn a_spoiled_large_payload_is_refused_alike_everywhere_and_changes_nothing() {
    let params = (1 << 20) + 4097;
    let change = heavy_tailed(params, 1);
    let mut payload = Vec::new();
    compress(density(64), 0.0, &change, &vec![0.0; params], &mut vec![0.0; params], &mut payload).unwrap();
    let before: Vec<i64> = (0..params as i64).collect();
    let mut refused = 0;
    for round in 0..40 {
        let mut spoiled = payload.clone();
        let at = mix(round, 0) as usize % payload.len();
        spoiled[at] ^= 1 << (round % 8);
        if round % 5 == 0 {
            spoiled.truncate(at);
        }
        let valid = validate(density(64), params, &spoiled);
        refused += usize::from(valid.is_err());
        same_everywhere(&format!("spoiled at {at}"), || {
            let mut state = before.clone();
            let folded = fold(density(64), &spoiled, Weight::ONE, Direction::Add, &mut state);
            assert_eq!(folded.err(), valid.err());
            assert_eq!(folded.is_ok(), state != before);
            state_root(&state).to_vec()
        });
    }
    assert!(refused >= 10, "only {refused} of 40 were refused: spoil them better");
}

/// Any bits at all: both zeros, denormals, infinities, NaN of both signs, and ordinary numbers.
fn wild(count: usize, seed: u64) -> Vec<f32> {
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), 1e-40];
    let value = |i: u64| match mix(seed, i) {
        draw if draw % 4 == 0 => special[(draw >> 8) as usize % special.len()],
        draw if draw % 64 == 1 => f32::NAN.copysign(if draw >> 63 == 0 { 1.0 } else { -1.0 }),
        draw => (draw >> 40) as f32 * 1e-9 - 5e-3,
    };
    (0..count as u64).map(value).collect()
}

/// NaN as one NaN: which one a sum of two gives is the one thing IEEE 754 leaves open.
fn canonical(values: &[f32]) -> Vec<u8> {
    bytes_of(&values.iter().map(|&value| if value.is_nan() { f32::NAN } else { value }).collect::<Vec<_>>())
}

#[test]
fn the_optimizer_and_the_norm_have_the_same_bits_everywhere() {
    let h = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
    for length in LENGTHS {
        for (name, grads) in [("usual", heavy_tailed(length, 1)), ("wild", wild(length, 2))] {
            same_everywhere(&format!("adamw, {name}, {length}"), || {
                let (mut p, mut m, mut v) = (heavy_tailed(length, 3), vec![0.0; length], vec![0.0; length]);
                for step in 1..4 {
                    adamw(&h, step, &mut p, &grads, &mut m, &mut v, 0.7);
                }
                [canonical(&p), canonical(&m), canonical(&v), canonical(&[global_norm(&grads)])].concat()
            });
        }
    }
}

#[test]
fn sealing_and_conversions_have_the_same_bits_everywhere() {
    for length in LENGTHS {
        for (name, [m, v, residual]) in [
            ("usual", [1, 2, 3].map(|seed| heavy_tailed(length, seed))),
            ("wild", [1, 2, 3].map(|seed| wild(length, seed))),
        ] {
            same_everywhere(&format!("carry, {name}, {length}"), || {
                let v = v[length / 3..].to_vec();
                let carry = Carry { optimizer: Optimizer::Muon, steps: 5, m: m.clone(), v, residual: residual.clone() };
                let sealed = carry.seal();
                let opened = Carry::unseal(carry.shape(), &sealed).unwrap();
                [sealed, bytes_of(&opened.m), bytes_of(&opened.v), bytes_of(&opened.residual)].concat()
            });
        }
        let state: Vec<i64> = (0..length as u64).map(|i| mix(9, i).cast_signed() >> (i % 50)).collect();
        same_everywhere(&format!("to_f32, {length}"), || {
            let mut values = vec![0.0; length];
            to_f32(&state, &mut values);
            let back = from_f32(&heavy_tailed(length, 4)).unwrap();
            [bytes_of(&values), state_root(&back).to_vec()].concat()
        });
    }
}
