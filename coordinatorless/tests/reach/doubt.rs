//! A dial that takes long: another way is looked for while it goes on.

use murmur_coordinatorless::Config;

use super::*;

/// `A`, connected to `C`, dials `B` and hears nothing.
fn waiting() -> (Peer, Duration) {
    let config = Config { loopback_only: false, reach_patience: PATIENCE, ..Config::default() };
    let after = config.doubt_after;
    let mut a = Peer::with(1, config);
    a.connect(3, at(3, 3), Reach::Direct);
    let told = a.hear(3, &Message::Peers { peers: vec![PeerAddress::new(id(2), at(2, 2002))] });
    assert_eq!(dials(&told), [(at(2, 2002), Some(id(2)))]);
    (a, after)
}

#[test]
fn a_dial_that_takes_long_is_helped_by_a_mutual_neighbour_and_goes_on() {
    let (mut a, after) = waiting();
    assert_eq!(asks_to_meet(&a.pass(after / 2), 2), 0, "not yet");
    assert_eq!(asks_to_meet(&a.pass(after), 2), 1);
    // The neighbour names the address that is being dialed already, and one that is not.
    for (address, expected) in [(at(2, 2002), 0), (at(2, 2003), 1)] {
        let punch = Message::Punch { peer: PeerAddress::new(id(2), address) };
        assert_eq!(dials(&a.hear(3, &punch)).len(), expected);
    }
    a.connect(2, at(2, 2002), Reach::Direct);
    assert_eq!(a.node.reach_of(&id(2)), Some(Reach::Punched));
    assert_eq!(asks_to_meet(&a.pass(PATIENCE * 4), 2), 0, "the traversal is over");
}

#[test]
fn a_doubted_dial_that_fails_does_not_begin_the_traversal_again() {
    let (mut a, after) = waiting();
    assert_eq!(asks_to_meet(&a.pass(after * 2), 2), 1);
    let failed = a.handle(Input::DialFailed { address: at(2, 2002), retry: true });
    assert_eq!(asks_to_meet(&failed, 2), 0);
}

#[test]
fn a_dial_that_succeeds_in_time_troubles_nobody() {
    let (mut a, after) = waiting();
    a.pass(after / 2);
    a.connect(2, at(2, 2002), Reach::Direct);
    assert_eq!(asks_to_meet(&a.pass(PATIENCE), 2), 0);
    assert_eq!(a.node.reach_of(&id(2)), Some(Reach::Direct));
}

#[test]
fn a_dial_to_the_address_that_this_peer_has_itself_is_doubted_at_once() {
    for (seen, asked) in [(at(2, 1001), 1), (at(1, 1001), 0)] {
        let mut a = Peer::with(1, Config { loopback_only: false, ..Config::default() });
        a.connect(3, at(3, 3), Reach::Direct);
        a.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), seen)), relay: false });
        a.hear(3, &Message::Peers { peers: vec![PeerAddress::new(id(2), at(2, 2002))] });
        assert_eq!(asks_to_meet(&a.pass(Duration::from_millis(1)), 2), asked, "seen at {seen}");
    }
}

#[test]
fn a_peer_without_a_nat_does_not_doubt_dials_on_its_own_machine() {
    let mut a = Peer::with(1, Config { loopback_only: false, ..Config::default() });
    let own: SocketAddr = ([10, 0, 0, 5], 4001).into();
    a.handle(Input::OwnAddresses { addresses: vec![own] });
    a.connect(3, at(3, 3), Reach::Direct);
    a.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), own)), relay: false });
    let beside = PeerAddress::new(id(2), ([10, 0, 0, 5], 4002).into());
    a.hear(3, &Message::Peers { peers: vec![beside] });
    assert_eq!(asks_to_meet(&a.pass(Duration::from_millis(1)), 2), 0);
}

#[test]
fn a_starved_peer_whose_dials_are_all_slow_asks_no_more_than_its_neighbour_grants() {
    let config = Config { loopback_only: false, dials_at_once: 64, neighbours_target: 64, ..Config::default() };
    let after = config.doubt_after;
    let mut a = Peer::with(1, config);
    a.connect(3, at(3, 3), Reach::Direct);
    let told = a.hear(3, &Message::Peers { peers: (10..70).map(|n| PeerAddress::new(id(n), at(n, 7))).collect() });
    assert!(dials(&told).len() > 32, "{} dials", dials(&told).len());
    let slow = a.pass(after * 2);
    let asked = (10..70).map(|n| asks_to_meet(&slow, n)).sum::<usize>();
    assert_eq!(asked, 16, "the rest goes on alone");
    assert!(dials_through(&slow).is_empty());
    let failed: Vec<Output> =
        (10..70).flat_map(|n| a.handle(Input::DialFailed { address: at(n, 7), retry: true })).collect();
    assert_eq!((10..70).map(|n| asks_to_meet(&failed, n)).sum::<usize>(), 0, "still not");
}

#[test]
fn a_dial_that_failed_before_it_was_doubted_waits_for_its_next_turn() {
    let (mut a, after) = waiting();
    // The user wants it, too: so it is dialed again when it fails.
    a.handle(Input::Introduce { address: at(2, 2002) });
    a.handle(Input::DialFailed { address: at(2, 2002), retry: true });
    a.now = a.now + after;
    (0..3).for_each(|_| a.node.handle_timeout(a.now));
    assert!(a.node.poll_timeout().unwrap() > a.now, "or the driver would spin until then");
}

/// `A`, which dialed `C` and was answered after `took`, dials `B` and hears nothing.
fn after_an_answer_in(took: Duration, relay: bool) -> Peer {
    let config = Config { loopback_only: false, reach_patience: PATIENCE, ..Config::default() };
    let mut a = Peer::with(1, config);
    a.handle(Input::Introduce { address: at(3, 3) });
    a.now = a.now + took;
    a.connect(3, at(3, 3), Reach::Direct);
    a.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), at(1, 1001))), relay });
    a.hear(3, &Message::Peers { peers: vec![PeerAddress::new(id(2), at(2, 2002))] });
    a
}

#[test]
fn where_dials_are_answered_soon_doubt_comes_sooner() {
    for (took, doubt) in [(20, 60), (100, 300), (400, 500)] {
        let mut a = after_an_answer_in(Duration::from_millis(took), false);
        assert_eq!(asks_to_meet(&a.pass(Duration::from_millis(doubt - 1)), 2), 0, "answered in {took} ms");
        assert_eq!(asks_to_meet(&a.pass(Duration::from_millis(1)), 2), 1, "answered in {took} ms");
    }
}

#[test]
fn a_first_meeting_that_takes_long_has_a_relay_beside_it_and_goes_on() {
    let (doubt, spread) = (Duration::from_millis(60), Duration::from_millis(60));
    let mut a = after_an_answer_in(Duration::from_millis(20), true);
    let asked = a.pass(doubt);
    assert_eq!((asks_to_meet(&asked, 2), dials_through(&asked).len()), (1, 0));
    assert!(dials_through(&a.pass(doubt - Duration::from_millis(1))).is_empty(), "a meeting has the time of a dial");
    assert_eq!(dials_through(&a.pass(spread + Duration::from_millis(1))), [(id(3), id(2))]);
    assert_eq!(asks_to_meet(&a.pass(PATIENCE * 2), 2), 1, "where that leads nowhere, too, the second round follows");

    let mut a = after_an_answer_in(Duration::from_millis(20), true);
    a.pass(doubt);
    a.connect(2, at(2, 2002), Reach::Direct);
    assert!(dials_through(&a.pass(PATIENCE * 4)).is_empty(), "no relay is troubled for a pair that has met");
}
