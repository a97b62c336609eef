//! A peer that slept while frontiers went by: what it lacks may be served by nobody any more, and it goes on all the same.

use core::time::Duration;

use murmur_coordinatorless::{Event, Input, Time};

use crate::net::{Net, World};

/// The peer that is stopped.
const SLEEPER: usize = 3;

/// Four founders train; then the sleeper is stopped, for long enough that all connections to it are lost, until the others
/// have made `frontiers` more final.
fn slept(seed: u64, frontiers: u32) -> Net {
    let world = World { frontier_every_tokens: 800, ..World::calm(seed) };
    let mut net = Net::new(world, 5, 4);
    (0..4).for_each(|peer| net.start(peer));
    while net.epoch(0) < 3 || net.epoch(SLEEPER) < net.epoch(0) {
        net.train(1);
        net.pass(Duration::from_secs(2));
    }
    (0..3).for_each(|peer| net.disconnect(peer, SLEEPER));
    net.cut = true;
    let before = net.epoch(0);
    while net.epoch(0) < before + frontiers {
        (0..3).for_each(|peer| net.author(peer));
        net.pass(Duration::from_secs(1));
    }
    net
}

fn wake(net: &mut Net) {
    net.cut = false;
    let others: Vec<usize> = net.nodes.keys().copied().filter(|peer| *peer != SLEEPER).collect();
    others.into_iter().for_each(|peer| net.connect(peer, SLEEPER));
}

fn agrees_with(net: &mut Net, other: usize) {
    assert_eq!(net.epoch(SLEEPER), net.epoch(other), "{}", net.describe());
    assert!(net.nodes[&SLEEPER].is_caught_up(), "{}", net.describe());
    assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
    assert!(!net.events.iter().any(|(_, event)| matches!(event, Event::Banned { .. })), "{}", net.describe());
}

#[test]
fn one_that_slept_through_frontiers_catches_up_from_those_who_lived_through_them() {
    for frontiers in 1..=4 {
        let mut net = slept(1, frontiers);
        wake(&mut net);
        net.pass(Duration::from_secs(30));
        agrees_with(&mut net, 0);
    }
}

/// Only a newcomer is left, which holds the final state and none of the payloads that led to it.
#[test]
fn one_that_slept_through_frontiers_catches_up_although_nobody_serves_their_entries() {
    for frontiers in 1..=3 {
        let mut net = slept(2, frontiers);
        net.start(4);
        net.disconnect(SLEEPER, 4);
        net.pass(Duration::from_secs(10));
        assert!(net.nodes[&4].is_caught_up(), "{}", net.describe());
        assert_eq!(net.epoch(4), net.epoch(0));
        (0..3).for_each(|peer| net.kill(peer));
        wake(&mut net);
        net.pass(Duration::from_secs(90));
        agrees_with(&mut net, 4);
        let before = net.updates(4);
        net.author(SLEEPER);
        net.pass(Duration::from_secs(5));
        assert_eq!(net.updates(4), before + 1, "it takes part again: {}", net.describe());
    }
}

/// What it said last builds on what the next frontier excludes, and is not excluded itself.
#[test]
fn one_that_goes_on_from_a_final_state_goes_on_behind_what_it_had_said() {
    let world = World { frontier_every_tokens: 800, ..World::calm(3) };
    let mut net = Net::new(world, 8, 7);
    (0..7).for_each(|peer| net.start(peer));
    // The sleeper's entries are tried before the witness's when both are looked at again.
    let sleeper = (0..7).min_by_key(|peer| net.id(*peer)).expect("there are seven");
    let witness = (0..7).max_by_key(|peer| net.id(*peer)).expect("there are seven");
    let others: Vec<usize> = (0..7).filter(|peer| ![sleeper, witness].contains(peer)).collect();
    let work = |net: &mut Net, until: u32| {
        for peer in others.iter().cycle().take(100) {
            if net.epoch(sleeper).max(net.epoch(others[0])) < until {
                net.author(*peer);
                net.pass(Duration::from_secs(3));
            }
        }
    };
    net.train(1);
    work(&mut net, 2);
    let late = net.draft(witness);
    work(&mut net, 3);

    net.cut = true;
    for peer in &others {
        net.disconnect(*peer, sleeper);
        net.disconnect(*peer, witness);
    }
    net.handle(witness, Input::Author(Box::new(late)));
    net.pass(Duration::from_secs(1));
    net.author(sleeper);
    let last = |net: &Net, peer: usize| net.nodes[&sleeper].fold().log().next_position(&net.id(peer));
    let (said, epochs) = (last(&net, sleeper).seq, [witness, sleeper].map(|peer| last(&net, peer).epoch));
    assert_eq!(epochs, [2, 3], "{}", net.describe());
    net.kill(witness);
    work(&mut net, 4);

    // Only a newcomer is left, so the sleeper goes on from the final state; and a segment ends at that very moment.
    net.start(7);
    net.disconnect(sleeper, 7);
    net.pass(Duration::from_secs(10));
    others.iter().for_each(|peer| net.kill(*peer));
    net.cut = false;
    net.connect(sleeper, 7);
    while net.epoch(sleeper) < 4 {
        net.pass(Duration::from_millis(1));
        assert!(net.now < Time(200_000_000), "{}", net.describe());
    }
    let draft = net.draft(sleeper);
    net.handle(sleeper, Input::Author(Box::new(draft)));
    net.pass(Duration::from_secs(5));
    net.author(sleeper);
    net.pass(Duration::from_secs(5));
    assert!(last(&net, sleeper).seq > said, "{}", net.describe());
    assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
}
