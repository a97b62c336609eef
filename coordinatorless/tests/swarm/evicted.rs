//! An evicted peer finds out by its own fold, and by nothing else.

use core::time::Duration;

use murmur_collectives::{Body, Enroll, Entry, Header, ONE_Q16, Voided};
use murmur_coordinatorless::{EntryName, Event, Item, Message};

use crate::net::{Net, World};

fn audited(seed: u64, peers: usize) -> Net {
    let world = World { audit_rate_q16: ONE_Q16, frontier_every_tokens: 800, ..World::calm(seed) };
    let mut net = Net::new(world, peers, peers);
    (0..peers).for_each(|peer| net.start(peer));
    net
}

/// Whether two peers are connected.
fn linked(net: &Net, a: usize, b: usize) -> bool {
    net.links.contains(&(a.min(b), a.max(b)))
}

/// Shows peer `to` a second entry of `forger` for the newest position of its chain.
fn fork(net: &mut Net, forger: usize, to: usize) {
    let held = net.nodes[&to].fold().log().chain(&net.id(forger)).last().expect("a chain").entry.clone();
    let body = Body::Enroll(Enroll { vrf_key: [0; 32] });
    let twin = Entry::sign(net.identity(forger), Header { base: Vec::new(), body, ..held.to_header() });
    let items = vec![Item { entry: twin.to_wire(), payload: None }];
    net.inject((to + 1) % 3, to, Message::Entries { items }.encode());
}

/// What `peer` has told of its own eviction.
fn told_of_itself(net: &Net, peer: usize) -> Vec<Voided> {
    let me = net.id(peer);
    let own = net.events.iter().filter_map(|(at, event)| {
        let Event::Evicted { peer: evicted, why } = event else { return None };
        (*at == peer && *evicted == me).then_some(*why)
    });
    own.collect()
}

#[test]
fn a_forger_learns_of_its_fork_from_its_own_fold() {
    let mut net = audited(1, 4);
    net.train(2);
    net.pass(Duration::from_secs(2));
    fork(&mut net, 3, 1);
    net.pass(Duration::from_secs(2));
    assert_eq!(told_of_itself(&net, 3), [Voided::Fork], "{}", net.describe());
    assert!((0..3).all(|peer| told_of_itself(&net, peer).is_empty()));
}

#[test]
fn a_cheat_learns_of_its_audits_from_its_own_fold() {
    let mut net = audited(2, 4);
    net.cheats.insert(2);
    net.train(4);
    net.pass(Duration::from_secs(2));
    assert_eq!(told_of_itself(&net, 2), [Voided::Audits], "{}", net.describe());
}

#[test]
fn who_was_evicted_while_it_was_away_learns_it_when_it_comes_back() {
    for epochs in [0, 3] {
        let mut net = audited(3, 4);
        net.train(2);
        net.pass(Duration::from_secs(2));
        net.kill(3);
        fork(&mut net, 3, 1);
        net.pass(Duration::from_secs(2));
        let enough = net.epoch(0) + epochs;
        while net.epoch(0) < enough {
            net.train(1);
            net.pass(Duration::from_secs(2));
        }
        net.start(3);
        net.pass(Duration::from_secs(5));
        assert_eq!(told_of_itself(&net, 3), [Voided::Fork], "{epochs} epochs later: {}", net.describe());
    }
}

#[test]
fn who_holds_the_proof_against_itself_says_so_before_anyone_else_can() {
    let mut net = audited(4, 4);
    net.cheats.insert(2);
    net.train(4);
    net.pass(Duration::from_secs(2));
    net.kill(2);
    net.events.clear();
    [0, 1, 3].into_iter().for_each(|peer| net.kill(peer));
    net.start(2);
    net.pass(Duration::from_secs(1));
    assert_eq!(told_of_itself(&net, 2), [Voided::Audits]);
}

#[test]
fn an_evicted_peer_that_stays_is_heard_out_and_then_sent_away() {
    let mut net = audited(5, 4);
    net.train(2);
    net.pass(Duration::from_secs(2));
    fork(&mut net, 3, 1);
    net.pass(Duration::from_secs(1));
    let forger = net.id(3);
    assert!(net.nodes[&0].fold().is_evicted(&forger));
    assert!(!net.nodes[&0].neighbours().contains(&forger), "it counts for nothing");
    let seq = net.nodes[&0].fold().log().reach(&forger);
    let announced = Message::Announce { entries: vec![EntryName { author: net.id(0), seq: seq + 99 }] };
    (0..200).for_each(|_| net.inject(3, 0, announced.encode()));
    net.inject(3, 0, vec![0xff; 40]);
    assert!(!net.has_event(0, |event| matches!(event, Event::Banned { .. })), "nothing follows from what it says");
    net.pass(Duration::from_secs(11));
    assert!(!linked(&net, 0, 3), "its hearing is over");
    net.connect(0, 3);
    net.pass(Duration::from_millis(500));
    assert!(!linked(&net, 0, 3), "the next one comes after a pause");
}
