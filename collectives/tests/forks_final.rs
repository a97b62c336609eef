//! Forks and final frontiers: a frontier means the same to who knows of a fork and to who does not yet.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{
    Ballot, Body, Certificate, Entry, Equivocation, Fold, Hash, Header, Judgement, Proposal, Signed, Update, Vote,
};
use support::{Said, Swarm, offer_until_quiet, run, within};

/// The forger.
const FORGER: usize = 3;

/// Peer 1 has built on what the forger said; peers 0 and 2 know that it is one of two branches.
struct Built {
    swarm: Swarm,
    upon: Said,
    proof: Said,
}

fn built_on_a_branch() -> Built {
    let mut swarm = Swarm::with_frontiers(4, 3000);
    swarm.round(0..4);
    let branch = swarm.update(FORGER, 1e-3);
    swarm.share(FORGER, 1);
    let upon = swarm.update(1, 1e-3);
    let body = Body::Update(Update { trace: Hash([7; 32]), ..branch.entry.update().unwrap().clone() });
    let twin = Entry::sign(&swarm.peers[FORGER].identity, Header { body, ..branch.entry.to_header() });
    (0..2).for_each(|_| [0, 2].into_iter().for_each(|peer| drop(swarm.update(peer, 1e-3))));
    for (from, to) in [(2, 0), (0, 1), (1, 2), (1, 0)] {
        swarm.share(from, to);
    }
    let proof = swarm.say(2, Body::Equivocation(Equivocation::of(&branch.entry, &twin)), None);
    tell(&mut swarm, 2, 0);
    Built { swarm, upon, proof }
}

/// `to` hears what `from` holds, and may cut its chain for it.
fn tell(swarm: &mut Swarm, from: usize, to: usize) {
    let said = within(&swarm.said, swarm.fold(from).log().version());
    offer_until_quiet(&mut swarm.peers[to].fold, &said);
}

fn certify(swarm: &Swarm, proposal: &Proposal) -> Certificate {
    let frontier = proposal.frontier.clone();
    let sign = |n: usize| {
        let vote = Vote::sign(&swarm.peers[n].identity, run(), frontier.epoch, 0, Ballot::Precommit, frontier.name());
        Signed { voter: vote.voter, signature: vote.signature }
    };
    let mut signed: Vec<Signed> = [0, 1, 2].into_iter().map(sign).collect();
    signed.sort_unstable_by_key(|signed| signed.voter);
    Certificate { frontier, round: 0, signed }
}

fn root_of_the_final(fold: &Fold) -> Hash {
    Hash(murmur_kernels::state_root(&fold.state_at(&fold.epochs().newest().view).unwrap()))
}

#[test]
fn a_frontier_that_leaves_the_proof_out_leaves_out_what_was_built_on_the_branch() {
    let Built { mut swarm, upon, proof } = built_on_a_branch();
    let mut view = swarm.fold(0).log().version().clone();
    assert!(view.contains(&swarm.id(1), upon.entry.seq()));
    view.set(swarm.id(2), proof.entry.seq());
    let proposal = swarm.fold(0).candidate_within(&view).expect("enough was done");
    let certificate = certify(&swarm, &proposal);
    // Peer 1 has not heard of the fork.
    for peer in [0, 1] {
        assert_eq!(swarm.fold(peer).judge(&proposal), Judgement::Good, "peer {peer}");
        swarm.peers[peer].fold.finalize(&certificate, proposal.clone()).unwrap();
        assert_eq!(root_of_the_final(swarm.fold(peer)), proposal.frontier.state, "peer {peer}");
    }
    tell(&mut swarm, 0, 1);
    tell(&mut swarm, 1, 0);
    assert_eq!(swarm.fold(0).state_root(), swarm.fold(1).state_root());
    assert_eq!(swarm.fold(0).foundation(), swarm.fold(1).foundation());
}

#[test]
fn with_the_proof_it_holds_both() {
    let Built { mut swarm, upon, .. } = built_on_a_branch();
    let proposal = swarm.fold(0).candidate_within(&swarm.fold(0).log().version().clone()).expect("enough was done");
    assert!(proposal.view().contains(&swarm.id(1), upon.entry.seq()));
    assert_ne!(swarm.fold(1).judge(&proposal), Judgement::Good, "the proof is missing");
    tell(&mut swarm, 0, 1);
    assert_eq!(swarm.fold(1).judge(&proposal), Judgement::Good);
}

#[test]
fn what_comes_back_weighs_in_what_was_built_on_it_before_the_frontier_is_final() {
    let Built { mut swarm, upon, .. } = built_on_a_branch();
    let apart = swarm.update(0, 1e-3);
    assert!(apart.entry.base().contains(&swarm.id(1), upon.entry.seq()), "it builds on what was built on the branch");
    assert!(swarm.fold(0).log().is_past_whole(&apart.entry));
    let proposal = swarm.fold(1).candidate().expect("enough was done");
    swarm.peers[0].fold.expect_final(&proposal);
    tell(&mut swarm, 1, 0);

    let fold = swarm.fold(0);
    assert!(fold.holds(&proposal), "the branch is back");
    let state = fold.state_at(&proposal.view()).unwrap();
    assert_eq!(Hash(murmur_kernels::state_root(&state)), proposal.frontier.state);
    assert!(!fold.log().is_past_whole(&apart.entry), "its author had weighed without the branch: nobody can replay it");
    let after = swarm.update(0, 1e-3);
    assert!(swarm.fold(0).log().is_past_whole(&after.entry));
}

#[test]
fn what_all_have_cut_since_they_voted_for_it_is_there_when_it_is_decided() {
    let Built { mut swarm, proof, .. } = built_on_a_branch();
    let proposal = swarm.fold(1).candidate().expect("enough was done");
    tell(&mut swarm, 2, 1);
    let certificate = certify(&swarm, &proposal);
    for peer in 0..3 {
        let fold = &mut swarm.peers[peer].fold;
        assert!(fold.log().version().contains(&proof.entry.author(), proof.entry.seq()), "it knows of the fork");
        assert!(!fold.holds(&proposal), "it has cut the branch");
        fold.expect_final(&proposal);
        assert!(fold.holds(&proposal), "peer {peer} had the branch");
        fold.finalize(&certificate, proposal.clone()).unwrap();
        assert_eq!(root_of_the_final(fold), proposal.frontier.state, "peer {peer}");
    }
    assert_eq!(swarm.fold(0).state_root(), swarm.fold(1).state_root());
}
