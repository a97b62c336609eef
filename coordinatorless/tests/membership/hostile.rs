//! Peers that lie about others, send rubbish, flood, or announce what they do not serve.

use murmur_coordinatorless::{Closing, EntryName, Event, Message, PeerAddress};

use crate::net::{Net, address, identity, seconds};

#[test]
fn rubbish_in_datagrams_is_refused_and_ends_the_connection() {
    let mut net = Net::founded(1, 4);
    for n in 0..6u8 {
        net.inject(3, 0, None, vec![n % 3; 40 + usize::from(n)]);
    }
    assert!(!net.nodes[&0].neighbours().contains(&net.id(3)));
    assert!(net.closed.contains(&(0, Closing::Misbehaved)));
    assert!(net.events.iter().any(|(at, event)| *at == 0 && matches!(event, Event::Banned { .. })));
}

#[test]
fn a_datagram_too_long_or_of_a_stranger_changes_nothing() {
    let mut net = Net::founded(2, 3);
    let before = net.nodes[&0].members();
    net.inject(2, 0, None, vec![0; 1001]);
    net.start(9, 9);
    net.inject(9, 0, None, vec![0; 300]);
    assert_eq!(net.nodes[&0].members(), before);
}

#[test]
fn the_ban_doubles_and_ends() {
    let mut net = Net::founded(3, 3);
    let mut bans = Vec::new();
    for _ in 0..3 {
        (0..3).for_each(|_| net.inject(2, 0, None, vec![9]));
        for (_, event) in net.events.drain(..) {
            if let Event::Banned { lasts, .. } = event {
                bans.push(lasts);
            }
        }
        net.introduce(2, 0);
        net.pass(seconds(10));
        assert!(!net.nodes[&0].neighbours().contains(&net.id(2)), "banned");
        net.pass(seconds(300));
        net.introduce(2, 0);
        net.pass(seconds(10));
        assert!(net.nodes[&0].neighbours().contains(&net.id(2)), "forgiven");
    }
    assert_eq!(bans, [seconds(60), seconds(120), seconds(240)]);
}

#[test]
fn who_announces_and_never_serves_loses_its_connection() {
    let mut net = Net::founded(4, 4);
    let liar = net.id(3);
    for round in 0..120u32 {
        let entries = (0..8).map(|n| EntryName { author: identity(100 + n).peer_id(), seq: round }).collect();
        if net.nodes[&0].neighbours().contains(&liar) {
            net.inject(3, 0, Some(&Message::Announce { entries }), Vec::new());
        }
        net.pass(seconds(6));
    }
    let banned =
        |(at, event): &(usize, Event)| *at == 0 && matches!(event, Event::Banned { peer, .. } if *peer == liar);
    assert!(net.events.iter().any(banned));
    assert!(
        !net.events.iter().any(|(at, event)| *at == 0 && matches!(event, Event::Banned { peer, .. } if *peer != liar))
    );
}

#[test]
fn a_greedy_neighbour_waits_and_another_does_not() {
    let mut net = Net::new(6, 4);
    net.config.served_bytes_per_second = 50;
    net.settle_in(4);
    let request = Message::WantManifest { run: murmur_collectives::Hash([9; 32]) };
    let answers = |net: &mut Net, from: usize, count: usize| {
        let before = net.sent[&0].1;
        (0..count).for_each(|_| net.inject(from, 0, Some(&request), Vec::new()));
        net.sent[&0].1 - before
    };
    let served = answers(&mut net, 3, 1000);
    assert!((1..20).contains(&served), "{served} of 1000 answered at once");
    assert!(answers(&mut net, 2, 1) == 1, "another neighbour is answered at once");
    let before = net.sent[&0].1;
    net.pass(seconds(120));
    let later = net.sent[&0].1 - before;
    assert!((64..500).contains(&later), "those that waited were answered in time, the rest dropped: {later}");
    assert!(net.nodes[&0].neighbours().contains(&net.id(3)), "asking much is no offence");
}

#[test]
fn a_flood_of_addresses_causes_few_dials() {
    let mut net = Net::founded(5, 4);
    let dialed = |net: &Net| net.nodes[&0].neighbour_list().len();
    let before = dialed(&net);
    for batch in 0..40 {
        let told = |n: usize| PeerAddress::new(identity(1000 + batch * 64 + n).peer_id(), address(5000 + n));
        let peers: Vec<PeerAddress> = (0..64).map(told).collect();
        net.inject(3, 0, Some(&Message::Peers { peers }), Vec::new());
    }
    let mut dials = 0;
    // Nothing answers there; the node gives up on each after a few.
    for _ in 0..60 {
        let held = net.events.len();
        net.pass(seconds(1));
        dials += net.events.len() - held;
    }
    assert_eq!((dialed(&net), dials), (before, 0));
    assert_eq!(net.member_counts(), [3].into());
}
