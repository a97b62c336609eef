//! Final frontiers in a swarm: deciding, pruning, partitions long and short, newcomers, restarts, liars, and stalls.

use core::time::Duration;
use std::collections::BTreeSet;

use murmur_collectives::{Ballot, Hash, ONE_Q16, Proposal, Vote};
use murmur_coordinatorless::{Event, Message};

use crate::net::{Net, PARAMETERS, World};

/// An update is 100 tokens: an epoch is two rounds of four peers.
pub(crate) fn world(seed: u64) -> World {
    World { frontier_every_tokens: 800, ..World::calm(seed) }
}

fn founded(world: World, founders: usize, peers: usize) -> Net {
    let mut net = Net::new(world, peers, founders);
    (0..founders).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(1));
    net
}

/// Rounds of training with enough time in between to decide.
pub(crate) fn train(net: &mut Net, rounds: usize) {
    for _ in 0..rounds {
        net.train(1);
        net.pass(Duration::from_secs(2));
    }
}

fn name(net: &Net, peer: usize) -> Hash {
    net.nodes[&peer].fold().epochs().newest().frontier.name()
}

fn names(net: &Net, peers: &[usize]) -> BTreeSet<Hash> {
    peers.iter().map(|peer| name(net, *peer)).collect()
}

fn part(net: &mut Net, one: &[usize], other: &[usize]) {
    one.iter().for_each(|a| other.iter().for_each(|b| net.disconnect(*a, *b)));
    net.cut = true;
}

fn heal(net: &mut Net) {
    net.cut = false;
    let peers: Vec<usize> = net.nodes.keys().copied().collect();
    for a in &peers {
        peers.iter().filter(|b| *b > a).for_each(|b| net.connect(*a, *b));
    }
}

#[test]
fn a_swarm_makes_its_work_final_and_its_memory_stays_flat() {
    let mut net = founded(world(1), 4, 4);
    let mut most = 0;
    while net.epoch(0) < 50 {
        let before = net.epoch(0);
        train(&mut net, 3);
        assert!(net.epoch(0) > before, "{}", net.describe());
        most = most.max(net.nodes[&0].fold().log().records().count());
    }
    assert!(most < 4 * 2 * 8, "{most} records held");
    assert!(net.disks[&0].records() < 4 * 2 * 8, "the disk is pruned, too");
    assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
}

#[test]
fn lossy_links_do_not_stop_it() {
    for seed in 0..3 {
        let mut net = founded(World { loss_percent: 10, double_percent: 5, ..world(seed) }, 4, 4);
        train(&mut net, 12);
        net.pass(Duration::from_secs(60));
        let fold = net.nodes[&0].fold();
        let open = fold.clock() - fold.epochs().newest().frontier.clock;
        assert!(open < 800, "seed {seed}: {open} tokens are not final a minute later\n{}", net.describe());
        assert_eq!((net.roots(&[]).len(), names(&net, &[0, 1, 2, 3]).len()), (1, 1), "seed {seed}: {}", net.describe());
    }
}

#[test]
fn a_partition_without_a_decision_loses_nothing() {
    let mut net = founded(world(2), 4, 4);
    train(&mut net, 3);
    let before = (net.epoch(0), net.updates(0));
    part(&mut net, &[0, 1], &[2, 3]);
    train(&mut net, 3);
    assert_eq!(net.epoch(0), before.0, "half of the weight decides nothing");
    heal(&mut net);
    net.pass(Duration::from_secs(60));
    assert_eq!((net.roots(&[]).len(), net.updates(0)), (1, before.1 + 12), "{}", net.describe());
    assert!(net.epoch(0) > before.0, "{}", net.describe());
}

/// Of four founders the last was away for so long that its work was excluded, and came back. How much it had said before.
fn back_after_long() -> (Net, u32) {
    let mut net = founded(world(3), 4, 4);
    train(&mut net, 3);
    part(&mut net, &[0, 1, 2], &[3]);
    train(&mut net, 12);
    assert!(net.epoch(0) > net.epoch(3) + 3);
    let own = net.nodes[&3].fold().log().version().count(&net.id(3));
    heal(&mut net);
    net.pass(Duration::from_secs(30));
    assert!(net.nodes[&3].is_caught_up(), "{}", net.describe());
    (net, own)
}

#[test]
fn a_minority_that_was_away_for_long_loses_its_work_and_goes_on() {
    let (mut net, own) = back_after_long();
    train(&mut net, 4);
    net.pass(Duration::from_secs(20));
    assert_eq!((net.roots(&[]).len(), names(&net, &[0, 1, 2, 3]).len()), (1, 1), "{}", net.describe());
    let log = net.nodes[&0].fold().log();
    assert!(log.version().count(&net.id(3)) > own, "it goes on behind what it said: {}", net.describe());
    assert!(!net.nodes[&0].fold().is_evicted(&net.id(3)), "it did nothing wrong");
    let weights = log.chain(&net.id(3)).iter().filter(|r| r.applied.q16() > 0).count();
    assert!(weights > 0, "its new work counts");
}

/// Everyone needs the last of what was excluded to take in what its author says behind it, after a restart, too.
#[test]
fn what_follows_excluded_work_outlives_a_restart_of_all_who_hold_it() {
    let (mut net, excluded) = back_after_long();
    net.author(3);
    net.pass(Duration::from_secs(2));
    let held = |net: &Net| net.nodes[&0].fold().log().version().count(&net.id(3));
    assert!(held(&net) > excluded, "{}", net.describe());
    let before = (held(&net), net.roots(&[]));
    (0..4).for_each(|peer| net.kill(peer));
    (0..3).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(30));
    assert_eq!((held(&net), net.roots(&[])), before, "{}", net.describe());
}

#[test]
fn a_newcomer_whose_enrolment_was_excluded_enrolls_again() {
    let mut net = founded(World { audit_rate_q16: ONE_Q16, ..world(8) }, 3, 4);
    train(&mut net, 3);
    net.start(3);
    while !net.nodes[&3].is_caught_up() {
        net.pass(Duration::from_millis(1));
    }
    part(&mut net, &[0, 1, 2], &[3]);
    train(&mut net, 16);
    assert!(net.epoch(0) > net.epoch(3) + 3);
    let (here, there) = (net.nodes[&0].fold().log(), net.nodes[&3].fold().log());
    assert!(here.vrf_key(&net.id(3)).is_none() && there.vrf_key(&net.id(3)).is_some(), "nobody heard of it in time");
    heal(&mut net);
    net.pass(Duration::from_secs(30));
    train(&mut net, 8);
    net.pass(Duration::from_secs(20));
    assert_eq!((net.roots(&[]).len(), names(&net, &[0, 3]).len()), (1, 1), "{}", net.describe());
    let log = net.nodes[&0].fold().log();
    assert!(log.vrf_key(&net.id(3)).is_some() && log.tokens_of(&net.id(3)) > 0, "{}", net.describe());
    assert!(!net.nodes[&0].fold().is_evicted(&net.id(3)), "it did nothing wrong");
}

#[test]
fn a_newcomer_joins_a_pruned_run_and_takes_part() {
    let mut net = founded(World { audit_rate_q16: ONE_Q16, ..world(4) }, 3, 4);
    train(&mut net, 16);
    assert!(net.epoch(0) >= 4);
    assert!(net.nodes[&0].fold().log().record(&net.id(0), 1).is_none(), "it is pruned");
    net.start(3);
    net.pass(Duration::from_secs(10));
    assert!(net.has_event(3, |event| matches!(event, Event::CaughtUp)), "{}", net.describe());
    train(&mut net, 8);
    net.pass(Duration::from_secs(10));
    assert_eq!((net.roots(&[]).len(), names(&net, &[0, 3]).len()), (1, 1), "{}", net.describe());
    let counts = net.nodes[&0].fold().log().tokens_of(&net.id(3));
    assert!(counts > 0, "once audited, its work counts");
}

#[test]
fn a_peer_restarts_from_a_pruned_disk_as_itself() {
    for away in [0, 1, 12] {
        let mut net = founded(world(5), 4, 4);
        train(&mut net, 9);
        net.kill(1);
        train(&mut net, away);
        net.start(1);
        net.pass(Duration::from_secs(20));
        assert!(net.nodes[&1].is_caught_up(), "away for {away}: {}", net.describe());
        train(&mut net, 4);
        net.pass(Duration::from_secs(20));
        assert_eq!((net.roots(&[]).len(), names(&net, &[0, 1]).len()), (1, 1), "away for {away}: {}", net.describe());
        assert!(!net.nodes[&0].fold().is_evicted(&net.id(1)), "away for {away}: it never forked");
    }
}

#[test]
fn a_whole_swarm_restarts_from_pruned_disks() {
    let mut net = founded(world(6), 4, 4);
    train(&mut net, 9);
    let before = (net.epoch(0), net.roots(&[]));
    (0..4).for_each(|peer| net.kill(peer));
    (0..4).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(20));
    assert_eq!((net.epoch(0), net.roots(&[])), before, "{}", net.describe());
    train(&mut net, 6);
    net.pass(Duration::from_secs(20));
    assert!(net.epoch(0) > before.0, "{}", net.describe());
    assert_eq!(net.roots(&[]).len(), 1);
}

#[test]
fn a_swarm_restarts_although_everybody_s_last_work_is_known_to_nobody_else() {
    let mut net = founded(world(11), 4, 4);
    train(&mut net, 5);
    (0..4).for_each(|peer| (0..peer).for_each(|other| net.disconnect(peer, other)));
    net.cut = true;
    net.train(1);
    net.cut = false;
    assert_eq!(net.roots(&[]).len(), 4);
    (0..4).for_each(|peer| net.kill(peer));
    (0..4).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(20));
    assert!((0..4).all(|peer| net.nodes[&peer].is_caught_up()), "{}", net.describe());
    assert_eq!((net.roots(&[]).len(), net.updates(0)), (1, 4 * 6), "{}", net.describe());
}

#[test]
fn the_state_that_newcomers_fetch_is_held_only_while_they_do() {
    let mut net = founded(world(12), 3, 4);
    train(&mut net, 6);
    let held = |net: &Net| (0..3).map(|peer| net.nodes[&peer].footprint().final_state).sum::<usize>();
    assert_eq!(held(&net), 0);
    net.start(3);
    let mut most = 0;
    while !net.nodes[&3].is_caught_up() {
        net.pass(Duration::from_millis(1));
        most = most.max(held(&net));
    }
    assert!(most >= PARAMETERS * 8, "{most}");
    net.pass(Duration::from_secs(20));
    assert_eq!(held(&net), 0);
}

#[test]
fn a_newcomer_that_is_killed_while_it_fetches_goes_on_where_it_was() {
    for spoilt in [false, true] {
        let mut net = founded(world(13), 3, 4);
        train(&mut net, 6);
        net.start(3);
        while net.chunks_kept(3).len() < 2 {
            net.pass(Duration::from_micros(10));
        }
        net.kill(3);
        if spoilt {
            net.spoil_chunk(3, net.chunks_kept(3)[0]);
        }
        let before = net.chunks_sent;
        net.start(3);
        net.pass(Duration::from_secs(5));
        assert!(net.nodes[&3].is_caught_up() && net.roots(&[]).len() == 1, "{}", net.describe());
        let chunks = PARAMETERS.div_ceil(4096) as u64;
        // The foundation is a chunk, too; a small one, which may be asked of two neighbours.
        let foundation = (net.chunks_sent - before) - (chunks - if spoilt { 1 } else { 2 });
        assert!((1..=2).contains(&foundation), "{foundation} chunks beside those of the state that were missing");
    }
}

#[test]
fn with_half_of_the_voters_gone_for_good_the_rest_decides_after_four_epochs_work() {
    let mut net = founded(world(7), 4, 4);
    train(&mut net, 5);
    net.pass(Duration::from_secs(30));
    let before = net.epoch(0);
    net.kill(2);
    net.kill(3);
    train(&mut net, 14);
    assert_eq!(net.epoch(0), before, "less than four epochs' work");
    train(&mut net, 6);
    net.pass(Duration::from_secs(60));
    assert!(net.epoch(0) > before, "{}", net.describe());
    let at = net.epoch(0);
    train(&mut net, 12);
    assert!(net.epoch(0) >= at + 2, "and then as before");
    assert_eq!(net.roots(&[]).len(), 1);
}

#[test]
fn a_last_survivor_goes_on_for_ever() {
    let mut net = founded(world(8), 4, 4);
    train(&mut net, 5);
    (1..4).for_each(|peer| net.kill(peer));
    train(&mut net, 90);
    net.pass(Duration::from_secs(60));
    let updates = net.updates(0);
    train(&mut net, 60);
    assert!(net.updates(0) >= updates + 60, "{}", net.describe());
}

#[test]
fn without_a_decision_the_log_stops_growing() {
    // Two strangers to each other's weight: the founder that never comes holds the key to everything.
    let mut net = Net::new(world(9), 40, 40);
    net.start(0);
    net.pass(Duration::from_secs(10));
    (0..130).for_each(|_| net.author(0));
    assert!(net.has_event(0, |event| matches!(event, Event::Stalled { .. })), "nothing was decided in no time");
    assert!(net.updates(0) <= 12 * 8 + 1, "{} updates", net.updates(0));
}

#[test]
fn who_is_left_outweighs_who_is_gone_although_nothing_more_was_to_be_added() {
    // Most founders never come, and their turns go by: there is time to add as much as may be before anything is decided.
    let mut net = Net::new(world(12), 40, 40);
    net.config.propose_stagger = Duration::from_secs(4);
    (0..2).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(1));
    (0..130).for_each(|_| net.author(0));
    net.pass(Duration::from_secs(1));
    net.author(1);
    assert_eq!((net.epoch(1), net.updates(1)), (0, 12 * 8), "it holds what it may, and none of it is its own");
    net.kill(0);
    for _ in 0..400 {
        net.author(1);
        net.pass(Duration::from_secs(5));
    }
    assert!(net.epoch(1) > 0, "{} updates: {}", net.updates(1), net.describe());
}

#[test]
fn a_proposal_with_a_wrong_root_or_a_hole_is_decided_by_nobody() {
    let mut net = founded(world(10), 4, 4);
    train(&mut net, 1);
    net.train(1);
    let fold = net.nodes[&0].fold();
    let base = fold.epochs().newest().frontier.clone();
    let good = fold.candidate().unwrap_or_else(|| {
        let frontier = murmur_collectives::Frontier { epoch: base.epoch + 1, clock: 10_000, ..(*base).clone() };
        Proposal { frontier, rows: Vec::new() }
    });
    let mut bad = good.clone();
    bad.frontier.state = Hash([6; 32]);
    let name = bad.frontier.name();
    for to in 0..3 {
        for ballot in [Ballot::Prevote, Ballot::Precommit] {
            let vote = Vote::sign(net.identity(3), net.run_id(), bad.frontier.epoch, 0, ballot, name);
            net.inject(3, to, Message::Votes { votes: vec![vote] }.encode());
        }
        net.inject(3, to, Message::Frontier(Box::new(bad.clone())).encode());
    }
    train(&mut net, 6);
    net.pass(Duration::from_secs(30));
    assert!(net.epoch(0) >= 2, "{}", net.describe());
    let held = net.nodes[&0].fold().epochs().names();
    assert!(!held.contains(&name));
    assert_eq!(names(&net, &[0, 1, 2]).len(), 1, "{}", net.describe());
}

#[test]
fn a_voter_that_says_two_things_decides_nothing_twice() {
    for seed in 0..4 {
        let mut net = founded(world(20 + seed), 4, 4);
        for _ in 0..8 {
            net.train(1);
            // Peer 3 also commits to whatever anyone could propose, telling each something else.
            let candidates: Vec<Option<Proposal>> = (0..3).map(|peer| net.nodes[&peer].fold().candidate()).collect();
            for (to, proposal) in candidates.into_iter().enumerate().filter_map(|(to, p)| Some((to, p?))) {
                for (round, ballot) in
                    [(0, Ballot::Prevote), (0, Ballot::Precommit), (1, Ballot::Prevote), (1, Ballot::Precommit)]
                {
                    let (number, name) = (proposal.frontier.epoch, proposal.frontier.name());
                    let vote = Vote::sign(net.identity(3), net.run_id(), number, round, ballot, name);
                    net.inject(3, to, Message::Votes { votes: vec![vote] }.encode());
                }
                net.inject(3, to, Message::Frontier(Box::new(proposal)).encode());
            }
            net.pass(Duration::from_secs(2));
        }
        net.pass(Duration::from_secs(60));
        let chains: Vec<&[Hash]> = (0..3).map(|peer| net.nodes[&peer].fold().epochs().names()).collect();
        let shared = chains.iter().map(|chain| chain.len()).min().unwrap_or(0);
        assert!(shared >= 3, "seed {seed}: {}", net.describe());
        let net_names: BTreeSet<&[Hash]> = (0..3).map(|p| &net.nodes[&p].fold().epochs().names()[..shared]).collect();
        assert_eq!(net_names.len(), 1, "seed {seed}");
        assert_eq!(net.roots(&[3]).len(), 1, "seed {seed}");
    }
}

#[test]
fn two_histories_that_meet_become_one() {
    // Three of six on each side, for more than four epochs' work: both sides decide, as documented.
    let mut net = founded(World { frontier_every_tokens: 600, ..world(30) }, 6, 6);
    train(&mut net, 3);
    net.pass(Duration::from_secs(20));
    part(&mut net, &[0, 1, 2], &[3, 4, 5]);
    train(&mut net, 24);
    net.pass(Duration::from_secs(60));
    assert_ne!(name(&net, 0), name(&net, 3), "both sides decided: {}", net.describe());
    heal(&mut net);
    net.pass(Duration::from_secs(60));
    train(&mut net, 12);
    net.pass(Duration::from_secs(60));
    assert_eq!((net.roots(&[]).len(), names(&net, &[0, 3]).len()), (1, 1), "{}", net.describe());
    assert!(net.nodes[&0].fold().evicted().is_empty(), "nobody did wrong");
}

#[test]
fn who_comes_back_from_a_longer_history_signs_no_position_twice() {
    let mut net = founded(World { frontier_every_tokens: 600, ..world(31) }, 6, 6);
    let sides = [[0, 1, 2], [3, 4, 5]];
    train(&mut net, 3);
    net.pass(Duration::from_secs(20));
    part(&mut net, &sides[0], &sides[1]);
    train(&mut net, 24);
    // Of frontiers with equally many signers the one with the smaller name stands; the other side makes more epochs.
    let names_of = |net: &Net, peer: usize| net.nodes[&peer].fold().epochs().names().to_vec();
    let (one, other) = (names_of(&net, 0), names_of(&net, 3));
    let parted = one.iter().zip(&other).find(|(one, other)| one != other).expect("both sides decided");
    let [stays, leaves] = if parted.0 < parted.1 { sides } else { [sides[1], sides[0]] };
    while net.epoch(leaves[0]) < net.epoch(stays[0]) + 3 {
        leaves.iter().for_each(|peer| net.author(*peer));
        net.pass(Duration::from_secs(2));
    }
    let place = |net: &Net, of: usize, at: usize| net.nodes[&at].fold().log().next_position(&net.id(of)).seq;
    let said = leaves.map(|peer| place(&net, peer, peer));
    heal(&mut net);
    net.pass(Duration::from_secs(60));
    assert_eq!(names(&net, &[0, 1, 2, 3, 4, 5]), BTreeSet::from([name(&net, stays[0])]), "{}", net.describe());
    // What those who left the longer history had said names epochs that this one does not have yet: they wait for them.
    train(&mut net, 40);
    net.pass(Duration::from_secs(60));
    for peer in 0..6 {
        let fold = net.nodes[&peer].fold();
        assert_eq!((fold.log().forked().count(), fold.evicted()), (0, Vec::new()), "nobody signs twice: {peer}");
    }
    assert_eq!((net.roots(&[]).len(), names(&net, &[0, 3]).len()), (1, 1), "{}", net.describe());
    for (peer, said) in leaves.into_iter().zip(said) {
        assert!(place(&net, peer, stays[0]) > said, "{peer} goes on behind what it said: {}", net.describe());
    }
}
