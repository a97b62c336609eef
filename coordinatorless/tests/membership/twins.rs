//! A folder that was copied while its owner lives: the second process is told to stop before it signs anything, and the
//! first goes on. A peer that merely restarts is not taken for a second process, and comes back soon.

use murmur_coordinatorless::{Config, Event};

use crate::net::{Net, seconds};

/// Where copies are started.
const COPY: usize = 1000;

/// `peers` founders that have trained for a while.
fn trained(seed: u64, peers: usize) -> Net {
    trained_with(seed, peers, Config::default())
}

fn trained_with(seed: u64, peers: usize, config: Config) -> Net {
    let mut net = Net::new(seed, peers);
    net.config = config;
    net.settle_in(peers);
    net.train(seconds(5));
    net
}

/// Only the process at `place` was told to stop, before it signed anything, and nobody signed twice.
fn only_stopped(net: &Net, place: usize, what: &str) {
    let stopped = net.events.iter().filter(|(_, event)| *event == Event::IdentityInUse).map(|(at, _)| *at);
    assert_eq!(stopped.collect::<Vec<_>>(), [place], "{what}");
    assert_eq!((net.signed_at(place), net.forks()), (0, 0), "{what}: the second signs nothing");
    nobody_is_evicted(net, what);
}

fn nobody_is_evicted(net: &Net, what: &str) {
    let evicted = net.events.iter().any(|(_, event)| matches!(event, Event::Evicted { .. }));
    assert!(!evicted && net.forks() == 0, "{what}");
}

/// `place` trains, and the others hold what it says.
fn goes_on(net: &mut Net, place: usize, witness: usize, what: &str) {
    let me = net.id(place);
    let before = net.nodes[&witness].fold().log().reach(&me);
    net.train(seconds(10));
    let after = net.nodes[&witness].fold().log().reach(&me);
    assert!(after >= before + 8, "{what}: {before} entries before, {after} after");
}

#[test]
fn of_two_peers_one_is_copied_and_the_copy_dials_the_other() {
    for seed in 0..20 {
        let mut net = trained(seed, 2);
        net.start_copy(COPY, 1);
        net.introduce(COPY, 0);
        net.train(seconds(20));
        only_stopped(&net, COPY, &format!("seed {seed}"));
        goes_on(&mut net, 1, 0, &format!("seed {seed}"));
    }
}

#[test]
fn of_a_peer_without_neighbours_the_copy_dials_the_original_itself() {
    let mut net = trained(1, 1);
    net.start_copy(COPY, 0);
    net.introduce(COPY, 0);
    net.train(seconds(20));
    only_stopped(&net, COPY, "a peer alone");
    assert!(net.signed_at(0) > 20, "it goes on");
}

#[test]
fn a_peer_that_dials_the_copy_of_itself_goes_on() {
    let mut net = trained(2, 3);
    net.start_copy(COPY, 1);
    net.introduce(1, COPY);
    net.introduce(COPY, 0);
    net.train(seconds(20));
    only_stopped(&net, COPY, "dialed by the original");
    goes_on(&mut net, 1, 0, "dialed by the original");
}

#[test]
fn of_four_peers_one_is_copied_and_the_copy_dials_any_of_the_others() {
    for (seed, contact) in [(1, 0), (2, 1), (3, 3)] {
        let mut net = trained(seed, 4);
        net.start_copy(COPY, 2);
        net.introduce(COPY, contact);
        net.train(seconds(20));
        only_stopped(&net, COPY, &format!("by {contact}"));
        goes_on(&mut net, 2, contact, &format!("by {contact}"));
    }
}

#[test]
fn a_copy_is_found_out_by_a_peer_that_the_original_is_not_connected_with() {
    for seed in 0..2 {
        let config = Config { neighbours_target: 8, ..Config::default() };
        let mut net = trained_with(seed, 36, config);
        net.pass(seconds(60));
        let far = (0..36).find(|place| *place != 2 && !net.connected(2).contains(place));
        let far = far.expect("a swarm that is no full mesh");
        net.start_copy(COPY, 2);
        net.introduce(COPY, far);
        net.train(seconds(20));
        only_stopped(&net, COPY, &format!("seed {seed}, by {far}"));
    }
}

#[test]
fn a_copy_is_found_out_where_datagrams_are_lost() {
    for seed in 0..20 {
        let mut net = trained(seed, 3);
        net.loss_percent = 10;
        net.start_copy(COPY, 1);
        net.introduce(COPY, 0);
        net.train(seconds(20));
        only_stopped(&net, COPY, &format!("seed {seed}"));
    }
}

#[test]
fn once_the_copy_has_stopped_nobody_takes_a_connection_from_anybody() {
    let mut net = trained(1, 4);
    net.start_copy(COPY, 2);
    net.introduce(COPY, 0);
    net.train(seconds(20));
    let made = net.connections_made;
    net.train(seconds(60));
    assert_eq!(net.connections_made, made);
    assert!(net.connected(COPY).is_empty(), "it keeps to itself although it still runs");
    assert_eq!(net.connected(2).len(), 3);
}

#[test]
fn a_copy_that_outlives_the_original_goes_on_and_the_original_is_then_the_second() {
    let mut net = trained(2, 4);
    net.kill(2);
    net.start_copy(COPY, 2);
    net.introduce(COPY, 0);
    net.train(seconds(10));
    assert!(net.signed_at(COPY) > 3, "its original is dead: it has moved");
    let signed = net.signed_at(2);
    net.start_on_disk(2, 2);
    net.introduce(2, 1);
    net.train(seconds(20));
    assert!(net.has_event(2, &Event::IdentityInUse) && !net.has_event(COPY, &Event::IdentityInUse));
    assert_eq!(net.signed_at(2), signed);
    nobody_is_evicted(&net, "the folder was moved");
}

#[test]
fn an_original_that_restarts_is_no_second_process_and_signs_again_soon() {
    for seed in 0..20 {
        let mut net = trained(seed, 4);
        for round in 0..3 {
            net.kill(2);
            let signed = net.signed_at(2);
            net.start_on_disk(2, 2);
            net.introduce(2, 0);
            net.train(seconds(6));
            assert!(net.signed_at(2) > signed, "seed {seed}, round {round}");
        }
        let told = net.events.iter().any(|(_, event)| matches!(event, Event::IdentityInUse | Event::Usurped));
        assert!(!told, "seed {seed}");
        nobody_is_evicted(&net, &format!("seed {seed}"));
    }
}

#[test]
fn an_original_that_restarts_while_its_old_connections_are_still_held_signs_again_soon() {
    let mut net = trained(3, 2);
    net.stop(1); // it hangs for ever: nobody is told that it is gone
    net.start_copy(COPY, 1);
    net.introduce(COPY, 0);
    net.train(seconds(6));
    assert!(net.signed_at(COPY) > 0);
    assert!(!net.has_event(COPY, &Event::IdentityInUse));
}

#[test]
fn a_swarm_that_restarts_at_once_comes_back() {
    let mut net = trained(4, 4);
    (0..4).for_each(|place| net.kill(place));
    let signed = net.signed.len();
    (0..4).for_each(|place| net.start_on_disk(place, place));
    net.train(seconds(8));
    assert!((0..4).all(|place| net.signed[signed..].iter().any(|(at, ..)| *at == place)));
    assert!(!net.events.iter().any(|(_, event)| matches!(event, Event::IdentityInUse | Event::Usurped)));
}

#[test]
fn a_restarted_peer_that_finds_nobody_goes_on_alone() {
    let mut net = trained(5, 2);
    net.kill(0);
    net.kill(1);
    let signed = net.signed_at(1);
    net.start_on_disk(1, 1);
    net.train(seconds(7));
    assert!(net.signed_at(1) > signed);
}

#[test]
fn founders_of_a_new_run_wait_for_nobody() {
    let mut net = Net::new(6, 3);
    (0..3).for_each(|place| net.start(place, place));
    net.train(seconds(1));
    assert!((0..3).all(|place| net.signed_at(place) > 1));
}

#[test]
fn two_copies_started_at_once_both_stop() {
    let mut net = trained(7, 4);
    for (place, contact) in [(COPY, 0), (COPY + 1, 3)] {
        net.start_copy(place, 2);
        net.pass(core::time::Duration::from_millis(1));
        net.introduce(place, contact);
    }
    net.train(seconds(30));
    assert!([COPY, COPY + 1].iter().all(|place| net.has_event(*place, &Event::IdentityInUse)));
    assert!([COPY, COPY + 1].iter().all(|place| net.signed_at(*place) == 0));
    assert!(!net.has_event(2, &Event::IdentityInUse));
    goes_on(&mut net, 2, 0, "two copies");
}

#[test]
fn of_two_peers_both_are_copied_one_after_the_other() {
    for seed in 0..10 {
        let mut net = trained(seed, 2);
        net.start_copy(COPY, 1);
        net.introduce(COPY, 0);
        net.train(seconds(8));
        only_stopped(&net, COPY, &format!("seed {seed}"));
        net.kill(COPY);
        net.events.clear();
        // The other peer last saw the copied one where nobody is any more.
        net.start_copy(COPY + 1, 0);
        net.introduce(COPY + 1, 1);
        net.train(seconds(20));
        only_stopped(&net, COPY + 1, &format!("seed {seed}"));
        goes_on(&mut net, 0, 1, &format!("seed {seed}"));
    }
}

#[test]
fn two_peers_that_copies_came_between_for_moments_are_soon_connected_again() {
    for seed in 0..20 {
        let mut net = trained(seed, 2);
        for round in 0..3 {
            net.part(0, 1);
            net.pass(core::time::Duration::from_millis(100));
            // Nobody knows these places: the originals cannot take them for each other's.
            let copies = [COPY + 2 * round, COPY + 2 * round + 1];
            for (place, (original, contact)) in copies.into_iter().zip([(1, 0), (0, 1)]) {
                net.start_copy(place, original);
                net.introduce(place, contact);
            }
            while copies.iter().any(|place| net.connected(*place).is_empty()) {
                net.pass(core::time::Duration::from_millis(1));
            }
            // They are connected, and have not said anything yet.
            net.pass(core::time::Duration::from_millis(5));
            copies.into_iter().for_each(|place| net.kill(place));
            net.pass(seconds(5));
            assert_eq!((net.connected(0), net.connected(1)), (vec![1], vec![0]), "seed {seed}, round {round}");
        }
    }
}

#[test]
fn a_copy_that_is_started_again_and_again_never_signs() {
    let mut net = trained(8, 3);
    for _ in 0..5 {
        net.start_copy(COPY, 1);
        net.introduce(COPY, 2);
        net.train(seconds(8));
        assert!(net.has_event(COPY, &Event::IdentityInUse));
        net.kill(COPY);
        net.events.clear();
    }
    assert_eq!((net.signed_at(COPY), net.forks()), (0, 0));
}
