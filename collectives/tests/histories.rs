//! Two histories of final frontiers: what belongs to one is no part of the other, and everything before it may be of both.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Ballot, Certificate, Entry, Hash, Header, Insertion, Signed, Vote};
use support::{Said, Swarm, offer, run};

/// Whoever has gone over to another history.
const DESERTER: usize = 3;

/// Four peers with one final frontier.
fn final_view() -> Swarm {
    let mut swarm = Swarm::with_frontiers(4, 2000);
    swarm.round(0..4);
    let proposal = swarm.fold(0).candidate().expect("enough was done");
    let frontier = proposal.frontier.clone();
    let sign = |n: usize| {
        let vote = Vote::sign(&swarm.peers[n].identity, run(), frontier.epoch, 0, Ballot::Precommit, frontier.name());
        Signed { voter: vote.voter, signature: vote.signature }
    };
    let mut signed: Vec<Signed> = (0..3).map(sign).collect();
    signed.sort_unstable_by_key(|signed| signed.voter);
    let certificate = Certificate { frontier, round: 0, signed };
    for peer in &mut swarm.peers {
        assert_eq!(peer.fold.finalize(&certificate, proposal.clone()).unwrap().len(), 0);
    }
    swarm
}

#[test]
fn what_names_another_history_does_not_hide_what_its_author_said_before() {
    let mut swarm = final_view();
    let here = swarm.update(DESERTER, 1e-3);
    let header = here.entry.to_header();
    let there = Header { seq: header.seq + 1, previous: here.entry.hash(), frontier: Hash([5; 32]), ..header };
    let there = Said { entry: Entry::sign(&swarm.peers[DESERTER].identity, there), payload: here.payload.clone() };
    let (author, fold) = (swarm.id(DESERTER), &mut swarm.peers[0].fold);

    let early = offer(fold, &there);
    let Insertion::Waits { needs, .. } = early else { panic!("{early:?}") };
    assert_eq!(needs.count(&author), there.entry.seq());
    assert_eq!(fold.log().reach(&author), here.entry.seq(), "the one before is still to be asked for");
    assert!(matches!(offer(fold, &here), Insertion::Applied { .. }));
    assert!(matches!(offer(fold, &there), Insertion::Excluded));
    let next = fold.log().next_position(&author);
    assert_eq!((next.seq, next.previous), (there.entry.seq() + 1, there.entry.hash()), "its author goes on behind it");
}
