//! A member's life: coming, being killed, coming back, being stopped, leaving, being parted from half the swarm.

use murmur_coordinatorless::{DownReason, Event, Input};

use crate::net::{Net, seconds};

#[test]
fn everyone_comes_to_know_everyone() {
    let net = Net::founded(1, 8);
    assert_eq!(net.member_counts(), [7].into());
    assert!(net.nodes.values().all(|node| node.neighbours().len() == 7), "a small swarm is a full mesh");
}

#[test]
fn a_killed_peer_is_down_for_everyone_and_up_again_when_it_restarts() {
    let mut net = Net::founded(2, 6);
    net.kill(3);
    net.pass(seconds(20));
    assert_eq!(net.member_counts(), [4].into());
    assert!([0, 1, 2, 4, 5].iter().all(|place| net.down(*place, 3) == Some(DownReason::Silent)));
    net.start(3, 3); // with nothing but its address book
    net.pass(seconds(10));
    assert_eq!(net.member_counts(), [5].into());
}

#[test]
fn who_says_goodbye_is_gone_at_once_and_known_to_have_left() {
    let mut net = Net::founded(3, 6);
    net.handle(2, Input::Leave);
    net.pass(seconds(1));
    net.kill(2);
    assert!([0, 1, 3, 4, 5].iter().all(|place| net.down(*place, 2) == Some(DownReason::Left)), "within a second");
    net.pass(seconds(60));
    assert_eq!(net.member_counts(), [4].into());
}

#[test]
fn a_stopped_peer_is_called_dead_and_denies_it_when_it_wakes() {
    for slept in [8, 30, 300] {
        let mut net = Net::founded(4, 6);
        net.stop(1);
        net.pass(seconds(slept));
        if slept >= 30 {
            assert!([0, 2, 3, 4, 5].iter().all(|place| net.down(*place, 1).is_some()), "slept {slept} s");
        }
        net.wake(1);
        net.pass(seconds(15));
        assert_eq!(net.member_counts(), [5].into(), "slept {slept} s");
        assert!((2..6).all(|other| net.down(1, other).is_none()), "it blames itself, slept {slept} s");
    }
}

#[test]
fn nobody_is_called_dead_for_lost_datagrams() {
    for seed in 0..4 {
        let mut net = Net::founded(seed, 10);
        net.loss_percent = 15;
        net.pass(seconds(300));
        let dead = net.events.iter().filter(|(_, event)| matches!(event, Event::MemberDown { .. })).count();
        assert_eq!((dead, net.member_counts()), (0, [9].into()), "seed {seed}");
    }
}

#[test]
fn two_halves_that_lost_each_other_meet_again() {
    let mut net = Net::founded(5, 8);
    net.cut([4, 5, 6, 7].into_iter());
    net.pass(seconds(600));
    assert_eq!(net.member_counts(), [3].into());
    net.apart.clear();
    net.pass(seconds(60));
    assert_eq!(net.member_counts(), [7].into());
}

#[test]
fn a_peer_that_restarts_long_after_finds_the_others_by_its_address_book() {
    let mut net = Net::founded(6, 5);
    net.kill(4);
    net.kill(0);
    net.pass(seconds(600));
    assert!(net.books[&4].len() >= 4, "it remembers {:?}", net.books[&4].len());
    net.start(4, 4);
    net.pass(seconds(20));
    assert_eq!(net.member_counts(), [3].into(), "the place it had joined by is dead");
}

#[test]
fn the_second_process_with_one_identity_is_told_to_stop_and_the_first_stays() {
    for (seed, bootstrap) in [(7, 0), (8, 1), (9, 3)] {
        let mut net = Net::founded(seed, 5);
        net.start(40, 2);
        net.introduce(40, bootstrap);
        net.pass(seconds(30));
        assert!(net.has_event(40, &Event::IdentityInUse), "bootstrap {bootstrap}");
        assert!(!net.has_event(2, &Event::IdentityInUse));
        assert!(net.has_event(2, &Event::Usurped));
        net.kill(40);
        net.pass(seconds(30));
        assert_eq!(net.member_counts(), [4].into(), "the first goes on");
    }
}

#[test]
fn a_restart_is_no_second_process() {
    let mut net = Net::founded(10, 5);
    for _ in 0..3 {
        net.kill(2);
        net.start(2, 2);
        net.introduce(2, 0);
        net.pass(seconds(10));
    }
    assert!(!net.events.iter().any(|(_, event)| matches!(event, Event::IdentityInUse | Event::Usurped)));
    assert_eq!(net.member_counts(), [4].into());
}
