//! Every fast path equals its slow twin, bit for bit, at every boundary.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_kernels::{self as fast, AdamW, Carry, CodecError, Direction, Norm, Optimizer, TopK, Weight, reference};
use support::{AWKWARD_KINDS, DENSITIES, LENGTHS, awkward, density, heavy_tailed};

/// Compresses both ways, compares everything, and returns the payload.
fn compress_both(k: TopK, beta: f32, start: &[f32], end: &[f32], residual: &[f32]) -> (Vec<u8>, Norm) {
    let (mut fast_residual, mut slow_residual) = (residual.to_vec(), residual.to_vec());
    let (mut payload, mut slow_payload) = (Vec::new(), Vec::new());
    let norm = fast::compress(k, beta, start, end, &mut fast_residual, &mut payload).unwrap();
    let slow_norm = reference::compress(k, beta, start, end, &mut slow_residual, &mut slow_payload).unwrap();
    assert_eq!(payload, slow_payload, "payload of {} parameters at {k:?}", start.len());
    assert_eq!(bits(&fast_residual), bits(&slow_residual), "residual of {} parameters at {k:?}", start.len());
    assert_eq!(norm, slow_norm);
    assert!(payload.len() <= fast::payload_bytes_max(k, start.len()));
    (payload, norm)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn check_readers(k: TopK, params: usize, payload: &[u8], norm: Norm) {
    assert_eq!(fast::validate(k, params, payload), Ok(norm));
    for weight in [0, 1, 37_123, 65_536, 4 << 16].map(|q16| Weight::new(q16).unwrap()) {
        for direction in [Direction::Add, Direction::Remove] {
            let mut state: Vec<i64> = (0..params as i64).map(|i| i.wrapping_mul(0x5851_f42d_4c95_7f2d)).collect();
            let mut slow = state.clone();
            fast::fold(k, payload, weight, direction, &mut state).unwrap();
            reference::fold(k, payload, weight, direction, &mut slow).unwrap();
            assert_eq!(state, slow);
        }
    }
}

#[test]
fn the_codec_equals_its_reference_at_every_length_and_density() {
    for length in LENGTHS {
        let [start, end, residual] = [1, 2, 3].map(|seed| heavy_tailed(length, seed));
        for k in DENSITIES.map(density) {
            let (payload, norm) = compress_both(k, 0.95, &start, &end, &residual);
            check_readers(k, length, &payload, norm);
        }
    }
}

#[test]
fn the_codec_equals_its_reference_on_awkward_vectors() {
    for kind in 0..AWKWARD_KINDS {
        let start = awkward(2 * 4096 + 100, kind);
        let zeros = vec![0.0; start.len()];
        for k in [16, 64, 1000, 3000, 4096].map(density) {
            let (payload, norm) = compress_both(k, 1.0, &start, &zeros, &zeros);
            check_readers(k, start.len(), &payload, norm);
            let minus_zeros = vec![-0.0; start.len()];
            compress_both(k, 1.0, &start, &minus_zeros, &minus_zeros);
        }
    }
}

#[test]
fn the_codec_and_its_reference_refuse_the_same_parameter() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for index in [0, 15, 4095, 4096, 5000] {
            let clean = heavy_tailed(5001, 1);
            let mut dirty = clean.clone();
            dirty[index] = bad;
            for (start, end, residual) in [(&dirty, &clean, &clean), (&clean, &dirty, &clean), (&clean, &clean, &dirty)]
            {
                let (mut changed, mut payload) = (residual.clone(), vec![1, 2, 3]);
                let result = fast::compress(density(64), 0.9, start, end, &mut changed, &mut payload);
                assert_eq!(result, Err(CodecError::NonFinite { index }));
                assert_eq!((bits(&changed), payload), (bits(residual), vec![1, 2, 3]), "nothing may change");
                let slow = reference::compress(density(64), 0.9, start, end, &mut changed, &mut Vec::new());
                assert_eq!(slow, result);
            }
        }
    }
}

#[test]
fn a_change_that_overflows_is_refused() {
    let (start, end, mut residual) = ([0.0, f32::MAX], [0.0, f32::MIN], [0.0, 0.0]);
    let result = fast::compress(density(16), 1.0, &start, &end, &mut residual, &mut Vec::new());
    assert_eq!(result, Err(CodecError::NonFinite { index: 1 }));
}

#[test]
fn the_optimizer_equals_its_reference() {
    let h = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
    for length in LENGTHS {
        let mut fast_state = [heavy_tailed(length, 1), vec![0.0; length], vec![0.0; length]];
        let mut slow_state = fast_state.clone();
        for step in [1, 2, 3, 1000, u64::MAX] {
            let grads = heavy_tailed(length, step);
            let [p, m, v] = &mut fast_state;
            fast::adamw(&h, step, p, &grads, m, v, 0.7);
            let [p, m, v] = &mut slow_state;
            reference::adamw(&h, step, p, &grads, m, v, 0.7);
            assert_eq!(fast_state.each_ref().map(|v| bits(v)), slow_state.each_ref().map(|v| bits(v)));
            assert_eq!(fast::global_norm(&grads).to_bits(), reference::global_norm(&grads).to_bits());
        }
    }
}

#[test]
fn a_sealed_carry_equals_its_reference() {
    for length in LENGTHS {
        let squares = |length| heavy_tailed(length, 5).iter().map(|g| g * g).collect();
        for (optimizer, second_moments) in [(Optimizer::AdamW, length), (Optimizer::Muon, length / 3)] {
            let (m, residual) = (heavy_tailed(length, 4), heavy_tailed(length, 6));
            compare_sealed(&Carry { optimizer, steps: 77, m, v: squares(second_moments), residual });
        }
        for kind in 0..AWKWARD_KINDS {
            let values = awkward(length, kind);
            let v = values.iter().map(|value| value.abs()).collect();
            let optimizer = Optimizer::AdamW;
            compare_sealed(&Carry { optimizer, steps: Carry::STEPS_MAX, m: values.clone(), v, residual: values });
        }
    }
}

fn compare_sealed(carry: &Carry) {
    let sealed = carry.seal();
    assert_eq!(sealed, reference::seal(carry));
    let opened = Carry::unseal(carry.shape(), &sealed).unwrap();
    let slow = reference::unseal(carry.shape(), &sealed);
    assert_eq!(opened.steps, slow.steps);
    for (fast, slow) in [(&opened.m, &slow.m), (&opened.v, &slow.v), (&opened.residual, &slow.residual)] {
        assert_eq!(bits(fast), bits(slow));
    }
}

#[test]
fn state_conversions_and_roots_equal_their_references() {
    for length in LENGTHS {
        let values = heavy_tailed(length, 8);
        let state = fast::from_f32(&values).unwrap();
        assert_eq!(state, reference::from_f32(&values));
        let mut back = vec![0.0; length];
        let shifted: Vec<i64> = state.iter().map(|s| s.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)).collect();
        fast::to_f32(&shifted, &mut back);
        assert_eq!(bits(&back), bits(&reference::to_f32(&shifted)));
        assert_eq!(fast::state_root(&shifted), reference::state_root(&shifted));
        let bytes: Vec<u8> = shifted.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(fast::blob_root(&bytes), fast::state_root(&shifted));
        assert_eq!(fast::chunk_hashes(&bytes), fast::state_chunk_hashes(&shifted));
    }
}
