//! Invented frontiers behind genuine ones: what is believed of the genuine part says nothing of the rest.

use core::time::Duration;

use murmur_collectives::{Hash, Proposal};
use murmur_coordinatorless::{Message, Proven};

use crate::{
    fading::{decided, invented},
    finality::train,
    net::Net,
};

/// The newest final frontier of `peer`, with its proof.
fn newest(net: &Net, peer: usize) -> Proven {
    let newest = net.nodes[&peer].fold().epochs().newest();
    let certificate = newest.certificate.as_deref().expect("it has decided").clone();
    Proven { certificate, rows: newest.rows.clone() }
}

/// `genuine` and three frontiers behind it that only `stranger` stands behind, and the names of these.
fn appended(net: &Net, stranger: usize, genuine: Proven) -> (Vec<Proven>, Vec<Hash>) {
    let rows = Proposal { frontier: genuine.certificate.frontier.clone(), rows: genuine.rows.clone() };
    let mut chain = vec![genuine];
    for _ in 0..3 {
        let previous = chain[chain.len() - 1].certificate.frontier.clone();
        chain.push(invented(net, stranger, &previous, &rows));
    }
    let names = chain[1..].iter().map(|proven| proven.certificate.frontier.name()).collect();
    (chain, names)
}

/// Every peer is one epoch behind its neighbours again and again. That they are one ahead is no reason to believe whatever a
/// stranger adds to what they have.
#[test]
fn what_a_stranger_appends_to_a_frontier_of_the_neighbours_is_not_believed() {
    let (mut net, before) = decided(60);
    assert_eq!(net.epoch(3), before, "{}", net.describe());
    (0..5).filter(|other| *other != 3).for_each(|other| net.disconnect(3, other));
    net.cut = true;
    while net.epoch(0) == before {
        (0..3).for_each(|peer| net.author(peer));
        net.pass(Duration::from_secs(2));
    }
    assert_eq!((net.epoch(0), net.epoch(3)), (before + 1, before), "{}", net.describe());
    let (chain, names) = appended(&net, 4, newest(&net, 0));
    net.cut = false;
    (0..5).filter(|other| *other != 3).for_each(|other| net.connect(3, other));
    let mut told = 0;
    while net.epoch(3) == before {
        net.pass(Duration::from_millis(1));
        net.inject(4, 3, Message::Certificates { chain: chain.clone() }.encode());
        assert!(net.nodes[&3].is_caught_up(), "it gives up what it holds after {told} messages");
        told += 1;
        assert!(told < 60_000, "{}", net.describe());
    }
    train(&mut net, 4);
    net.pass(Duration::from_secs(30));
    for peer in 0..4 {
        let epochs = net.nodes[&peer].fold().epochs();
        assert!(epochs.number() > before + 1, "it goes on: {}", net.describe());
        assert!(names.iter().all(|name| !epochs.names().contains(name)), "peer {peer} believed a stranger");
    }
    assert_eq!(net.roots(&[4]).len(), 1, "{}", net.describe());
}
