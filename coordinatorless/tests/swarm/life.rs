//! The life of honest swarms: training, loss, joining, being killed, coming back, partitions, finishing.

use core::time::Duration;

use murmur_collectives::{Body, ONE_Q16};
use murmur_coordinatorless::{Delay, Event, Input, Reach};

use crate::net::{Net, World, address};

fn founded(world: World, founders: usize, peers: usize) -> Net {
    let mut net = Net::new(world, peers, founders);
    (0..founders).for_each(|peer| net.start(peer));
    net
}

#[test]
fn founders_hold_the_same_model_after_training() {
    let mut net = founded(World::calm(1), 4, 4);
    net.train(5);
    net.pass(Duration::from_secs(3));
    assert_eq!(net.roots(&[]).len(), 1);
    assert_eq!(net.updates(0), 20);
}

#[test]
fn loss_and_doubling_of_messages_are_repaired() {
    for seed in 0..10 {
        let world = World { loss_percent: 20, double_percent: 10, ..World::calm(seed) };
        let mut net = founded(world, 5, 5);
        net.train(4);
        net.pass(Duration::from_secs(60));
        assert_eq!((net.roots(&[]).len(), net.updates(0)), (1, 20), "seed {seed}");
    }
}

#[test]
fn one_seed_gives_one_history() {
    let history = |seed| {
        let mut net = founded(World { loss_percent: 10, ..World::calm(seed) }, 4, 4);
        net.train(3);
        net.pass(Duration::from_secs(20));
        (net.bytes, net.events.len(), net.roots(&[]))
    };
    assert_eq!(history(5), history(5));
}

#[test]
fn an_entry_travels_to_each_peer_once() {
    let mut net = founded(World::calm(2), 8, 8);
    net.pass(Duration::from_secs(2));
    let before = net.bytes;
    net.author(0);
    net.pass(Duration::from_millis(900));
    let payload = net.nodes[&0].fold().log().last_update(&net.id(0)).and_then(|r| r.payload.clone());
    let payload = payload.expect("held by its author").len() as u64;
    let spent = net.bytes - before;
    assert!(spent >= 7 * payload, "{spent} bytes for 7 copies of {payload}");
    assert!(spent <= 7 * (payload + 1500) + 8 * 8 * 600, "{spent} bytes for 7 copies of {payload}");
}

#[test]
fn a_newcomer_that_began_at_a_final_frontier_survives_being_killed() {
    for lost_state in [false, true] {
        let mut net = founded(World { frontier_every_tokens: 800, ..World::calm(11) }, 3, 4);
        net.train(6);
        net.start(3);
        net.pass(Duration::from_secs(3));
        net.train(1);
        net.pass(Duration::from_secs(3));
        net.kill(3);
        net.train(1);
        if lost_state {
            net.lose_final_state(3);
        }
        net.start(3);
        net.pass(Duration::from_secs(5));
        net.train(1);
        net.pass(Duration::from_secs(3));
        assert_eq!((net.roots(&[]).len(), net.updates(3)), (1, 6 * 3 + 4 + 3 + 4), "{}", net.describe());
    }
}

#[test]
fn a_newcomer_without_a_final_frontier_folds_the_whole_log() {
    let mut net = founded(World { loss_percent: 5, ..World::calm(4) }, 3, 4);
    net.train(40);
    net.start(3);
    net.pass(Duration::from_secs(20));
    assert!(net.has_event(3, |event| matches!(event, Event::CaughtUp)), "{}", net.describe());
    assert_eq!((net.roots(&[]).len(), net.updates(3)), (1, 120));
}

#[test]
fn the_others_go_on_when_any_peer_is_killed() {
    for victim in 0..4 {
        let mut net = founded(World::calm(5), 4, 4);
        net.train(2);
        net.pass(Duration::from_secs(2)); // what nobody has pulled yet dies with its author
        net.kill(victim);
        net.train(3);
        net.pass(Duration::from_secs(3));
        let survivor = (victim + 1) % 4;
        assert_eq!(net.roots(&[]).len(), 1, "victim {victim}");
        assert_eq!(net.updates(survivor), 4 * 2 + 3 * 3, "victim {victim}");
    }
}

#[test]
fn a_killed_peer_comes_back_as_itself_and_never_forks() {
    for damage in [false, true] {
        let mut net = founded(World::calm(6), 3, 3);
        net.train(3);
        net.kill(1);
        net.train(2);
        if damage {
            net.damage_log(1);
        }
        net.start(1);
        net.pass(Duration::from_secs(4)); // until it knows that no other process has its identity
        net.train(2);
        net.pass(Duration::from_secs(3));
        assert_eq!(net.roots(&[]).len(), 1, "damaged: {damage}\n{}", net.describe());
        let chain = net.nodes[&0].fold().log().chain(&net.id(1)).len();
        assert_eq!(chain, 1 + 3 + 2, "enrolment and five updates, damaged: {damage}");
        assert!(!net.has_event(0, |event| matches!(event, Event::Evicted { .. })));
        let last = net.nodes[&0].fold().log().last_update(&net.id(1)).and_then(|r| r.entry.update().cloned());
        assert_ne!(last.expect("an update").carry_before, murmur_collectives::Hash::NONE, "its carry goes on");
    }
}

/// Its log is gone but for the newest own entry; while the others give it back what it said, it is killed again.
#[test]
fn one_that_is_killed_while_it_gets_its_own_chain_back_never_forks() {
    for milliseconds in (20..200).step_by(18) {
        let mut net = founded(World { audit_rate_q16: ONE_Q16, ..World::calm(11) }, 3, 3);
        net.train(60);
        net.pass(Duration::from_secs(5));
        net.kill(1);
        net.damage_log(1);
        net.start(1);
        net.pass(Duration::from_millis(milliseconds));
        net.kill(1);
        net.start(1);
        (0..60).for_each(|_| {
            net.author(1);
            net.pass(Duration::from_millis(100));
        });
        net.pass(Duration::from_secs(10));
        assert!(!net.nodes[&0].fold().is_evicted(&net.id(1)), "killed after {milliseconds} ms: {}", net.describe());
        assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
    }
}

#[test]
fn a_restarted_peer_that_finds_nobody_trains_on_alone() {
    let mut net = founded(World::calm(7), 1, 1);
    net.train(2);
    net.kill(0);
    net.start(0);
    net.pass(Duration::from_secs(6));
    net.train(1);
    assert_eq!(net.updates(0), 3);
}

#[test]
fn both_sides_of_a_partition_train_and_merge() {
    let mut net = founded(World::calm(8), 4, 4);
    net.train(1);
    net.pass(Duration::from_secs(2));
    let cut = [(0, 2), (0, 3), (1, 2), (1, 3)];
    cut.iter().for_each(|(a, b)| net.disconnect(*a, *b));
    // While cut, redials fail: the simulated world connects again only below.
    net.cut = true;
    net.train(3);
    assert!(net.roots(&[]).len() >= 2, "the sides differ while apart");
    net.cut = false;
    cut.iter().for_each(|(a, b)| net.connect(*a, *b));
    net.pass(Duration::from_secs(5));
    assert_eq!((net.roots(&[]).len(), net.updates(0)), (1, 16));
}

#[test]
fn all_finish_with_one_model_and_each_says_so() {
    for seed in 0..5 {
        let mut net = founded(World { loss_percent: 10, ..World::calm(seed) }, 4, 4);
        net.train(3);
        for peer in 0..4 {
            net.handle(peer, Input::Finish { patience: Duration::from_secs(30) });
            net.pass(Duration::from_millis(300));
        }
        net.pass(Duration::from_secs(60));
        for peer in 0..4 {
            assert!(
                net.has_event(peer, |event| *event == Event::Finished { agreed: true }),
                "seed {seed}, peer {peer}"
            );
        }
        assert_eq!(net.roots(&[]).len(), 1, "seed {seed}");
    }
}

#[test]
fn one_peer_leaves_while_the_others_train() {
    let mut net = founded(World::calm(9), 3, 3);
    net.train(2);
    net.handle(0, Input::Finish { patience: Duration::from_secs(2) });
    net.pass(Duration::from_secs(4));
    assert!(net.has_event(0, |event| *event == Event::Finished { agreed: true }));
    assert!(net.nodes[&1].fold().log().version().count(&net.id(0)) == 3, "its last update is safe with the others");
}

#[test]
fn those_who_finish_agree_while_others_train_on() {
    for seed in 0..5 {
        let mut net = founded(World { loss_percent: 5, ..World::calm(seed) }, 5, 5);
        net.train(3);
        for peer in 0..3 {
            net.handle(peer, Input::Finish { patience: Duration::from_secs(3) });
        }
        for _ in 0..200 {
            net.author(3);
            net.pass(Duration::from_millis(40));
            net.author(4);
            net.pass(Duration::from_millis(40));
        }
        for peer in 0..3 {
            assert!(
                net.has_event(peer, |event| *event == Event::Finished { agreed: true }),
                "seed {seed}, peer {peer}"
            );
        }
        assert_eq!(net.roots(&[3, 4]).len(), 1, "seed {seed}: {}", net.describe());
    }
}

#[test]
fn every_chain_begins_with_its_enrolment() {
    let mut net = founded(World::calm(10), 3, 3);
    net.train(2);
    for peer in 0..3 {
        let log = net.nodes[&0].fold().log();
        let first = log.record(&net.id(peer), 0).expect("a chain");
        assert!(matches!(first.entry.header().body, Body::Enroll(_)));
    }
}

#[test]
fn an_audit_whose_author_was_not_met_keeps_nobody_from_finishing() {
    let mut net = founded(World { audit_rate_q16: ONE_Q16, ..World::calm(12) }, 3, 4);
    net.train(2);
    net.pass(Duration::from_secs(2));
    // Peer 0 hears of the next update from others, dials its author for the carry, and meets somebody else there.
    (net.cut, net.silent) = (true, true);
    net.disconnect(0, 2);
    net.author(2);
    net.pass(Duration::from_secs(2));
    let stranger = net.id(3);
    net.handle(0, Input::Connected { peer: stranger, address: address(2), reach: Reach::Direct });
    net.handle(0, Input::Disconnected { peer: stranger });
    for peer in 0..2 {
        net.handle(peer, Input::Finish { patience: Duration::from_secs(1) });
    }
    let delays = net.nodes.get_mut(&0).map(murmur_coordinatorless::Node::delays);
    assert!(delays.is_some_and(|delays| delays.contains(&Delay::Audits { open: 1 })), "the audit is under way");
    net.pass(Duration::from_secs(30));
    assert!(net.has_event(0, |event| *event == Event::Finished { agreed: true }), "{}", net.describe());
}
