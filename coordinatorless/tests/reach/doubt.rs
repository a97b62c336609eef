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
    assert_eq!(asks_to_meet(&a.pass(PATIENCE * 4), 2), 0, "the quest is over");
}

#[test]
fn a_doubted_dial_that_fails_does_not_begin_the_quest_again() {
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
