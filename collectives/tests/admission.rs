//! What is not let in, and why; and that nothing changes then.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use murmur_collectives::{
    Admission, BASE_AUTHORS_MAX, Body, Component, Enroll, Entry, EntryError, Equivocation, Fold, HEADER_BYTES_MAX,
    Hash, Header, Insertion, Invalid, PeerId, Refused, Update, Verdict, VersionVector, WireEntry,
};
use murmur_kernels::blob_root;
use support::{Said, Swarm, next_header, offer, verdict};

/// Three founders, two rounds of updates that everybody holds.
fn trained() -> Swarm {
    let mut swarm = Swarm::new(3, 3);
    swarm.share_all();
    (0..2).for_each(|_| drop(swarm.round(0..3)));
    swarm
}

fn sign(swarm: &Swarm, peer: usize, header: Header) -> Entry {
    Entry::sign(&swarm.peers[peer].identity, header)
}

/// Offers to peer 0 and checks that nothing changed.
fn refused(swarm: &mut Swarm, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
    let fold = &mut swarm.peers[0].fold;
    let (version, root) = (fold.log().version().clone(), fold.state_root());
    let insertion = fold.insert(entry, payload);
    assert!(!matches!(insertion, Insertion::Applied { .. }), "it was applied");
    assert_eq!((fold.log().version(), fold.state_root()), (&version, root));
    insertion
}

/// What peer 0 says to the next update of peer 2 after `spoil` had its way with it.
fn spoilt(spoil: impl Fn(&mut Header, &mut Update)) -> Insertion {
    let mut swarm = trained();
    let (mut update, payload) = swarm.draft(2, 1e-3);
    let mut header = swarm.header(2, Body::Update(update.clone()));
    spoil(&mut header, &mut update);
    header.body = Body::Update(update);
    let entry = sign(&swarm, 2, header);
    refused(&mut swarm, entry, Some(payload))
}

fn assert_invalid(insertion: &Insertion, why: Invalid, what: &str) {
    assert!(
        matches!(insertion, Insertion::Refused(Refused::Invalid(invalid)) if *invalid == why),
        "{what}: {insertion:?}"
    );
}

#[test]
fn an_unspoilt_update_is_let_in() {
    let mut swarm = trained();
    let (update, payload) = swarm.draft(2, 1e-3);
    let entry = sign(&swarm, 2, swarm.header(2, Body::Update(update)));
    assert_eq!(swarm.fold(0).admit(&entry), Admission::Ready);
    let inserted = offer(&mut swarm.peers[0].fold, &Said { entry, payload: Some(payload) });
    assert!(matches!(inserted, Insertion::Applied { voided: None }));
}

#[test]
fn an_update_that_breaks_a_rule_is_invalid() {
    type Spoil = fn(&mut Header, &mut Update);
    let cases: [(&str, Invalid, Spoil); 16] = [
        ("another run", Invalid::Run, |h, _| h.run = Hash([1; 32])),
        ("no steps", Invalid::Work, |_, u| (u.steps, u.tokens) = (0, 0)),
        ("too many steps", Invalid::Work, |_, u| (u.steps, u.tokens) = (101, 10_100)),
        ("invented tokens", Invalid::Work, |_, u| u.tokens += 1),
        ("tokens beyond any limit", Invalid::Work, |_, u| u.tokens = u64::MAX),
        ("a segment again", Invalid::Work, |_, u| u.segment -= 1),
        ("a segment left out", Invalid::Work, |_, u| u.segment += 1),
        ("a class of its own", Invalid::Class, |_, u| u.class = Hash([8; 32])),
        ("more parameters than the rules allow", Invalid::Density, |_, u| u.top += 1),
        ("a density that no payload has", Invalid::Density, |_, u| u.top = 0),
        ("an enormous payload", Invalid::PayloadLength, |_, u| u.payload_bytes = u32::MAX),
        ("a carry from nowhere", Invalid::Carry, |_, u| u.carry_before = Hash([8; 32])),
        ("a base that went backwards", Invalid::Base, |h, _| h.base[0].count -= 1),
        ("a base that forgot an author", Invalid::Base, |h, _| {
            h.base.remove(0);
        }),
        ("an empty base", Invalid::Base, |h, _| h.base.clear()),
        ("itself in its own past", Invalid::Base, |h, _| {
            let (author, seq) = (h.author, h.seq);
            h.base.iter_mut().filter(|c| c.author == author).for_each(|c| c.count = seq + 1);
        }),
    ];
    for (what, why, spoil) in cases {
        let insertion = spoilt(|header, update| {
            let going_back = why == Invalid::Base;
            if going_back {
                // Bases are compared with the author's previous update, which saw one entry less of everyone.
                header.base.iter_mut().for_each(|component| component.count -= 1);
            }
            spoil(header, update);
        });
        assert_invalid(&insertion, why, what);
    }
}

#[test]
fn a_fresh_carry_is_always_allowed() {
    let insertion = spoilt(|_, update| update.norm = 0);
    assert!(matches!(insertion, Insertion::Refused(Refused::Norm)), "only the norm is wrong: {insertion:?}");
    let mut swarm = trained();
    let (mut update, payload) = swarm.draft(2, 1e-3);
    update.carry_before = Hash::NONE;
    swarm.say(2, Body::Update(update), Some(payload));
}

#[test]
fn a_payload_that_is_not_the_committed_one_is_refused() {
    let mut swarm = trained();
    let (update, payload) = swarm.draft(2, 1e-3);
    let entry = sign(&swarm, 2, swarm.header(2, Body::Update(update)));
    let mut bent = payload.to_vec();
    bent[0] ^= 1;
    let longer = [&payload[..], &[0]].concat();
    for wrong in [None, Some(Arc::from(bent)), Some(Arc::from(longer)), Some(Arc::from(&payload[1..]))] {
        let insertion = refused(&mut swarm, entry.clone(), wrong);
        assert!(matches!(insertion, Insertion::Refused(Refused::WrongPayload)), "{insertion:?}");
    }
    let inserted = offer(&mut swarm.peers[0].fold, &Said { entry, payload: Some(payload) });
    assert!(matches!(inserted, Insertion::Applied { .. }), "the entry itself was good");
}

#[test]
fn a_committed_payload_that_is_malformed_is_its_authors_fault() {
    let garbage: Arc<[u8]> = vec![0xff; 8].into();
    let mut swarm = trained();
    let (mut update, _) = swarm.draft(2, 1e-3);
    (update.payload, update.payload_bytes) = (Hash(blob_root(&garbage)), garbage.len() as u32);
    let entry = sign(&swarm, 2, swarm.header(2, Body::Update(update)));
    let insertion = refused(&mut swarm, entry, Some(garbage));
    assert!(matches!(insertion, Insertion::Refused(Refused::Payload(_))), "{insertion:?}");
}

#[test]
fn a_norm_that_is_not_the_payloads_is_refused() {
    for spoil in [(|u| u.norm += 1) as fn(&mut Update), |u| u.norm = 0, |u| u.norm = u64::MAX] {
        let insertion = spoilt(|_, update| spoil(update));
        assert!(matches!(insertion, Insertion::Refused(Refused::Norm)), "{insertion:?}");
    }
}

#[test]
fn only_an_update_brings_a_payload() {
    let mut swarm = trained();
    let about = swarm.fold(0).log().last_update(&swarm.id(1)).unwrap().entry.clone();
    let entry = sign(&swarm, 2, swarm.header(2, Body::Verdict(verdict(&about, true))));
    let insertion = refused(&mut swarm, entry, Some(vec![0; 1000].into()));
    assert!(matches!(insertion, Insertion::Refused(Refused::WrongPayload)), "{insertion:?}");
}

#[test]
fn an_entry_waits_for_its_chain_and_for_its_past() {
    let mut swarm = trained();
    let mut ahead = swarm.clone();
    let (next, later) = (ahead.update(1, 1e-3), ahead.update(1, 1e-3));
    ahead.share(1, 2);
    let aware = ahead.update(2, 1e-3);
    let gap: VersionVector = [(swarm.id(1), later.entry.seq())].into_iter().collect();
    for (said, needed) in [(&later, &gap), (&aware, aware.entry.base())] {
        let insertion = refused(&mut swarm, said.entry.clone(), said.payload.clone());
        assert!(matches!(&insertion, Insertion::Waits { needs, .. } if needs == needed), "{insertion:?}");
    }
    support::offer_until_quiet(&mut swarm.peers[0].fold, &[aware, later, next]);
    assert_eq!(swarm.fold(0).log().version(), ahead.fold(2).log().version());
}

#[test]
fn a_chain_starts_with_its_enrolment_and_only_there() {
    let mut swarm = trained();
    let again = Body::Enroll(Enroll { vrf_key: [3; 32] });
    let entry = sign(&swarm, 2, swarm.header(2, again.clone()));
    assert_invalid(&refused(&mut swarm, entry, None), Invalid::Enrolment, "enrolled twice");

    let stranger = murmur_collectives::Identity::from_secret(&[99; 32]);
    let header = next_header(swarm.fold(0), stranger.peer_id(), again);
    let orphan = Header { previous: Hash([1; 32]), ..header.clone() };
    let insertion = refused(&mut swarm, Entry::sign(&stranger, orphan), None);
    assert_invalid(&insertion, Invalid::Enrolment, "continues what cannot be");

    let (update, payload) = swarm.draft(2, 1e-3);
    let about = swarm.fold(0).log().last_update(&swarm.id(1)).unwrap().entry.clone();
    for body in [Body::Update(update), Body::Verdict(verdict(&about, true))] {
        let entry = Entry::sign(&stranger, Header { body, ..header.clone() });
        assert_invalid(&refused(&mut swarm, entry, Some(payload.clone())), Invalid::Enrolment, "never enrolled");
    }
}

#[test]
fn a_verdict_is_about_an_update_in_its_past_by_another_once() {
    type Spoil = fn(&Swarm, &mut Header, &mut Verdict);
    let cases: [(&str, Spoil); 5] = [
        ("its own update", |swarm, _, v| *v = verdict(&last_update(swarm, 2), true)),
        ("an update that is not there", |_, _, v| v.seq = 77),
        ("an author that is not there", |_, _, v| v.author = PeerId([3; 32])),
        ("an enrolment", |swarm, _, v| {
            *v = verdict(&swarm.fold(0).log().record(&swarm.id(1), 0).unwrap().entry, true);
        }),
        ("an update outside its past", |swarm, h, _| h.base.retain(|component| component.author != swarm.id(1))),
    ];
    for (what, spoil) in cases {
        let mut swarm = trained();
        let mut given = verdict(&last_update(&swarm, 1), false);
        let mut header = swarm.header(2, Body::Verdict(given.clone()));
        spoil(&swarm, &mut header, &mut given);
        let entry = sign(&swarm, 2, Header { body: Body::Verdict(given), ..header });
        assert_invalid(&refused(&mut swarm, entry, None), Invalid::Subject, what);
    }
    let mut swarm = trained();
    let about = last_update(&swarm, 1);
    swarm.verdict(2, &about, true);
    swarm.share_all();
    let entry = sign(&swarm, 2, swarm.header(2, Body::Verdict(verdict(&about, false))));
    assert_invalid(&refused(&mut swarm, entry, None), Invalid::Subject, "judged before");
}

fn last_update(swarm: &Swarm, peer: usize) -> Entry {
    swarm.fold(0).log().last_update(&swarm.id(peer)).unwrap().entry.as_ref().clone()
}

/// Two entries by peer 2 for its next position.
fn fork(swarm: &Swarm) -> (Said, Said) {
    let (update, payload) = swarm.draft(2, 1e-3);
    let one = sign(swarm, 2, swarm.header(2, Body::Update(Update { loss_micronats: 1, ..update.clone() })));
    let two = sign(swarm, 2, swarm.header(2, Body::Update(Update { loss_micronats: 2, ..update })));
    (Said { entry: one, payload: Some(payload.clone()) }, Said { entry: two, payload: Some(payload) })
}

#[test]
fn a_second_entry_for_a_position_is_a_fork() {
    let mut swarm = trained();
    let (one, two) = fork(&swarm);
    assert!(matches!(offer(&mut swarm.peers[0].fold, &one), Insertion::Applied { .. }));
    let insertion = refused(&mut swarm, two.entry.clone(), two.payload.clone());
    assert!(matches!(&insertion, Insertion::Forks(held) if **held == one.entry), "{insertion:?}");
    let header = Header { seq: two.entry.seq() + 1, previous: two.entry.hash(), ..two.entry.to_header() };
    let after = sign(&swarm, 2, header);
    let insertion = refused(&mut swarm, after, None);
    assert!(matches!(insertion, Insertion::OtherBranch { seq } if seq == one.entry.seq()), "{insertion:?}");
}

fn accuse(fold: &Fold, swarm: &Swarm, one: &Entry, two: &Entry) -> Header {
    let evidence = Equivocation::of(one, two);
    next_header(fold, swarm.id(1), Body::Equivocation(evidence))
}

#[test]
fn evidence_that_does_not_hold_is_invalid() {
    let mut swarm = trained();
    let (one, two) = fork(&swarm);
    assert!(matches!(offer(&mut swarm.peers[0].fold, &one), Insertion::Applied { .. }));
    let other_run = sign(&swarm, 2, Header { run: Hash([1; 32]), ..two.entry.to_header() });
    let mut bent = Equivocation::of(&one.entry, &two.entry);
    bent.second.signature[0] ^= 1;
    let mut cases: Vec<(&str, Header)> = [
        ("one entry twice", &one.entry),
        ("of two positions", &last_update(&swarm, 2)),
        ("of two authors", &last_update(&swarm, 1)),
        ("of another run", &other_run),
    ]
    .into_iter()
    .map(|(what, second)| (what, accuse(swarm.fold(0), &swarm, &one.entry, second)))
    .collect();
    cases.push(("unsigned", next_header(swarm.fold(0), swarm.id(1), Body::Equivocation(bent))));
    for (what, header) in cases {
        let entry = sign(&swarm, 1, header);
        assert_invalid(&refused(&mut swarm, entry, None), Invalid::Evidence, what);
    }
}

#[test]
fn evidence_comes_after_the_part_of_the_chain_that_stays() {
    // Else a peer could hold the evidence without that part, and would no longer ask for it.
    let mut swarm = trained();
    let (one, two) = fork(&swarm);
    let mut header = accuse(swarm.fold(0), &swarm, &one.entry, &two.entry);
    let forger = swarm.id(2);
    header.base.retain(|component| component.author != forger);
    let entry = sign(&swarm, 1, header);
    assert_invalid(&refused(&mut swarm, entry, None), Invalid::Evidence, "the forger's chain is not in its past");
}

#[test]
fn nobody_accuses_itself() {
    // The evidence would cut itself off, and those who come later could not learn of it.
    let mut swarm = trained();
    let (one, two) = fork(&swarm);
    let evidence = Equivocation::of(&one.entry, &two.entry);
    let entry = sign(&swarm, 2, swarm.header(2, Body::Equivocation(evidence)));
    assert_invalid(&refused(&mut swarm, entry, None), Invalid::Evidence, "accuser and accused are one");
}

#[test]
fn a_verdict_on_another_branch_waits_for_the_fork_to_be_proven() {
    let mut swarm = trained();
    let (one, two) = fork(&swarm);
    assert!(matches!(offer(&mut swarm.peers[0].fold, &one), Insertion::Applied { .. }));
    assert!(matches!(offer(&mut swarm.peers[1].fold, &two), Insertion::Applied { .. }));
    let elsewhere = sign(&swarm, 1, swarm.header(1, Body::Verdict(verdict(&two.entry, false))));
    let insertion = refused(&mut swarm, elsewhere, None);
    let needed = [(swarm.id(2), two.entry.seq() + 1)].into_iter().collect();
    assert!(matches!(&insertion, Insertion::Waits { needs, .. } if *needs == needed), "{insertion:?}");
}

#[test]
fn bytes_that_are_no_entry_are_refused() {
    let swarm = trained();
    let good = last_update(&swarm, 1).to_wire();
    assert!(Entry::check(good.clone()).is_ok());
    let long = WireEntry { header: vec![0; HEADER_BYTES_MAX + 1], ..good.clone() };
    assert_eq!(Entry::check(long), Err(EntryError::TooLong(HEADER_BYTES_MAX + 1)));
    for length in [0, 1, good.header.len() / 2, good.header.len() - 1] {
        let short = WireEntry { header: good.header[..length].to_vec(), ..good.clone() };
        assert!(matches!(Entry::check(short), Err(EntryError::Malformed | EntryError::Signature)), "{length} bytes");
    }
    let mut unsigned = good.clone();
    unsigned.signature[63] ^= 1;
    assert_eq!(Entry::check(unsigned), Err(EntryError::Signature));
}

#[test]
fn a_base_has_one_form_and_a_bound() {
    let swarm = trained();
    let component = |n: u32, count| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Component { author: PeerId(id), count }
    };
    let crowd = (0..=BASE_AUTHORS_MAX as u32).map(|n| component(n, 1)).collect();
    let cases = [vec![component(1, 0)], vec![component(2, 1), component(1, 1)], vec![component(1, 1); 2], crowd];
    for base in cases {
        assert_eq!(Entry::check(signed_by_hand(&swarm, base)), Err(EntryError::Base));
    }
    assert!(Entry::check(signed_by_hand(&swarm, vec![component(1, 1), component(2, 1)])).is_ok());
}

/// A header whose base [`Entry::sign`] would not write, signed all the same.
fn signed_by_hand(swarm: &Swarm, base: Vec<Component>) -> WireEntry {
    let said = Header { base, ..swarm.header(2, Body::Enroll(Enroll { vrf_key: [0; 32] })) };
    let header = rkyv::to_bytes::<rkyv::rancor::Error>(&said).unwrap().to_vec();
    let hash = Hash::of("murmuration entry v1", &header);
    let (seq, epoch) = (said.seq.to_le_bytes(), said.epoch.to_le_bytes());
    let claim = Hash::of("murmuration claim v1", &[&said.run.0[..], &said.author.0, &seq, &epoch, &hash.0].concat());
    WireEntry { signature: swarm.peers[2].identity.sign(&claim.0), header }
}
