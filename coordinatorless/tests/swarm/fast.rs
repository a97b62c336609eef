//! A swarm that goes on faster than it can be followed step by step: who joins it catches up nevertheless.

use core::time::Duration;

use murmur_coordinatorless::{Event, Input};

use crate::net::{Net, World};

/// Three founders of four peers; an update is 100 tokens, and an epoch is three of them at least.
fn net(seed: u64, digests_every: Duration) -> Net {
    let mut net = Net::new(World { frontier_every_tokens: 300, ..World::calm(seed) }, 4, 3);
    net.config.anti_entropy_every = digests_every;
    (0..3).for_each(|peer| net.start(peer));
    net.pass(Duration::from_secs(1));
    net
}

/// Each of these peers authors thirty updates a second, for as long as `goes_on`, but no longer than half a minute.
fn train_fast(net: &mut Net, peers: &[usize], goes_on: impl Fn(&Net) -> bool) {
    for _ in 0..1000 {
        if !goes_on(net) {
            return;
        }
        peers.iter().for_each(|peer| net.author(*peer));
        net.pass(Duration::from_millis(30));
    }
}

fn a_newcomer_catches_up(digests_every: Duration) {
    for seed in 7..12 {
        let mut net = net(seed, digests_every);
        train_fast(&mut net, &[0, 1, 2], |net| net.epoch(0) < 5);
        net.start(3);
        let soon = net.now + Duration::from_secs(5);
        train_fast(&mut net, &[0, 1, 2], |net| !net.nodes[&3].is_caught_up() && net.now < soon);
        assert!(net.nodes[&3].is_caught_up(), "seed {seed}: {}", net.describe());
        train_fast(&mut net, &[0, 1, 2, 3], |net| net.nodes[&0].fold().log().tokens_of(&net.id(3)) == 0);
        assert!(net.nodes[&0].fold().log().tokens_of(&net.id(3)) > 0, "it takes part: {}", net.describe());
        net.pass(Duration::from_secs(30));
        assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
        assert!(!net.events.iter().any(|(_, event)| matches!(event, Event::Banned { .. })), "{}", net.describe());
    }
}

/// What a neighbour holds has changed several times before this peer holds what it held.
#[test]
fn a_newcomer_catches_up_although_digests_come_faster_than_entries() {
    a_newcomer_catches_up(Duration::from_millis(20));
}

/// Several epochs become final between two digests, and hundreds of entries wait for each other.
#[test]
fn a_newcomer_catches_up_although_epochs_go_by_faster_than_digests_come() {
    a_newcomer_catches_up(Duration::from_secs(3));
}

/// Who comes back with a disk, and meets only somebody who has nothing, has nobody to wait for.
#[test]
fn a_restarted_peer_that_meets_only_a_newcomer_goes_on() {
    let mut net = net(4, Duration::from_secs(1));
    train_fast(&mut net, &[0, 1, 2], |net| net.epoch(0) < 5);
    (0..3).for_each(|peer| net.kill(peer));
    net.start(0);
    net.start(3);
    net.pass(Duration::from_secs(30));
    for peer in [0, 3] {
        assert!(net.nodes[&peer].is_caught_up(), "{peer}: {}", net.describe());
    }
    assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
}

/// One is killed while all train, comes back, and all finish: what was said last and excluded holds nobody up.
#[test]
fn all_finish_although_one_was_killed_and_came_back() {
    for seed in 0..30 {
        let mut net = net(seed, Duration::from_secs(1));
        net.start(3);
        train_fast(&mut net, &[0, 1, 2, 3], |net| net.nodes[&0].fold().log().tokens_of(&net.id(3)) == 0);
        net.kill(0);
        let at = net.epoch(1);
        train_fast(&mut net, &[1, 2, 3], |net| net.epoch(1) < at + 1 + seed as u32 % 3);
        net.start(0);
        train_fast(&mut net, &[1, 2, 3], |net| !net.nodes[&0].is_caught_up());
        let at = net.updates(1);
        train_fast(&mut net, &[0, 1, 2, 3], |net| net.updates(1) < at + 10);
        (0..4).for_each(|peer| net.handle(peer, Input::Finish { patience: Duration::from_secs(5) }));
        net.pass(Duration::from_secs(60));
        for peer in 0..4 {
            let agreed = net.has_event(peer, |event| *event == Event::Finished { agreed: true });
            assert!(agreed, "seed {seed}, {peer}: {}", net.describe());
        }
        assert_eq!(net.roots(&[]).len(), 1, "{}", net.describe());
    }
}
