//! Finality when voters are gone for good: who came later decides, and no stranger can pretend to be that.

use core::time::Duration;

use murmur_collectives::{Ballot, Certificate, Frontier, Hash, PeerId, Proposal, Signed, Vote, Voter};
use murmur_coordinatorless::{Message, Proven};

use crate::{
    finality::{train, world},
    net::Net,
};

#[test]
fn peers_whom_no_voter_ever_knew_decide_when_all_voters_are_gone() {
    let mut net = Net::new(world(50), 8, 3);
    (0..3).for_each(|peer| net.start(peer));
    train(&mut net, 4);
    net.pass(Duration::from_secs(30));
    let before = net.epoch(0);
    assert!(before > 0, "{}", net.describe());
    (3..8).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(5));
    train(&mut net, 1); // enough to be audited, and to be trusted
    net.pass(Duration::from_secs(5));
    let voters: Vec<PeerId> =
        net.nodes[&3].fold().epochs().newest().frontier.voters.iter().map(|voter| voter.peer).collect();
    assert!((3..8).all(|peer| !voters.contains(&net.id(peer))), "newcomers are voters already");
    (0..3).for_each(|peer| net.kill(peer));
    train(&mut net, 40);
    net.pass(Duration::from_secs(60));
    assert!(net.epoch(3) > before, "{}", net.describe());
    let at = net.epoch(3);
    train(&mut net, 8);
    assert!(net.epoch(3) >= at + 2, "and then as ever: {}", net.describe());
    assert_eq!(net.roots(&[]).len(), 1);
}

/// Four founders and a stranger that have made something final, and its epoch.
pub(crate) fn decided(seed: u64) -> (Net, u32) {
    let mut net = Net::new(world(seed), 5, 4);
    (0..5).for_each(|peer| net.start(peer));
    train(&mut net, 3);
    net.pass(Duration::from_secs(30));
    let before = net.epoch(0);
    assert!(before > 0, "{}", net.describe());
    (net, before)
}

/// What only the stranger stands behind: real rows if there are any, and all the weight its own.
pub(crate) fn invented(net: &Net, stranger: usize, previous: &Frontier, rows: &Proposal) -> Proven {
    let voters = vec![Voter { peer: net.id(stranger), weight: 1000 }];
    let frontier = Frontier {
        epoch: previous.epoch + 1,
        previous: previous.name(),
        clock: previous.clock + 8 * net.rules().frontier_every_tokens,
        state: Hash([6; 32]),
        voters,
        ..rows.frontier.clone()
    };
    let vote = Vote::sign(net.identity(stranger), net.run_id(), frontier.epoch, 0, Ballot::Precommit, frontier.name());
    let signed = vec![Signed { voter: vote.voter, signature: vote.signature }];
    Proven { certificate: Certificate { frontier, round: 0, signed }, rows: rows.rows.clone() }
}

#[test]
fn a_stranger_cannot_invent_what_is_final() {
    let (mut net, before) = decided(51);
    while net.nodes[&0].fold().candidate().is_none() {
        (0..4).for_each(|peer| net.author(peer));
    }
    let held = net.nodes[&0].fold().candidate().unwrap_or_else(|| unreachable!());
    let newest = net.nodes[&0].fold().epochs().newest().frontier.clone();
    // One that all of it is held for, and three whose entries nobody has: to be fetched from whoever says so.
    let one = invented(&net, 4, &newest, &held);
    let mut chain = vec![one.clone()];
    for _ in 0..2 {
        let previous = chain.last().map(|proven| proven.certificate.frontier.clone()).unwrap_or_else(|| unreachable!());
        chain.push(invented(&net, 4, &previous, &held));
    }
    let names: Vec<Hash> = chain.iter().map(|proven| proven.certificate.frontier.name()).collect();
    for (to, chain) in [vec![one.clone()], vec![one], chain.clone(), chain].into_iter().enumerate() {
        net.inject(4, to, Message::Certificates { chain }.encode());
        assert!(net.nodes[&to].is_caught_up(), "peer {to} gives up what it holds");
        assert_eq!(net.epoch(to), before, "peer {to} believes a stranger");
    }
    train(&mut net, 6);
    net.pass(Duration::from_secs(30));
    for peer in 0..4 {
        let fold = net.nodes[&peer].fold();
        assert!(fold.epochs().number() > before, "it goes on: {}", net.describe());
        assert!(names.iter().all(|name| !fold.epochs().names().contains(name)), "peer {peer} believed a stranger");
        assert!(net.nodes[&peer].is_caught_up());
    }
    assert_eq!(net.roots(&[4]).len(), 1);
}

/// A chain of three frontiers that only the stranger stands behind, from the beginning of the run on.
fn invented_run(net: &Net, stranger: usize) -> Vec<Proven> {
    let genesis = Frontier::genesis(net.rules());
    let mut previous = genesis.clone();
    let mut chain = Vec::new();
    for _ in 0..3 {
        let nothing = Proposal { frontier: genesis.clone(), rows: Vec::new() };
        let frontier = Frontier { rows: murmur_collectives::rows_digest(&[]), ..nothing.frontier };
        let proven = invented(net, stranger, &previous, &Proposal { frontier, rows: Vec::new() });
        previous = proven.certificate.frontier.clone();
        chain.push(proven);
    }
    chain
}

#[test]
fn strangers_cannot_give_a_run_that_has_just_begun_another_history() {
    let mut net = Net::new(world(52), 6, 4);
    (0..6).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(10));
    // Two strangers tell the same story, again and again, before any work is done: nobody has any by which to judge them.
    let chain = invented_run(&net, 4);
    for stranger in [4, 5, 4, 5] {
        for to in 0..4 {
            net.inject(stranger, to, Message::Certificates { chain: chain.clone() }.encode());
            assert!(net.nodes[&to].is_caught_up(), "peer {to} gives up what it holds");
        }
        net.pass(Duration::from_secs(2));
    }
    train(&mut net, 6);
    net.pass(Duration::from_secs(30));
    for peer in 0..4 {
        let epochs = net.nodes[&peer].fold().epochs();
        assert!(epochs.number() > 0, "it goes on: {}", net.describe());
        assert!(chain.iter().all(|proven| !epochs.names().contains(&proven.certificate.frontier.name())));
    }
    assert_eq!(net.roots(&[4, 5]).len(), 1);
}
