//! The limits alone: floods, answers, offences, and requests beyond the rate.

use super::*;
use crate::{
    Event as Told,
    node::{
        bench::{at_ms, core, peer, take_events},
        context::Raised,
    },
};
use murmur_collectives::Hash;

const PEER: u8 = 2;

fn request() -> Request {
    Request::Manifest { run: Hash::NONE }
}

fn connected(configure: impl FnOnce(&mut crate::Config)) -> (Limits, Core) {
    let (mut limits, mut core) = (Limits::default(), core());
    configure(&mut core.config);
    limits.connected(&core, peer(PEER));
    (limits, core)
}

#[test]
fn the_messages_of_a_flooding_peer_are_dropped_and_those_of_others_are_not() {
    let (mut limits, core) = connected(|config| config.messages_per_second = 10);
    limits.connected(&core, peer(3));
    let admitted = (0..1000).filter(|_| limits.admit_message(&core, &peer(PEER), 1)).count();
    assert_eq!(admitted, 20, "the burst of two seconds");
    assert!(limits.admit_message(&core, &peer(3), 1));
    assert!(!limits.admit_message(&core, &peer(4), 1), "a peer that is not connected");
}

#[test]
fn an_answer_is_let_in_beyond_the_byte_limit_and_only_once() {
    let (mut limits, core) = connected(|config| config.received_bytes_per_second = 100);
    while limits.admit_message(&core, &peer(PEER), 100) {}
    limits.expect_answer(&core, &peer(PEER), &request());
    let answer = crate::MANIFEST_BYTES_MAX;
    assert!(limits.admit_message(&core, &peer(PEER), answer));
    assert!(!limits.admit_message(&core, &peer(PEER), answer), "one request, one answer");
}

#[test]
fn chunks_that_were_asked_for_pass_the_message_limit_and_no_more_than_those() {
    let (mut limits, core) = connected(|config| config.messages_per_second = 5);
    while limits.admit_message(&core, &peer(PEER), 1) {}
    limits.expect_answer(&core, &peer(PEER), &Request::Chunks { root: Hash::NONE, indices: vec![0, 1, 2] });
    let admitted = (0..10).filter(|_| limits.admit_message(&core, &peer(PEER), 1 << 15)).count();
    assert_eq!(admitted, 3);
}

#[test]
fn three_strikes_ban_a_peer() {
    let (mut limits, mut core) = connected(|_| {});
    for _ in 0..2 {
        limits.strike(&mut core, peer(PEER), "test".to_owned());
    }
    assert!(!limits.is_banned(&peer(PEER), core.now));
    assert!(core.take_raised().is_empty());
    limits.strike(&mut core, peer(PEER), "test".to_owned());
    assert!(matches!(core.take_raised()[..], [Raised::Limits(Event::Banned(banned))] if banned == peer(PEER)));
    assert!(matches!(take_events(&mut core)[2..], [Told::BadInput { .. }, Told::Banned { .. }]));
    assert!(limits.is_banned(&peer(PEER), core.now));
    assert!(!limits.is_banned(&peer(PEER), core.now + core.config.ban));
}

#[test]
fn an_offence_of_a_peer_that_is_gone_is_only_reported() {
    let (mut limits, mut core) = connected(|config| config.strikes_max = 1);
    limits.disconnected(&peer(PEER));
    limits.strike(&mut core, peer(PEER), "late".to_owned());
    assert!(matches!(take_events(&mut core)[..], [Told::BadInput { .. }]));
    assert!(core.take_raised().is_empty() && !limits.is_banned(&peer(PEER), core.now));
}

#[test]
fn a_request_beyond_the_rate_waits_for_its_tokens() {
    let (mut limits, mut core) = connected(|config| config.served_bytes_per_second = 1000);
    assert!(limits.admit_request(&core, &peer(PEER), request()).is_some());
    limits.charge(&peer(PEER), 5000);
    assert!(limits.admit_request(&core, &peer(PEER), request()).is_none(), "3000 bytes overdrawn");
    let due = limits.next_deadline(&core.config).expect("a request is queued");
    assert!(due >= at_ms(3000), "{due:?}");
    core.now = at_ms(2900);
    assert!(limits.next_request(&core).is_none());
    core.now = due;
    assert_eq!(limits.next_request(&core), Some((peer(PEER), request())));
    assert_eq!(limits.next_deadline(&core.config), None);
}

#[test]
fn a_request_behind_a_queued_one_waits_for_its_turn() {
    let (mut limits, mut core) = connected(|config| config.served_bytes_per_second = 1000);
    limits.charge(&peer(PEER), 5000);
    assert!(limits.admit_request(&core, &peer(PEER), request()).is_none());
    core.now = at_ms(60_000);
    assert!(limits.admit_request(&core, &peer(PEER), Request::Manifest { run: Hash([1; 32]) }).is_none());
    assert_eq!(limits.next_request(&core), Some((peer(PEER), request())), "the first one first");
}

#[test]
fn a_new_connection_has_no_requests_of_an_old_one() {
    let (mut limits, mut core) = connected(|config| config.served_bytes_per_second = 1000);
    limits.charge(&peer(PEER), 5000);
    assert!(limits.admit_request(&core, &peer(PEER), request()).is_none());
    limits.connected(&core, peer(PEER));
    core.now = at_ms(60_000);
    assert!(limits.next_request(&core).is_none());
}

#[test]
fn a_large_answer_is_overdue_later_than_a_small_one() {
    let core = core();
    let large = Request::Chunks { root: Hash::NONE, indices: (0..100).collect() };
    let (small, large) = (overdue_at(&core, &request()), overdue_at(&core, &large));
    assert!(small > core.now + core.config.request_timeout);
    assert!(large > small + Duration::from_secs(2), "3.3 MB at 10 Mbit/s");
}
