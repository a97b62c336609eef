//! Peers that cheat, fork and send rubbish.

use core::time::Duration;

use murmur_collectives::{Body, Entry, Fold, Hash, Header, ONE_Q16, Stage, Update, Verdict, Voided, WireEntry};
use murmur_coordinatorless::{Digest, Event, Item, Message};

use crate::net::{Net, World};

fn audited(seed: u64, peers: usize) -> Net {
    let mut net = Net::new(World { audit_rate_q16: ONE_Q16, ..World::calm(seed) }, peers, peers);
    (0..peers).for_each(|peer| net.start(peer));
    net
}

#[test]
fn a_cheat_is_caught_and_its_updates_leave_the_sum_exactly() {
    let mut net = audited(1, 4);
    net.cheats.insert(2);
    net.train(4);
    net.pass(Duration::from_secs(5));
    let cheat = net.id(2);
    for peer in [0, 1, 3] {
        assert!(
            net.has_event(peer, |event| *event == Event::Evicted { peer: cheat, why: Voided::Audits }),
            "peer {peer} saw the eviction"
        );
    }
    assert_eq!(net.roots(&[2]).len(), 1, "{}", net.describe());
    // The same set folded again, in another order, by a peer that never applied the cheat's updates.
    let held = net.nodes[&0].fold();
    let mut again = Fold::new(net.run_id(), net.rules().clone(), Net::genesis());
    let mut left: Vec<_> = held.log().records().cloned().collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|r| {
            let _ = again.insert(r.entry.as_ref().clone(), r.payload.clone());
            !again.log().version().contains(&r.entry.author(), r.entry.seq())
        });
        assert!(left.len() < before, "the log is causally closed");
    }
    assert_eq!(again.state_root(), held.state_root());
    assert!(held.log().chain(&cheat).iter().all(|r| r.applied.q16() == 0), "nothing of the cheat is in the sum");
    assert!(held.log().chain(&cheat).iter().any(|r| r.weight.q16() > 0), "it would have counted otherwise");
}

#[test]
fn without_audits_a_cheat_stays() {
    let mut net = Net::new(World::calm(1), 4, 4);
    (0..4).for_each(|peer| net.start(peer));
    net.cheats.insert(2);
    net.train(4);
    net.pass(Duration::from_secs(5));
    assert!(net.nodes[&0].fold().evicted().is_empty(), "the test above would not fail without audits");
}

#[test]
fn a_fork_is_proven_and_its_author_evicted_everywhere() {
    let mut net = audited(2, 4);
    net.train(2);
    net.pass(Duration::from_secs(2));
    let (forger, log) = (net.id(3), net.nodes[&0].fold().log());
    let held = log.chain(&forger).last().expect("a chain").entry.clone();
    let header = Header { base: Vec::new(), ..held.to_header() };
    let twin = Entry::sign(
        net.identity(3),
        Header { body: Body::Enroll(murmur_collectives::Enroll { vrf_key: [0; 32] }), ..header },
    );
    assert_ne!(twin.hash(), held.hash());
    let item = Item { entry: twin.to_wire(), payload: None };
    net.inject(3, 1, Message::Entries { items: vec![item] }.encode());
    net.pass(Duration::from_secs(5));
    for peer in 0..3 {
        assert!(net.nodes[&peer].fold().is_evicted(&forger), "peer {peer}");
    }
    net.train(2);
    net.pass(Duration::from_secs(5));
    assert_eq!(net.roots(&[3]).len(), 1, "{}", net.describe());
}

/// Evidence in the chains of peers 0 to 2 as peer 0 holds them.
fn evidence_count(net: &Net) -> usize {
    let log = net.nodes[&0].fold().log();
    log.records().filter(|record| matches!(record.entry.header().body, Body::Equivocation(_))).count()
}

#[test]
fn a_forger_that_repeats_itself_is_accused_once() {
    let world = World { frontier_every_tokens: 800, ..World::calm(2) };
    let mut net = Net::new(world, 4, 4);
    (0..4).for_each(|peer| net.start(peer));
    while net.nodes[&0].fold().epochs().number() < 2 {
        net.train(1);
        net.pass(Duration::from_secs(2));
    }
    // A place in its chain that is final, so that what is held there stays.
    let log = net.nodes[&0].fold().log();
    let held = log.last_update(&net.id(3)).expect("an update").entry.clone();
    assert!(log.record(&net.id(3), held.seq()).is_some());
    net.train(1);
    net.pass(Duration::from_secs(2));
    let again = |net: &mut Net, trace: u8| {
        let update = Update { trace: Hash([trace; 32]), ..held.update().expect("an update").clone() };
        let header = Header { body: Body::Update(update), ..held.to_header() };
        let twin = Entry::sign(net.identity(3), header).to_wire();
        (0..3).for_each(|peer| {
            let items = vec![Item { entry: twin.clone(), payload: None }];
            net.inject((peer + 1) % 3, peer, Message::Entries { items }.encode());
        });
        net.pass(Duration::from_millis(200));
    };
    again(&mut net, 100);
    let once = evidence_count(&net);
    assert!((1..=3).contains(&once), "{once} pieces of evidence\n{}", net.describe());
    (101..110).for_each(|trace| again(&mut net, trace));
    assert_eq!(evidence_count(&net), once, "{}", net.describe());
}

#[test]
fn rubbish_is_refused_counted_and_ends_the_connection() {
    let mut net = audited(3, 3);
    net.train(1);
    net.pass(Duration::from_secs(1));
    let before = net.nodes[&0].fold().log().version().clone();
    for n in 0..10u8 {
        net.inject(2, 0, vec![n; 40]);
    }
    assert_eq!(*net.nodes[&0].fold().log().version(), before);
    assert!(net.has_event(0, |event| matches!(event, Event::BadInput { .. })));
    assert!(!net.nodes[&0].neighbours().contains(&net.id(2)), "sent away");
}

/// An update by peer 2 that differs from a good one in one respect.
fn spoilt(net: &Net, spoil: impl Fn(&mut Header, &mut Update)) -> WireEntry {
    let log = net.nodes[&0].fold().log();
    let author = net.id(2);
    let good = log.last_update(&author).expect("an update").entry.clone();
    let mut header = good.to_header();
    header.seq = log.version().count(&author);
    header.base = log.version().to_components();
    header.previous = log.head(&author);
    let mut update = good.update().expect("an update").clone();
    update.segment += 1;
    update.carry_before = update.carry_after;
    spoil(&mut header, &mut update);
    header.body = Body::Update(update);
    Entry::sign(net.identity(2), header).to_wire()
}

#[test]
fn updates_that_break_a_rule_are_never_applied() {
    type Spoil = fn(&mut Header, &mut Update);
    let cases: [(&str, Spoil); 9] = [
        ("another run", |h, _| h.run = Hash([1; 32])),
        ("tokens beyond the limit", |_, u| u.tokens = u64::MAX),
        ("steps beyond the limit", |_, u| (u.steps, u.tokens) = (11, 110)),
        ("no steps", |_, u| (u.steps, u.tokens) = (0, 0)),
        ("another norm", |_, u| u.norm += 1),
        ("segment out of order", |_, u| u.segment += 1),
        ("a payload that cannot be", |_, u| u.payload_bytes = u32::MAX),
        ("a carry from nowhere", |_, u| u.carry_before = Hash([8; 32])),
        ("a base from the future", |h, _| h.base.iter_mut().for_each(|c| c.count += 1_000_000)),
    ];
    for (what, spoil) in cases {
        let mut net = audited(4, 3);
        net.train(2);
        net.pass(Duration::from_secs(2));
        let before = net.nodes[&0].fold().log().version().clone();
        let record = net.nodes[&0].fold().log().last_update(&net.id(2)).cloned().expect("an update");
        let item = Item { entry: spoilt(&net, spoil), payload: record.payload.map(|p| p.to_vec()) };
        net.inject(2, 0, Message::Entries { items: vec![item] }.encode());
        assert_eq!(*net.nodes[&0].fold().log().version(), before, "{what}");
    }
}

#[test]
fn the_unspoilt_update_would_have_been_applied() {
    let mut net = audited(4, 3);
    net.train(2);
    net.pass(Duration::from_secs(2));
    let record = net.nodes[&0].fold().log().last_update(&net.id(2)).cloned().expect("an update");
    let item = Item { entry: spoilt(&net, |_, _| {}), payload: record.payload.map(|p| p.to_vec()) };
    let before = net.updates(0);
    net.inject(2, 0, Message::Entries { items: vec![item] }.encode());
    assert_eq!(net.updates(0), before + 1);
}

#[test]
fn a_verdict_by_someone_who_was_not_drawn_is_refused() {
    let mut net = Net::new(World::calm(5), 3, 3);
    (0..3).for_each(|peer| net.start(peer));
    net.train(2);
    net.pass(Duration::from_secs(2));
    let log = net.nodes[&0].fold().log();
    let target = log.last_update(&net.id(1)).expect("an update").entry.clone();
    let header = Header {
        run: net.run_id(),
        author: net.id(2),
        seq: log.version().count(&net.id(2)),
        previous: log.head(&net.id(2)),
        epoch: 0,
        frontier: Hash::NONE,
        base: log.version().to_components(),
        body: Body::Verdict(Verdict {
            author: net.id(1),
            seq: target.seq(),
            update: target.hash(),
            passed: false,
            replay: Hash::NONE,
            stage: Stage::First,
            draw: [3; 96],
        }),
    };
    let before = log.version().clone();
    let entry = Entry::sign(net.identity(2), header).to_wire();
    net.inject(2, 0, Message::Entries { items: vec![Item { entry, payload: None }] }.encode());
    assert_eq!(*net.nodes[&0].fold().log().version(), before);
}

#[test]
fn a_final_frontier_that_does_not_exist_does_not_hold_a_newcomer_up() {
    let mut net = Net::new(World { frontier_every_tokens: 800, ..World::calm(6) }, 3, 2);
    (0..2).for_each(|peer| net.start(peer));
    net.train(2);
    net.pass(Duration::from_secs(2));
    net.start(2);
    let log = net.nodes[&0].fold().log();
    let vector = log.version().to_components();
    let digest = Digest {
        run: net.run_id(),
        number: 2,
        whole: true,
        set: Hash([5; 32]),
        heads: vec![[0; 8]; vector.len()],
        vector: vector.clone(),
        root: Hash::NONE,
        idle: false,
        finishing: false,
        reply: false,
        lost: false,
        epoch: 1000,
        frontier: Hash([7; 32]),
    };
    net.pass(Duration::from_micros(10));
    net.inject(1, 2, Message::Digest(Box::new(digest)).encode());
    assert!(!net.nodes[&2].is_caught_up());
    net.pass(Duration::from_secs(60));
    assert!(net.nodes[&2].is_caught_up(), "{}", net.describe());
    assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
}
