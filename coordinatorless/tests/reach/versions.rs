//! Both versions of IP: votes of their own, the other one where one fails, and addresses that mean nothing elsewhere.

use murmur_coordinatorless::Config;

use super::*;

fn six(n: u8, port: u16) -> SocketAddr {
    format!("[2001:db8::{n:x}]:{port}").parse().unwrap()
}

fn observed(peer: u8, seen: SocketAddr) -> Message {
    Message::Observed { address: Some(PeerAddress::new(id(peer), seen)), relay: false }
}

/// `A` with neighbours that see it at these addresses.
fn seen_at(seen: &[SocketAddr]) -> Peer {
    let mut a = Peer::new(1, false);
    for (n, seen) in (10..).zip(seen) {
        a.connect(n, at(n, 1), Reach::Direct);
        a.hear(n, &observed(1, *seen));
    }
    a
}

#[test]
fn a_peer_with_both_versions_of_ip_has_a_mapping_that_varies_only_if_one_does() {
    let mapping = |seen: &[SocketAddr]| seen_at(seen).node.mapping();
    let (v4, v6) = (at(1, 1001), six(1, 7));
    assert_eq!(mapping(&[v4, v6, v4, v6, v6]), Mapping::Same(v6), "not two that contradict two");
    assert_eq!(mapping(&[v6, v4, v4]), Mapping::Same(v4));
    assert_eq!(mapping(&[v4, v6]), Mapping::Unknown);
    assert_eq!(mapping(&[v6, v6, v6, v4, at(1, 1002)]), Mapping::Varies);
}

#[test]
fn a_link_local_address_is_used_and_never_told() {
    let link: SocketAddr = "[fe80::2%3]:7".parse().unwrap();
    let mut c = Peer::new(3, false);
    let greeting = c.connect(2, link, Reach::Direct);
    assert!(messages(&greeting, 2).contains(&Message::Observed { address: None, relay: false }));
    c.connect(1, at(1, 1001), Reach::Direct);
    let arranged = c.hear(1, &Message::Meet { peer: id(2) });
    assert!(messages(&arranged, 1).is_empty(), "{:?}", messages(&arranged, 1));
    let kept = c.pass(Duration::from_secs(60));
    let told_of = |outputs: &[Output]| {
        outputs.iter().any(|output| match output {
            Output::AddressBook { peers } => peers.iter().any(|known| known.peer == id(2)),
            _ => false,
        })
    };
    assert!(!told_of(&kept), "without its scope it would be nothing");

    // Nor believed.
    let bare: SocketAddr = "[fe80::2]:7".parse().unwrap();
    let mut a = Peer::new(1, false);
    a.connect(3, at(3, 3), Reach::Direct);
    assert!(dials(&a.hear(3, &Message::Peers { peers: vec![PeerAddress::new(id(2), bare)] })).is_empty());
    assert!(dials(&a.hear(3, &Message::Punch { peer: PeerAddress::new(id(2), bare) })).is_empty());
    a.hear(3, &observed(1, bare));
    a.connect(4, at(4, 4), Reach::Direct);
    a.hear(4, &observed(1, bare));
    assert_eq!(a.node.mapping(), Mapping::Unknown);
}

#[test]
fn a_dial_by_one_version_that_fails_is_followed_by_the_other_before_anybody_is_troubled() {
    let mut a = Peer::new(1, false);
    a.connect(3, at(3, 3), Reach::Direct);
    let both = [six(2, 2002), at(2, 2002)].map(|address| PeerAddress::new(id(2), address));
    let first = dials(&a.hear(3, &Message::Peers { peers: both.to_vec() }));
    assert_eq!(first, [(six(2, 2002), Some(id(2)))]);
    let next = a.handle(Input::DialFailed { address: six(2, 2002), retry: true });
    assert_eq!(dials(&next), [(at(2, 2002), Some(id(2)))]);
    assert_eq!(asks_to_meet(&next, 2), 0);
    assert_eq!(asks_to_meet(&a.handle(Input::DialFailed { address: at(2, 2002), retry: true }), 2), 1);
}

#[test]
fn ipv4_written_as_ipv6_is_one_address_with_what_is_reported_of_it() {
    let mut a = Peer::with(1, Config { loopback_only: false, ..Config::default() });
    let begun = a.handle(Input::Introduce { address: "[::ffff:192.0.2.2]:2002".parse().unwrap() });
    assert_eq!(dials(&begun), [(at(2, 2002), None)]);
    let scoped = "[fe80::2%3]:7".parse().unwrap();
    assert_eq!(dials(&a.handle(Input::Introduce { address: scoped })), [(scoped, None)], "with its scope");
}
