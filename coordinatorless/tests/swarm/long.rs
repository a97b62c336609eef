//! Payloads that no message holds: they travel in verified chunks, whatever single sources do.

use core::time::Duration;

use murmur_collectives::{Body, Entry, ONE_Q16};
use murmur_coordinatorless::{Event, Item, Message};

use crate::net::{Net, World};

/// A swarm in which every payload is too long for a message, all of them in one chunk.
fn chunked(world: World, peers: usize, founders: usize) -> Net {
    let mut net = Net::new(world, peers, founders);
    net.config.payload_in_message_max = 100;
    (0..founders).for_each(|peer| net.start(peer));
    net
}

fn strikes(net: &Net, at: usize) -> Vec<(usize, String)> {
    let strike = |event: &Event| {
        let Event::BadInput { peer, reason } = event else { return None };
        Some((net.index(*peer), reason.clone()))
    };
    net.events.iter().filter(|(peer, _)| *peer == at).filter_map(|(_, event)| strike(event)).collect()
}

#[test]
fn updates_reach_everybody_in_chunks_and_newcomers_too() {
    let mut net = chunked(World::calm(1), 6, 4);
    net.train(3);
    net.start(4);
    net.pass(Duration::from_secs(3));
    net.train(2);
    net.kill(1);
    net.start(5);
    net.pass(Duration::from_secs(3));
    net.train(2);
    net.start(1);
    net.pass(Duration::from_secs(5));
    assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
    assert!(net.updates(0) > 30 && net.updates(0) == net.updates(5), "{}", net.describe());
    assert!(net.payload_messages[0] > 100 && net.payload_messages[1] == 0, "{:?}", net.payload_messages);
    assert!((0..6).all(|peer| strikes(&net, peer).is_empty()), "{}", net.describe());
}

#[test]
fn a_payload_of_many_chunks_comes_from_several_sources_and_each_chunk_about_once() {
    let mut net = Net::dense(World::calm(2), 4, 1_100_000);
    net.config.payload_in_message_max = 1 << 16;
    (0..4).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(1));
    net.author(0);
    net.pass(Duration::from_secs(10));
    assert_eq!((net.roots(&[]).len(), net.updates(3)), (1, 1), "{}", net.describe());
    let chunks = 275_000u64.div_ceil(1 << 15);
    let [in_chunks, whole] = net.payload_messages;
    assert!(in_chunks >= 3 * chunks && in_chunks <= 3 * chunks + 3 && whole == 0, "{in_chunks} chunks");
}

#[test]
fn loss_audits_and_final_frontiers_do_no_harm() {
    for seed in 0..4 {
        let world = World { loss_percent: 10, double_percent: 10, ..World::calm(seed) };
        let mut net = chunked(World { frontier_every_tokens: 800, audit_rate_q16: ONE_Q16, ..world }, 5, 4);
        for _ in 0..4 {
            net.train(2);
            net.pass(Duration::from_secs(6));
        }
        net.start(4);
        net.pass(Duration::from_secs(60));
        assert_eq!(net.roots(&[]).len(), 1, "seed {seed}\n{}", net.describe());
        assert!(net.epoch(0) > 0 && net.epoch(4) == net.epoch(0), "seed {seed}\n{}", net.describe());
    }
}

#[test]
fn who_cheats_is_removed_exactly_although_newcomers_lack_the_payloads() {
    let world = World { frontier_every_tokens: 800, audit_rate_q16: ONE_Q16, ..World::calm(5) };
    let mut net = chunked(world, 5, 4);
    net.train(4);
    net.pass(Duration::from_secs(10));
    net.start(4);
    net.pass(Duration::from_secs(10));
    net.cheats.insert(2);
    net.train(3);
    net.pass(Duration::from_secs(30));
    let cheat = net.id(2);
    assert!(net.nodes[&4].fold().is_evicted(&cheat), "{}", net.describe());
    assert_eq!(net.roots(&[2]).len(), 1, "{}", net.describe());
}

/// The author and the one that is looked at are not connected: two others, one of them hostile, are in between.
fn between(seed: u64, hostile: impl FnOnce(&mut Net)) -> Net {
    let mut net = chunked(World::calm(seed), 4, 4);
    net.pass(Duration::from_secs(2));
    net.cut = true;
    net.disconnect(0, 1);
    hostile(&mut net);
    net
}

#[test]
fn a_source_that_withholds_chunks_holds_nobody_up_for_long_and_is_struck() {
    let mut struck = 0;
    for seed in 0..4 {
        let mut net = between(seed, |net| net.withholds.extend([3]));
        for round in 1..=16 {
            net.author(0);
            net.pass(Duration::from_secs(3));
            assert_eq!(net.updates(1), round, "seed {seed}\n{}", net.describe());
        }
        net.pass(Duration::from_secs(10));
        assert!(strikes(&net, 1).iter().all(|(peer, _)| *peer == 3), "{}", net.describe());
        struck += strikes(&net, 1).len();
    }
    assert!(struck > 0, "the hostile peer was asked now and then");
}

#[test]
fn a_source_that_sends_wrong_chunks_is_struck_and_the_right_ones_come_from_another() {
    let mut struck = 0;
    for seed in 0..6 {
        let mut net = between(seed, |net| net.spoils.extend([3]));
        for round in 1..=4 {
            net.author(0);
            net.pass(Duration::from_secs(3));
            assert_eq!(net.updates(1), round, "seed {seed}\n{}", net.describe());
        }
        let strikes = strikes(&net, 1);
        assert!(strikes.iter().all(|(peer, reason)| *peer == 3 && reason.contains("chunk")), "{strikes:?}");
        struck += strikes.len();
    }
    assert!(struck > 0, "the hostile peer was asked now and then");
}

/// The next entry of peer 3, with the payload that its last one had, and `longer` by so many bytes as it says.
fn lie(net: &Net, longer: u32) -> Item {
    let log = net.nodes[&0].fold().log();
    let author = net.id(3);
    let last = log.last_update(&author).expect("an update").entry.clone();
    let mut update = last.update().expect("an update").clone();
    update.segment += 1;
    update.carry_before = update.carry_after;
    update.payload_bytes += longer;
    let mut header = last.to_header();
    (header.seq, header.previous) = (log.version().count(&author), log.head(&author));
    (header.base, header.body) = (log.version().to_components(), Body::Update(update));
    Item { entry: Entry::sign(net.identity(3), header).to_wire(), payload: None }
}

#[test]
fn a_length_that_is_a_lie_costs_no_honest_peer_anything() {
    let mut net = chunked(World::calm(7), 4, 4);
    net.train(2);
    net.pass(Duration::from_secs(2));
    let before = net.updates(0);
    let entry = lie(&net, 1);
    // Honest peers hold a payload with this root, and say of what length it is.
    net.inject(3, 0, Message::Entries { items: vec![entry] }.encode());
    net.pass(Duration::from_secs(30));
    assert_eq!(net.updates(0), before, "{}", net.describe());
    assert!(strikes(&net, 0).iter().all(|(peer, _)| *peer == 3), "{}", net.describe());
    net.author(1);
    net.pass(Duration::from_secs(2));
    assert_eq!((net.updates(0), net.roots(&[]).len()), (before + 1, 1), "{}", net.describe());
}

#[test]
fn an_impossible_length_is_refused_before_anything_is_fetched() {
    let mut net = chunked(World::calm(8), 4, 4);
    net.train(2);
    net.pass(Duration::from_secs(2));
    let sent = net.payload_messages[0];
    let entry = lie(&net, u32::MAX / 2);
    net.inject(3, 0, Message::Entries { items: vec![entry] }.encode());
    net.pass(Duration::from_millis(200));
    assert!(
        strikes(&net, 0).iter().any(|(peer, reason)| *peer == 3 && reason.contains("length")),
        "{}",
        net.describe()
    );
    assert_eq!(net.payload_messages[0], sent);
}
