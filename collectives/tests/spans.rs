//! Spans: which updates may follow each other without a commitment to the private state.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Admission, Body, Entry, Hash, Header, Invalid, Update};
use support::Swarm;

/// Three peers, the last of which has worked once and committed to its carry.
fn swarm(span: u32) -> Swarm {
    let mut swarm = Swarm::new(3, 3);
    (swarm.rules.span, swarm.rules.class) = (span, None);
    let fresh = swarm.fresh();
    swarm.peers.iter_mut().for_each(|peer| peer.fold = fresh.clone());
    swarm.share_all();
    swarm.update(2, 1e-3);
    swarm.share_all();
    swarm
}

fn sign(swarm: &Swarm, header: Header) -> Entry {
    let signer = swarm.peers.iter().find(|peer| peer.id() == header.author).unwrap();
    Entry::sign(&signer.identity, header)
}

/// What peer 2 would say next.
fn next(swarm: &Swarm, before: Option<Hash>, after: Option<Hash>) -> (Entry, std::sync::Arc<[u8]>) {
    let (mut update, payload) = swarm.draft(2, 1e-3);
    update.carry_before = before.unwrap_or(update.carry_before);
    update.carry_after = after.unwrap_or(update.carry_after);
    (sign(swarm, swarm.header(2, Body::Update(update))), payload)
}

/// Says it.
fn say(swarm: &mut Swarm, before: Option<Hash>, after: Option<Hash>) {
    let (mut update, payload) = swarm.draft(2, 1e-3);
    update.carry_before = before.unwrap_or(update.carry_before);
    update.carry_after = after.unwrap_or(update.carry_after);
    swarm.say(2, Body::Update(update), Some(payload));
    swarm.share_all();
}

fn admitted(swarm: &Swarm, before: Option<Hash>, after: Option<Hash>) -> Admission {
    swarm.fold(0).admit(&next(swarm, before, after).0)
}

const GOES_ON: Option<Hash> = Some(Update::CONTINUES);
const OPEN: Option<Hash> = Some(Hash::NONE);
const REFUSED: Admission = Admission::Invalid(Invalid::Carry);

#[test]
fn a_span_of_three_updates_ends_with_the_third() {
    let mut swarm = swarm(3);
    assert_eq!(admitted(&swarm, GOES_ON, None), REFUSED, "the span before has ended");
    say(&mut swarm, None, OPEN);
    let opened = |swarm: &Swarm| {
        let fold = swarm.fold(0);
        fold.log().open_updates(fold.epochs(), &swarm.id(2), 0)
    };
    assert_eq!(opened(&swarm), Some(1));
    say(&mut swarm, GOES_ON, OPEN);
    assert_eq!(opened(&swarm), Some(2));
    assert_eq!(admitted(&swarm, GOES_ON, OPEN), REFUSED, "a fourth would follow");
    say(&mut swarm, GOES_ON, None);
    assert_eq!(opened(&swarm), None);
    let log = swarm.fold(0).log();
    let (span, ended) = log.span(&swarm.id(2), 2);
    assert_eq!((span.len(), ended), (3, true));
}

#[test]
fn whoever_lost_its_private_state_begins_a_new_span() {
    let mut swarm = swarm(3);
    let root = swarm.fold(0).log().carry(&swarm.id(2));
    say(&mut swarm, None, OPEN);
    assert_eq!(admitted(&swarm, root, None), REFUSED, "that carry was before the newest update");
    assert_eq!(admitted(&swarm, OPEN, OPEN), Admission::Ready, "fresh");
    say(&mut swarm, OPEN, OPEN);
    let (span, ended) = swarm.fold(0).log().span(&swarm.id(2), 2);
    assert_eq!((span.len(), ended), (1, true), "the span before was left");
}

#[test]
fn without_spans_every_update_commits() {
    let swarm = swarm(1);
    assert_eq!(admitted(&swarm, None, OPEN), REFUSED);
    assert_eq!(admitted(&swarm, None, GOES_ON), REFUSED, "that is no root");
    assert_eq!(admitted(&swarm, None, None), Admission::Ready);
}

#[test]
fn another_numeric_class_ends_a_span() {
    let mut swarm = swarm(3);
    say(&mut swarm, None, OPEN);
    let (mut update, _) = swarm.draft(2, 1e-3);
    (update.carry_before, update.class) = (Update::CONTINUES, Hash([77; 32]));
    let entry = sign(&swarm, swarm.header(2, Body::Update(update)));
    assert_eq!(swarm.fold(0).admit(&entry), REFUSED);
}

#[test]
fn a_verdict_is_about_the_first_update_of_a_span() {
    let mut swarm = swarm(3);
    say(&mut swarm, None, OPEN);
    say(&mut swarm, GOES_ON, None);
    let log = swarm.fold(0).log();
    let [first, second] = [2, 3].map(|seq| log.record(&swarm.id(2), seq).unwrap().entry.clone());
    let about = |entry: &Entry| {
        let verdict = Body::Verdict(support::verdict(entry, true));
        swarm.fold(0).admit(&sign(&swarm, swarm.header(1, verdict)))
    };
    assert_eq!(about(&second), Admission::Invalid(Invalid::Subject));
    assert_eq!(about(&first), Admission::Ready);
}
