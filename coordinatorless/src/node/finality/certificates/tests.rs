//! What is followed of a chain of which only the first part is genuine.

use murmur_collectives::{Ballot, Signed, Voter};

use super::super::bench::{Bench, all_say, exchange, voters};
use super::*;
use crate::Time;

/// Voters that decided once.
fn decided() -> Vec<Bench> {
    let (mut benches, mut said) = voters(4);
    all_say(&mut benches, &mut said, Bench::update);
    exchange(&mut benches, Time(1));
    assert!(benches.iter().all(|bench| bench.set.fold.epochs().number() == 1));
    benches
}

/// `frontier`, signed by some of the benches, with the rows of the newest frontier.
fn signed(benches: &[Bench], frontier: Frontier, signers: &[usize]) -> Proven {
    let run = benches[0].set.fold.run();
    let sign = |n: &usize| {
        let (epoch, name) = (frontier.epoch, frontier.name());
        let vote = Vote::sign(&benches[*n].core.identity, run, epoch, 0, Ballot::Precommit, name);
        Signed { voter: vote.voter, signature: vote.signature }
    };
    let mut signed: Vec<Signed> = signers.iter().map(sign).collect();
    signed.sort_unstable_by_key(|signed| signed.voter);
    let rows = benches[0].set.fold.epochs().newest().rows.clone();
    Proven { certificate: Certificate { frontier, round: 0, signed }, rows }
}

/// What follows `previous` if only bench `n` says so, with all the work its own.
fn invented(benches: &[Bench], previous: &Frontier, n: usize) -> Proven {
    let every = benches[0].finality.rules.frontier_every_tokens;
    let voters = vec![Voter { peer: benches[n].id(), weight: 1 }];
    let (epoch, clock) = (previous.epoch + 1, previous.clock + 8 * every);
    signed(benches, Frontier { epoch, previous: previous.name(), clock, voters, ..previous.clone() }, &[n])
}

fn fetched(bench: &mut Bench) -> Vec<Certificate> {
    let raised = bench.raised();
    let chain = raised.into_iter().find_map(|event| match event {
        Event::FetchFinal { chain, .. } => Some(chain),
        Event::Finalized => None,
    });
    chain.unwrap()
}

#[test]
fn who_goes_over_to_another_history_leaves_what_was_appended_to_it() {
    let mut benches = decided();
    let ours = benches[0].set.fold.epochs().newest().frontier.clone();
    let fewer = benches[0].finality.certificates()[0].clone();
    // Names decide where equally many signed: one of these is the smaller.
    let of = |n: u8| signed(&benches, Frontier { state: Hash([n; 32]), ..(*ours).clone() }, &[0, 1, 2, 3]);
    let genesis = Frontier::genesis(&benches[0].finality.rules);
    let other = (0..=255).map(of).find(|other| other.certificate.is_stronger(&fewer, &genesis)).unwrap();
    let appended = invented(&benches, &other.certificate.frontier, 3);
    let from = benches[3].id();
    benches[0].raised();
    benches[0].take(Message::Certificates { chain: vec![other.clone(), appended] }, from);
    assert_eq!(fetched(&mut benches[0]), [other.certificate]);
}
