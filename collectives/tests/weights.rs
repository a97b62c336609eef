//! How much an update counts: the formula, and what it promises.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::Body;
use proptest::prelude::*;
use support::{Said, Swarm, finalize, history, reference::Reference};

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

/// What `peer` says of a segment of so many steps.
fn of_steps(swarm: &mut Swarm, peer: usize, steps: u32) -> Said {
    let (mut update, payload) = swarm.draft(peer, 1e-3);
    update.steps = steps;
    update.tokens = u64::from(steps) * u64::from(swarm.rules.tokens_per_step);
    swarm.say(peer, Body::Update(update), Some(payload))
}

#[test]
fn a_segment_longer_than_usual_counts_as_one() {
    let mut swarm = founded(2);
    let long = of_steps(&mut swarm, 1, 100);
    assert_eq!(swarm.weight(&long), swarm.rules.alpha_q16(0) / 2);
}

#[test]
fn who_works_less_counts_less() {
    let mut swarm = founded(3);
    let said = of_steps(&mut swarm, 0, 1);
    let share = share_of_alpha(&swarm, &[said]);
    assert!((share - 1.0 / 30.0).abs() < 1e-3, "a tenth of a third: {share}");
}

#[test]
fn a_token_weighs_the_same_however_its_author_cuts_its_work_and_whatever_base_it_names() {
    // Ten full segments of each, in step with the others.
    let mut honest = founded(4);
    let rounds: Vec<Vec<Said>> = (0..10).map(|_| calm(&mut honest, 4)).collect();
    let fair: u32 = rounds.iter().map(|said| honest.weight(&said[0])).sum();
    // Peer 0 hears nothing from the others after the start, and makes a hundred updates of one step each of as many tokens.
    let mut swarm = founded(4);
    let cut: Vec<Said> = (0..100).map(|_| of_steps(&mut swarm, 0, 1)).collect();
    let gained: u32 = cut.iter().map(|said| swarm.weight(said)).sum();
    let ratio = f64::from(gained) / f64::from(fair);
    assert!((0.98..1.02).contains(&ratio), "{ratio} times the weight of the same tokens");
}

#[test]
fn a_peer_that_stays_silent_leaves_the_weights_once_its_silence_is_final() {
    let mut swarm = Swarm::with_frontiers(4, 9000);
    (0..6).for_each(|_| drop(calm(&mut swarm, 3)));
    let before = swarm.update(0, 1e-3);
    swarm.share_all();
    assert!((share_of_alpha(&swarm, &[before]) - 0.25).abs() < 0.01, "a quarter, as the founders planned");
    finalize(&mut swarm, &[0, 1, 2, 3]);
    let after = swarm.update(0, 1e-3);
    swarm.share_all();
    assert!((share_of_alpha(&swarm, &[after]) - 1.0 / 3.0).abs() < 0.01, "a third of those who are left");
}

#[test]
fn a_newcomer_counts_as_one_peer_and_what_it_said_on_probation_not_at_all() {
    let mut swarm = Swarm::new(2, 3);
    swarm.share_all();
    (0..6).for_each(|_| drop(calm(&mut swarm, 3)));
    let said = calm(&mut swarm, 2);
    assert!((share_of_alpha(&swarm, &said) - 1.0).abs() < 0.01, "the founders share as if it were not there");
    let first = swarm.fold(2).log().chain(&swarm.id(2)).iter().find(|r| r.entry.update().is_some()).unwrap();
    let first = first.entry.clone();
    swarm.verdict(0, &first, true);
    swarm.share_all();
    let joined = calm(&mut swarm, 3);
    assert!((share_of_alpha(&swarm, &joined[2..]) - 1.0 / 3.0).abs() < 0.01, "it counts itself");
    let next = calm(&mut swarm, 3);
    assert!((share_of_alpha(&swarm, &next) - 1.0).abs() < 0.01, "and the others count it when its tokens do");
}
