//! What costs its author nothing buys nothing: a carry made up after a gap, and names that only enrol.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Body, Entry, Hash, Insertion, Invalid, ONE_Q16, Refused, Stage};
use support::{Said, Swarm, offer};

#[test]
fn what_goes_on_from_a_carry_made_up_after_a_gap_weighs_nothing() {
    let mut swarm = Swarm::with_frontiers(4, 2000);
    swarm.epoch(0..4);
    (0..2).for_each(|_| drop(swarm.update(3, 1e-3)));
    (0..2).for_each(|_| swarm.epoch(0..3));
    let last = swarm.said.iter().rfind(|said| said.entry.author() == swarm.id(3)).unwrap().clone();
    let mut behind = swarm.fold(0).clone();
    assert!(matches!(offer(&mut behind, &last), Insertion::Excluded));
    swarm.peers[3].fold = behind;
    // Two of its updates are gone. It may have numbered its segments on, but not further than that.
    let (mut update, payload) = swarm.draft(3, 1e-3);
    update.segment += 3;
    let entry = Entry::sign(&swarm.peers[3].identity, swarm.header(3, Body::Update(update)));
    let far = offer(&mut swarm.peers[3].fold, &Said { entry, payload: Some(payload) });
    assert!(matches!(far, Insertion::Refused(Refused::Invalid(Invalid::Work))), "{far:?}");
    let mut weights = Vec::new();
    for carry_before in [Some(Hash([66; 32])), None, None] {
        let (mut update, payload) = swarm.draft(3, 1e-3);
        update.carry_before = carry_before.or(swarm.fold(3).log().carry(&swarm.id(3))).unwrap();
        let said = swarm.say(3, Body::Update(update), Some(payload));
        weights.push(swarm.weight(&said));
    }
    assert_eq!(weights, [0, 0, 0], "made up, and what goes on from it");
    let clock = swarm.fold(3).clock();
    let fresh = swarm.update(3, 1e-3);
    assert!(swarm.weight(&fresh) > 0, "what starts fresh counts");
    let next = swarm.update(3, 1e-3);
    assert!(swarm.weight(&next) > 0 && next.entry.update().unwrap().carry_before != Hash::NONE);
    assert_eq!(swarm.fold(3).clock(), clock + 2000, "and only that moves the clock");
}

#[test]
fn strangers_that_only_enrol_make_no_audit_rarer() {
    let chance = |peers: usize| {
        let mut swarm = Swarm::new(4, peers);
        swarm.rules.audit_rate_q16 = ONE_Q16 / 20;
        let fresh = swarm.fresh();
        swarm.peers.iter_mut().for_each(|peer| peer.fold = fresh.clone());
        swarm.share_all();
        let said = swarm.update(0, 1e-3);
        swarm.share(0, 1);
        let fold = swarm.fold(1);
        let stranger = swarm.peers.last().unwrap().identity.peer_id();
        assert_eq!(fold.is_eligible(&stranger, &said.entry, 0), peers == 4);
        fold.chance(&said.entry, Stage::First, 0)
    };
    assert_eq!(chance(4), chance(60));
}
