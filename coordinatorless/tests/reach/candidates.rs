//! Addresses that a neighbour cannot see: told where there is a NAT, believed where they fit, passed on where they help.

use murmur_coordinatorless::Config;

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn candidates(n: u8, texts: &[&str]) -> Message {
    Message::Candidates { addresses: texts.iter().map(|text| PeerAddress::new(id(n), address(text))).collect() }
}

/// A peer with addresses of its own that `C` sees at `seen`, and what it tells `C` then.
fn told(own: &[&str], seen: SocketAddr) -> (Peer, Vec<Message>) {
    let mut peer = Peer::new(1, false);
    peer.handle(Input::OwnAddresses { addresses: own.iter().map(|text| address(text)).collect() });
    peer.connect(3, at(3, 3), Reach::Direct);
    let answer = peer.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), seen)), relay: false });
    let told = messages(&answer, 3);
    (peer, told)
}

/// `C` with two neighbours, and what each was told when the first asked for a meeting.
fn brought_together(seen: [SocketAddr; 2], said: [&[&str]; 2]) -> [Vec<Message>; 2] {
    let mut c = Peer::new(3, false);
    for (n, (seen, said)) in (1..).zip(seen.into_iter().zip(said)) {
        c.connect(n, seen, Reach::Direct);
        c.hear(n, &candidates(n, said));
    }
    let arranged = c.hear(1, &Message::Meet { peer: id(2) });
    [messages(&arranged, 1), messages(&arranged, 2)]
}

fn punches(n: u8, texts: &[&str]) -> Vec<Message> {
    texts.iter().map(|text| Message::Punch { peer: PeerAddress::new(id(n), address(text)) }).collect()
}

#[test]
fn a_peer_tells_what_its_neighbour_does_not_see_once_and_nothing_where_it_sees_all() {
    let (mut a, first) = told(&["10.0.0.2:4001"], at(1, 1001));
    assert_eq!(first, [candidates(1, &["10.0.0.2:4001"])]);
    let again = a.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), at(1, 1001))), relay: false });
    assert!(messages(&again, 3).is_empty(), "asked again and again it does not repeat itself");
    let both = vec![address("10.0.0.2:4001"), at(1, 4001)];
    let more = a.handle(Input::OwnAddresses { addresses: both });
    assert_eq!(messages(&more, 3), [candidates(1, &["10.0.0.2:4001", "192.0.2.1:4001"])], "a port was mapped");
    let fewer = a.handle(Input::OwnAddresses { addresses: Vec::new() });
    assert_eq!(messages(&fewer, 3), [candidates(1, &[])], "all is taken back");

    assert!(told(&["10.0.0.2:4001"], address("10.0.0.2:4001")).1.is_empty(), "no NAT in between");
    assert!(told(&[], at(1, 1001)).1.is_empty(), "nothing to tell");
    assert!(told(&["127.0.0.1:1", "0.0.0.0:1", "10.0.0.1:0"], at(1, 1001)).1.is_empty(), "nothing worth telling");
}

#[test]
fn a_peer_that_may_only_use_loopback_tells_nothing() {
    let mut a = Peer::with(1, Config::default());
    a.handle(Input::OwnAddresses { addresses: vec![address("10.0.0.2:4001"), address("127.0.0.1:5")] });
    a.connect(3, address("127.0.0.1:3"), Reach::Direct);
    let seen = Some(PeerAddress::new(id(1), address("127.0.0.1:9")));
    assert!(messages(&a.hear(3, &Message::Observed { address: seen, relay: false }), 3).is_empty());
}

#[test]
fn two_behind_one_nat_are_told_each_other_s_local_addresses() {
    let [to_a, to_b] =
        brought_together([at(1, 1001), at(1, 1002)], [&["10.0.0.2:4001"], &["10.0.0.3:4002", "[fd00::3]:4002"]]);
    assert_eq!(to_b, punches(1, &["192.0.2.1:1001", "10.0.0.2:4001"]));
    assert_eq!(to_a, punches(2, &["192.0.2.1:1002", "10.0.0.3:4002", "[fd00::3]:4002"]));

    let mut a = Peer::new(1, false);
    a.connect(3, at(3, 3), Reach::Direct);
    let dialed: Vec<SocketAddr> = to_a.iter().flat_map(|punch| dials(&a.hear(3, punch))).map(|dial| dial.0).collect();
    assert_eq!(dialed, [at(1, 1002), address("10.0.0.3:4002"), address("[fd00::3]:4002")]);
    a.connect(2, address("10.0.0.3:4002"), Reach::Direct);
    assert_eq!(a.node.reach_of(&id(2)), Some(Reach::Direct), "nothing was punched within the network");
}

#[test]
fn those_behind_different_nats_learn_no_local_addresses_but_mapped_ports() {
    let [to_a, to_b] =
        brought_together([at(1, 1001), at(2, 2002)], [&["10.0.0.2:4001"], &["10.0.0.2:4002", "192.0.2.2:4002"]]);
    assert_eq!(to_b, punches(1, &["192.0.2.1:1001"]));
    assert_eq!(to_a, punches(2, &["192.0.2.2:2002", "192.0.2.2:4002"]));
}

#[test]
fn a_mapped_port_is_what_others_are_told_to_dial() {
    let mut c = Peer::new(3, false);
    c.connect(1, at(1, 1001), Reach::Direct);
    c.hear(1, &candidates(1, &["192.0.2.1:4001"]));
    c.handle(Input::Message { from: id(1), bytes: Message::Observed { address: None, relay: false }.encode() });
    c.hear(1, &greeting());
    let told = c.connect(2, at(2, 2002), Reach::Direct);
    let named = Message::Peers { peers: vec![PeerAddress::new(id(1), at(1, 4001))] };
    assert!(messages(&told, 2).contains(&named), "{:?}", messages(&told, 2));
}

/// A digest, which makes a connection a neighbour.
fn greeting() -> Message {
    let mut a = Peer::new(1, false);
    let sent = a.connect(3, at(3, 3), Reach::Direct);
    messages(&sent, 3).into_iter().find(|message| matches!(message, Message::Digest(_))).unwrap()
}

#[test]
fn a_liar_makes_nobody_dial_what_is_not_its_own() {
    let victim = ["198.51.100.7:443", "203.0.113.9:80", "169.254.1.1:1", "127.0.0.1:1"];
    let [_, to_b] = brought_together([at(1, 1001), at(1, 1002)], [&victim, &[]]);
    assert_eq!(to_b, punches(1, &["192.0.2.1:1001"]));

    let mut c = Peer::new(3, false);
    for offence in [candidates(2, &["10.0.0.2:1"]), candidates(1, &["10.0.0.2:1"; 5])] {
        c.connect(1, at(1, 1001), Reach::Direct);
        let before = c.hear(1, &offence);
        assert!(
            before.iter().any(|output| matches!(output, Output::Event(murmur_coordinatorless::Event::BadInput { .. })))
        );
    }
}

#[test]
fn dials_of_one_peer_s_many_addresses_count_like_those_of_many_peers() {
    let mut b = Peer::new(2, false);
    b.connect(3, at(3, 3), Reach::Direct);
    let mut punch =
        |n: u8, port: u16| dials(&b.hear(3, &Message::Punch { peer: PeerAddress::new(id(n), at(n, port)) })).len();
    assert_eq!((1..100).map(|port| punch(10, port)).sum::<usize>(), 5, "where it is seen, and four candidates");
    assert_eq!((11..100).map(|n| punch(n, 7)).sum::<usize>(), 11, "sixteen in all");
}

#[test]
fn a_peer_whose_port_is_mapped_asks_its_relays_at_once_for_straight_ways() {
    let mut a = Peer::new(1, false);
    a.connect(3, at(3, 3), Reach::Direct);
    a.hear(3, &Message::Observed { address: Some(PeerAddress::new(id(1), at(1, 1001))), relay: true });
    a.connect(2, SocketAddr::from(([240, 0, 0, 1], 1)), Reach::Relayed { by: id(3) });
    let mapped = a.handle(Input::OwnAddresses { addresses: vec![at(1, 4001)] });
    let expected = [candidates(1, &["192.0.2.1:4001"]), Message::Meet { peer: id(2) }];
    assert_eq!(messages(&mapped, 3), expected, "the relay knows the port when it is asked");
}
