//! The laws the swarm rests on, on random inputs.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_kernels::{
    Carry, CarryShape, Direction, Optimizer, TopK, Weight, compress, fold, payload_bytes_max, reference, state_root,
    validate,
};
use proptest::prelude::*;
use support::{density, heavy_tailed};

fn densities() -> impl Strategy<Value = TopK> {
    prop_oneof![Just(16), Just(64), Just(2048), Just(4096), 16u16..=4096].prop_map(density)
}

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(63), Just(4095), Just(4096), Just(4097), Just(3 * 4096 + 17), 0..6000usize]
}

/// Finite values of every size the residual can have.
fn values(count: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        4 => -1e-2f32..1e-2,
        1 => -1e-6f32..1e-6,
        1 => Just(0.0f32),
        1 => -5.0f32..5.0,
        1 => prop::num::f32::NORMAL.prop_map(|v| v % 1e30),
    ];
    prop::collection::vec(value, count)
}

fn weights() -> impl Strategy<Value = Weight> {
    prop_oneof![Just(Weight::ONE), Just(Weight::MAX), (0u32..=4 << 16).prop_map(|q16| Weight::new(q16).unwrap())]
}

fn payload_of(k: TopK, change: &[f32]) -> Vec<u8> {
    let (mut residual, mut payload) = (vec![0.0; change.len()], Vec::new());
    compress(k, 0.0, change, &vec![0.0; change.len()], &mut residual, &mut payload).unwrap();
    payload
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_plus_what_is_kept_is_what_was_given(
        k in densities(),
        (change, residual) in lengths().prop_flat_map(|n| (values(n), values(n))),
        beta in 0.0f32..=1.0,
    ) {
        let params = change.len();
        let (mut kept, mut payload) = (residual.clone(), Vec::new());
        compress(k, beta, &change, &vec![0.0; params], &mut kept, &mut payload).unwrap();
        let fed: Vec<f32> = residual.iter().zip(&change).map(|(r, c)| beta * r + (c - 0.0)).collect();
        let mut expected = fed.clone();
        let entries = reference::decode(k, params, &payload).unwrap();
        for entry in &entries {
            expected[entry.index] -= entry.fixed as f32 / 2f32.powi(40);
        }
        prop_assert_eq!(kept, expected);
        let sent: Vec<usize> = entries.iter().map(|entry| entry.index).collect();
        prop_assert_eq!(sent.len(), k.of_vector(params));
        let best = (0..params).step_by(4096).flat_map(|from| {
            let chunk = &fed[from..params.min(from + 4096)];
            reference::select(chunk, k.of_chunk(chunk.len())).into_iter().map(move |index| from + index)
        });
        prop_assert_eq!(sent, best.collect::<Vec<_>>(), "the sent are the largest, ties to the lowest index");
        for entry in entries {
            prop_assert_eq!(entry.fixed < 0, fed[entry.index].is_sign_negative());
        }
    }

    #[test]
    fn a_fold_in_any_order_has_the_same_bits(
        k in densities(),
        updates in lengths().prop_flat_map(|n| prop::collection::vec((values(n), weights()), 2..5)),
        order in Just(vec![0usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let params = updates[0].0.len();
        let payloads: Vec<_> = updates.iter().map(|(change, weight)| (payload_of(k, change), *weight)).collect();
        let mut straight = vec![i64::MAX - 5; params];
        let mut shuffled = straight.clone();
        for (payload, weight) in &payloads {
            fold(k, payload, *weight, Direction::Add, &mut straight).unwrap();
        }
        for (payload, weight) in order.iter().filter_map(|&place| payloads.get(place)) {
            fold(k, payload, *weight, Direction::Add, &mut shuffled).unwrap();
        }
        prop_assert_eq!(state_root(&straight), state_root(&shuffled));
    }

    #[test]
    fn taking_an_update_out_leaves_the_sum_of_the_others(
        k in densities(),
        (one, other) in lengths().prop_flat_map(|n| (values(n), values(n))),
        weight in weights(),
    ) {
        let [one, other] = [one, other].map(|change| (payload_of(k, &change), change.len()));
        let mut both = vec![i64::MIN + 3; one.1];
        let mut alone = both.clone();
        fold(k, &one.0, weight, Direction::Add, &mut both).unwrap();
        fold(k, &other.0, Weight::ONE, Direction::Add, &mut both).unwrap();
        fold(k, &one.0, weight, Direction::Remove, &mut both).unwrap();
        fold(k, &other.0, Weight::ONE, Direction::Add, &mut alone).unwrap();
        prop_assert_eq!(both, alone);
    }

    #[test]
    fn a_payload_has_one_encoding_and_a_spoiled_one_changes_nothing(
        k in densities(),
        change in lengths().prop_flat_map(values),
        at in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        prop_assume!(!change.is_empty());
        let params = change.len();
        let payload = payload_of(k, &change);
        let entries = reference::decode(k, params, &payload).unwrap();
        let mut spoiled = payload.clone();
        spoiled[at.index(payload.len())] ^= 1 << bit;
        check_hostile(k, params, &spoiled)?;
        if let Ok(others) = reference::decode(k, params, &spoiled) {
            prop_assert_ne!(entries, others, "two payloads of one content");
        }
        for cut in [0, at.index(payload.len()), payload.len() - 1] {
            prop_assert!(validate(k, params, &payload[..cut]).is_err());
            check_hostile(k, params, &payload[..cut])?;
        }
        for extra in [0, 1, 255] {
            let longer = [&payload[..], &[extra]].concat();
            prop_assert!(validate(k, params, &longer).is_err());
            check_hostile(k, params, &longer)?;
        }
    }

    #[test]
    fn random_bytes_are_refused_or_mean_the_same_to_everyone(
        k in densities(),
        params in lengths(),
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        check_hostile(k, params, &bytes)?;
        // Mostly zeros reach further into the format than noise does.
        let sparse: Vec<u8> = bytes.iter().map(|&byte| byte & byte.rotate_left(3) & byte.rotate_left(5)).collect();
        check_hostile(k, params, &sparse)?;
    }

    #[test]
    fn a_sealed_carry_opens_to_what_seals_to_it(
        (m, v, residual) in lengths().prop_flat_map(|n| (wild(n), lengths().prop_flat_map(wild), wild(n))),
        steps in 0..=Carry::STEPS_MAX,
    ) {
        let carry = Carry { optimizer: Optimizer::Muon, steps, m, v, residual };
        let sealed = carry.seal();
        prop_assert_eq!(sealed.len(), carry.shape().sealed_bytes());
        let opened = Carry::unseal(carry.shape(), &sealed).unwrap();
        prop_assert_eq!(&opened.seal(), &sealed);
        prop_assert_eq!(opened.steps, steps);
        for (&before, &after) in carry.v.iter().zip(&opened.v) {
            prop_assert!(after >= before.min(1.875 * 2f32.powi(127)) || !before.is_finite(), "{} to {}", before, after);
            prop_assert_eq!(after > 0.0, before > 0.0);
        }
        prop_assert!(opened.m.iter().chain(&opened.residual).all(|value| value.is_finite()));
    }

    #[test]
    fn a_spoiled_carry_is_refused_or_is_another_carry(
        params in 1usize..5000,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (m, v, residual) = (heavy_tailed(params, 1), vec![1e-4; params / 2], vec![0.0; params]);
        let carry = Carry { optimizer: Optimizer::Muon, steps: 3, m, v, residual };
        let mut sealed = carry.seal();
        let place = at.index(sealed.len());
        sealed[place] = byte;
        if let Ok(opened) = Carry::unseal(carry.shape(), &sealed) {
            prop_assert_eq!(opened.seal(), sealed);
        }
    }
}

#[test]
fn a_carry_of_more_steps_than_can_be_counted_on_is_refused() {
    let most = Carry { steps: Carry::STEPS_MAX, ..Carry::fresh(CarryShape::adamw(100)) };
    assert_eq!(Carry::unseal(most.shape(), &most.seal()).unwrap().steps, Carry::STEPS_MAX);
    for steps in [Carry::STEPS_MAX + 1, u64::MAX] {
        let error = Carry::unseal(most.shape(), &Carry { steps, ..most.clone() }.seal()).unwrap_err();
        assert_eq!(error.to_string(), format!("sealed carry of {steps} steps: must be at most {}", 1u64 << 48));
    }
}

#[test]
fn a_carry_of_another_optimizer_is_refused_by_name() {
    let carry = Carry::fresh(CarryShape::adamw(100));
    let wanted = CarryShape { optimizer: Optimizer::Muon, ..carry.shape() };
    let mut sealed = carry.seal();
    let error = Carry::unseal(wanted, &sealed).unwrap_err();
    assert_eq!(error.to_string(), "sealed carry of adamw: must be one of muon");
    sealed[0] = 77;
    let error = Carry::unseal(wanted, &sealed).unwrap_err();
    assert_eq!(error.to_string(), "sealed carry of an unknown optimizer: must be one of muon");
}

/// Any bits at all, as long as no second moment is negative or NaN where the law speaks of it.
fn wild(count: usize) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![4 => -1e-2f32..1e-2, 2 => any::<f32>(), 1 => prop::num::f32::SUBNORMAL, 1 => Just(0.0f32)];
    prop::collection::vec(value, count)
}

/// Whatever the bytes are: no panic, `validate`, `fold` and the reference agree, and refusal changes nothing.
fn check_hostile(k: TopK, params: usize, bytes: &[u8]) -> Result<(), TestCaseError> {
    let before: Vec<i64> = (0..params as i64).collect();
    let mut state = before.clone();
    let folded = fold(k, bytes, Weight::ONE, Direction::Add, &mut state);
    let validated = validate(k, params, bytes);
    let decoded = reference::decode(k, params, bytes);
    prop_assert_eq!(folded.is_ok(), validated.is_ok());
    prop_assert_eq!(decoded.is_ok(), validated.is_ok(), "reference {:?}, fast {:?}", decoded.err(), validated.err());
    if let Err(error) = folded {
        prop_assert_eq!(validated, Err(error));
        prop_assert_eq!(state, before);
    } else {
        prop_assert!(bytes.len() <= payload_bytes_max(k, params));
    }
    Ok(())
}

#[test]
fn an_all_zero_vector_sends_the_smallest_level_and_takes_it_back() {
    let (k, zeros, mut residual) = (density(64), vec![0.0; 4096], vec![0.0; 4096]);
    let mut state = vec![0; 4096];
    for _ in 0..2 {
        let mut payload = Vec::new();
        compress(k, 1.0, &zeros, &zeros, &mut residual, &mut payload).unwrap();
        fold(k, &payload, Weight::ONE, Direction::Add, &mut state).unwrap();
    }
    assert!(state.iter().all(|&fixed| fixed == 0), "the second update undoes the first");
    assert!(residual.iter().all(|&value| value == 0.0));
}

#[test]
fn a_payload_is_appended() {
    let mut payload = vec![9, 9];
    compress(density(16), 1.0, &[1.0], &[0.5], &mut [0.0], &mut payload).unwrap();
    assert_eq!(payload[..2], [9, 9]);
    assert!(validate(density(16), 1, &payload[2..]).is_ok());
}
