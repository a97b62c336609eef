//! Swarms too large for everyone to be connected with everyone.

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::PeerId;

use crate::net::{Net, seconds};

fn reached_from(net: &Net, place: usize) -> usize {
    let ids: BTreeMap<PeerId, usize> = net.nodes.keys().map(|place| (net.id(*place), *place)).collect();
    let (mut seen, mut next) = (BTreeSet::from([place]), vec![place]);
    while let Some(place) = next.pop() {
        let near = net.nodes[&place].neighbour_list().into_iter().filter(|neighbour| neighbour.near);
        next.extend(near.map(|neighbour| ids[&neighbour.peer]).filter(|other| seen.insert(*other)));
    }
    seen.len()
}

#[test]
fn a_large_swarm_is_connected_by_a_few_neighbours_each() {
    let mut net = Net::founded(1, 80);
    net.pass(seconds(120));
    assert_eq!(net.member_counts(), [79].into(), "everyone knows everyone");
    let near = |net: &Net| -> Vec<usize> {
        net.nodes.values().map(|node| node.neighbour_list().iter().filter(|n| n.near).count()).collect()
    };
    let counts = near(&net);
    assert!(counts.iter().all(|count| (6..=26).contains(count)), "{counts:?}");
    assert_eq!(reached_from(&net, 0), 80, "there is a way from each to each");
    // A third dies at once: the rest finds new neighbours and stays one swarm.
    (0..80).filter(|place| place % 3 == 0).for_each(|place| net.kill(place));
    net.pass(seconds(120));
    assert_eq!(net.member_counts(), [52].into());
    assert_eq!(reached_from(&net, 1), 53);
}

#[test]
fn what_membership_costs_a_peer_does_not_grow_with_the_swarm() {
    let cost = |peers: usize| {
        let mut net = Net::founded(2, peers);
        net.pass(seconds(180));
        net.sent.clear();
        net.pass(seconds(60));
        let worst = net.sent.values().map(|(datagrams, _)| *datagrams).max().unwrap_or(0);
        let mean = net.sent.values().map(|(datagrams, _)| *datagrams).sum::<u64>() / peers as u64;
        (mean / 60, worst / 60)
    };
    let (small, large) = (cost(12), cost(60));
    assert!(small.0 <= 4 && large.0 <= 4, "datagrams a second on average: {small:?} of 12 peers, {large:?} of 60");
    assert!(small.1 <= 8 && large.1 <= 8, "datagrams a second at most: {small:?} of 12 peers, {large:?} of 60");
}

#[test]
fn who_joins_does_not_tell_everyone_of_everyone() {
    let mut net = Net::founded(3, 80);
    net.pass(seconds(60));
    net.start(80, 80);
    net.introduce(80, 0);
    net.pass(seconds(40));
    let (sent, _) = net.sent[&80];
    // A second costs two; and it announces itself to neighbours, and passes on that it is there.
    // Two a second, those it joins with, and one for each connection: the other side's card.
    assert!(sent <= 2 * 40 + 100 + 60, "datagrams of a newcomer in 40 s: {sent}");
    assert!(net.nodes.values().all(|node| node.members().len() >= 60), "and yet it knows, and is known");
}
