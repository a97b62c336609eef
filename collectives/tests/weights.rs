//! How much an update counts: the formula, and what it promises.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Body, ONE_Q16};
use proptest::prelude::*;
use support::{Said, Swarm, history, reference::Reference};

/// Three roundings down of factors up to four.
const ROUNDING: f64 = 12.0 / 65536.0;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_weight_is_alpha_times_share_times_clip_times_trust(steps in history(4)) {
        let mut swarm = Swarm::new(3, 4);
        steps.into_iter().for_each(|step| swarm.step(step));
        swarm.share_all();
        let reference = Reference { rules: &swarm.rules, said: &swarm.said };
        for record in swarm.fold(0).log().records() {
            let (got, expected) = (f64::from(record.weight.q16()) / 65536.0, reference.weight(&record.entry));
            prop_assert!((got - expected).abs() <= ROUNDING, "{got} is not {expected}");
        }
    }
}

/// Peers that all founded the run and have heard of each other.
fn founded(peers: usize) -> Swarm {
    let mut swarm = Swarm::new(peers, peers);
    swarm.share_all();
    swarm
}

/// Sum of the weights of `said` divided by α at their base.
fn share_of_alpha(swarm: &Swarm, said: &[Said]) -> f64 {
    let clock = swarm.fold(0).log().clock(said[0].entry.base());
    let sum: u32 = said.iter().map(|said| swarm.weight(said)).sum();
    f64::from(sum) / f64::from(swarm.rules.alpha_q16(clock))
}

/// Peers whose gradients are the same size, so that nothing is clipped.
fn calm(swarm: &mut Swarm, peers: usize) -> Vec<Said> {
    let said = (0..peers).map(|peer| swarm.update(peer, 1e-3)).collect();
    swarm.share_all();
    said
}

#[test]
fn equal_peers_in_lock_step_share_alpha() {
    for peers in 1..=6 {
        let mut swarm = founded(peers);
        for round in 0..6 {
            let said = calm(&mut swarm, peers);
            let share = share_of_alpha(&swarm, &said);
            assert!((share - 1.0).abs() < 0.01, "{peers} peers, round {round}: the weights sum to {share} of α");
        }
    }
}

#[test]
fn a_lone_peer_weighs_alpha() {
    let mut swarm = founded(1);
    for _ in 0..5 {
        let clock = swarm.fold(0).clock();
        let said = swarm.update(0, 1e-3);
        assert_eq!(swarm.weight(&said), swarm.rules.alpha_q16(clock));
    }
}

#[test]
fn alpha_falls_with_the_token_clock() {
    let mut swarm = founded(1);
    swarm.rules.token_budget = 4000;
    swarm.peers[0].fold = swarm.fresh();
    swarm.said.truncate(1);
    swarm.share_all();
    let updates: Vec<Said> = (0..6).map(|_| swarm.update(0, 1e-3)).collect();
    let weights: Vec<u32> = updates.iter().map(|said| swarm.weight(said)).collect();
    assert_eq!(weights, [65536, 57344, 49152, 40960, 32768, 32768]);
}

#[test]
fn a_newcomer_weighs_nothing_until_a_passed_verdict_is_in_its_past() {
    let mut swarm = Swarm::new(2, 3);
    swarm.share_all();
    calm(&mut swarm, 3);
    let first = swarm.said.last().unwrap().clone();
    assert_eq!((first.entry.author(), swarm.weight(&first)), (swarm.id(2), 0));
    let verdict = swarm.verdict(0, &first.entry, true);
    let unaware = swarm.update(2, 1e-3);
    assert_eq!(swarm.weight(&unaware), 0, "the verdict is not in its past yet");
    swarm.share(0, 2);
    assert!(swarm.fold(2).log().version().contains(&verdict.entry.author(), verdict.entry.seq()));
    let aware = swarm.update(2, 1e-3);
    swarm.share_all();
    assert!(swarm.weight(&aware) > 0);
    assert_eq!((swarm.weight(&first), swarm.weight(&unaware)), (0, 0), "what was said on probation stays at zero");
}

#[test]
fn three_times_the_median_norm_counts_half() {
    let mut swarm = founded(3);
    (0..3).for_each(|_| drop(calm(&mut swarm, 3)));
    let mut twin = swarm.clone();
    let (plain, loud) = (twin.update(0, 1e-3), swarm.update(0, 3e-3));
    let mut norms: Vec<u64> = (0..3).map(|p| latest_norm(&twin, p)).collect();
    norms.sort_unstable();
    let norm = loud.entry.update().unwrap().norm;
    let ratio = norm as f64 / norms[1] as f64;
    assert!((2.8..3.2).contains(&ratio), "about three times the median: {ratio}");
    let clip = f64::from(swarm.weight(&loud)) / f64::from(twin.weight(&plain));
    assert!((clip - 1.5 / ratio).abs() < 1e-3, "{clip} is not 1.5/{ratio}");
}

/// Norm of the newest update of `peer` in the causal past of what peer 0 said last.
fn latest_norm(swarm: &Swarm, peer: usize) -> u64 {
    let chain = swarm.fold(1).log().chain(&swarm.id(peer));
    chain.last().unwrap().latest_norm.unwrap()
}

#[test]
fn with_others_at_work_nobody_passes_half() {
    let mut swarm = founded(2);
    calm(&mut swarm, 2);
    // Peer 1 does ten times as much in one segment as peer 0 did meanwhile.
    swarm.update(0, 1e-3);
    swarm.share(0, 1);
    let (mut update, payload) = swarm.draft(1, 1e-3);
    update.steps = 100;
    update.tokens = 100 * u64::from(swarm.rules.tokens_per_step);
    let clock = swarm.fold(1).clock();
    let said = swarm.say(1, Body::Update(update), Some(payload));
    let alpha = swarm.rules.alpha_q16(clock);
    assert!(swarm.weight(&said) <= alpha / 2 && swarm.weight(&said) > alpha * 49 / 100, "{}", swarm.weight(&said));
    assert!(alpha < ONE_Q16);
}

#[test]
fn who_works_less_counts_less() {
    let mut swarm = founded(3);
    calm(&mut swarm, 3);
    let (mut update, payload) = swarm.draft(0, 1e-3);
    update.steps = 1;
    update.tokens = u64::from(swarm.rules.tokens_per_step);
    let said = swarm.say(0, Body::Update(update), Some(payload));
    let share = share_of_alpha(&swarm, &[said]);
    assert!((share - 1.0 / 21.0).abs() < 1e-3, "1 step of 21 that were done meanwhile: {share}");
}

#[test]
fn the_share_is_that_of_the_last_sixteen_updates_not_of_the_last_one() {
    let mut swarm = founded(2);
    let mut weights = Vec::new();
    // Peer 1 makes its updates two by two: of peer 0's, every other one comes after two of them, and every other after none.
    for round in 0..40 {
        let said = swarm.update(0, 1e-3);
        weights.push(swarm.weight(&said));
        if round % 2 == 0 {
            (0..2).for_each(|_| drop(swarm.update(1, 1e-3)));
        }
        swarm.share_all();
    }
    let alpha = f64::from(swarm.rules.alpha_q16(swarm.fold(0).clock()));
    let shares: Vec<f64> = weights[20..].iter().map(|weight| f64::from(*weight) / alpha).collect();
    assert!(shares.iter().all(|share| (0.48..0.52).contains(share)), "of one update alone ⅓ and 1 in turn: {shares:?}");
}

#[test]
fn what_was_said_on_probation_is_no_work_of_ones_own() {
    let mut swarm = Swarm::new(2, 3);
    swarm.share_all();
    for _ in 0..6 {
        calm(&mut swarm, 3);
    }
    let first =
        swarm.fold(2).log().chain(&swarm.id(2)).iter().find(|r| r.entry.update().is_some()).unwrap().entry.clone();
    swarm.verdict(0, &first, true);
    swarm.share_all();
    let aware = swarm.update(2, 1e-3);
    swarm.share_all();
    let share = share_of_alpha(&swarm, &[aware]);
    assert!((0.3..0.35).contains(&share), "a third of what was done since its last update: {share}");
}
