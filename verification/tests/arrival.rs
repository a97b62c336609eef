//! What verdicts come to depends on what is held, not on the order in which disputes, confirmations and proofs came.
#![allow(clippy::unwrap_used)]

#[path = "../../collectives/tests/support/mod.rs"]
mod support;

use murmur_collectives::{
    Admission, Body, Chance, Entry, Equivocation, Fold, Hash, Identity, Insertion, ONE_Q16, Stage, Verdict,
    VersionVector,
};
use murmur_verification::{Lottery, Subject, check_verdict};
use support::{Said, Swarm, offer};

/// Accuses or vouches, and turns out to have forked.
const FORGER: usize = 4;

/// `peers` peers with real sortition keys, `founders` of which start trusted, after one common round of the founders.
fn swarm(founders: usize, peers: usize, audit_rate_q16: u32) -> Swarm {
    begun(Swarm::new(founders, peers), founders, audit_rate_q16)
}

fn begun(mut swarm: Swarm, founders: usize, audit_rate_q16: u32) -> Swarm {
    let peers = swarm.peers.len();
    let keys = swarm.peers.iter().map(|peer| (peer.id(), Lottery::of(&peer.identity).public()));
    let line = |(peer, vrf_key)| murmur_collectives::Founder { peer, vrf_key };
    swarm.rules.founders = keys.take(founders).map(line).collect();
    swarm.rules.audit_rate_q16 = audit_rate_q16;
    swarm.said.clear();
    let fresh = swarm.fresh();
    for peer in 0..peers {
        swarm.peers[peer].fold = fresh.clone();
        let vrf_key = Lottery::of(&swarm.peers[peer].identity).public();
        swarm.say(peer, Body::Enroll(murmur_collectives::Enroll { vrf_key }), None);
    }
    swarm.share_all();
    swarm.round(0..founders);
    swarm
}

fn draw(swarm: &Swarm, auditor: usize, about: &Entry, stage: Stage, chance: Chance) -> Option<[u8; 96]> {
    Lottery::of(&swarm.peers[auditor].identity).draw(Subject::of(about, stage), chance)
}

fn judge(swarm: &mut Swarm, auditor: usize, about: &Entry, passed: bool, stage: Stage) -> Said {
    let draw = draw(swarm, auditor, about, stage, Chance::CERTAIN).unwrap();
    let verdict = Verdict { stage, draw, ..support::verdict(about, passed) };
    swarm.say(auditor, Body::Verdict(verdict), None)
}

/// What a peer does with an entry that comes in. False if it blames somebody.
fn arrive(fold: &mut Fold, said: &Said) -> bool {
    let ready = fold.admit(&said.entry) == Admission::Ready;
    let wrong = said.entry.verdict().filter(|_| ready).is_some_and(|v| check_verdict(fold, &said.entry, v).is_err());
    !wrong && !matches!(offer(fold, said), Insertion::Refused(_))
}

/// Lets `said` arrive in this order, and again until nothing more fits.
fn arrive_all(fold: &mut Fold, said: &[&Said]) {
    loop {
        let before = fold.log().version().clone();
        for said in said {
            assert!(arrive(fold, said), "an honest peer was blamed for {:?}", said.entry.header().body);
        }
        if *fold.log().version() == before {
            return;
        }
    }
}

/// Set, state and standing.
type End = (VersionVector, Hash, Vec<murmur_collectives::PeerId>, (u64, u64), Vec<bool>);

fn end(swarm: &Swarm, fold: &Fold) -> End {
    let view = fold.log().version();
    let trusted = swarm.peers.iter().map(|peer| fold.is_trusted(&peer.id(), view)).collect();
    (view.clone(), fold.state_root(), fold.evicted(), fold.audits(), trusted)
}

/// All orders of `all`.
fn orders<T: Copy>(all: &[T]) -> Vec<Vec<T>> {
    if all.len() <= 1 {
        return vec![all.to_vec()];
    }
    let with_first = |at: usize| {
        let rest: Vec<T> = all.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, one)| *one).collect();
        orders(&rest).into_iter().map(move |order| [&[all[at]], &order[..]].concat())
    };
    (0..all.len()).flat_map(with_first).collect()
}

/// Checks that `late` may come in any order after `common`, and returns what it comes to.
fn any_order_ends_alike(swarm: &Swarm, common: &[Said], late: &[Said]) -> End {
    let mut held = swarm.fresh();
    arrive_all(&mut held, &common.iter().collect::<Vec<_>>());
    let named: Vec<&Said> = late.iter().collect();
    let ends: Vec<End> = orders(&named)
        .into_iter()
        .map(|order| {
            let mut fold = held.clone();
            arrive_all(&mut fold, &order);
            end(swarm, &fold)
        })
        .collect();
    ends.iter().for_each(|other| assert_eq!(*other, ends[0]));
    ends[0].clone()
}

/// The proof, by `accuser`, that the forger said something else in the place of `held`.
fn fork_proof(swarm: &mut Swarm, accuser: usize, held: &Entry) -> Said {
    let mut header = held.to_header();
    if let Body::Verdict(verdict) = &mut header.body {
        verdict.replay = Hash([77; 32]);
    }
    let twin = Entry::sign(&swarm.peers[FORGER].identity, header);
    swarm.say(accuser, Body::Equivocation(Equivocation::of(held, &twin)), None)
}

/// An update that the forger disputes, and the proof that the dispute is one of two branches.
struct Disputed {
    swarm: Swarm,
    about: Entry,
    common: Vec<Said>,
    dispute: Said,
    proof: Said,
}

fn disputed_by_a_forger() -> Disputed {
    let mut swarm = swarm(5, 5, ONE_Q16);
    let about = swarm.fold(0).log().last_update(&swarm.id(0)).unwrap().entry.as_ref().clone();
    let common = swarm.said.clone();
    let dispute = judge(&mut swarm, FORGER, &about, false, Stage::First);
    let proof = fork_proof(&mut swarm, 3, &dispute.entry);
    Disputed { swarm, about, common, dispute, proof }
}

#[test]
fn a_confirmation_of_a_dispute_that_a_fork_cuts_comes_to_the_same_in_any_order() {
    let Disputed { mut swarm, about, common, dispute, proof } = disputed_by_a_forger();
    let mut late = vec![dispute, proof];
    for confirmer in [1, 2] {
        swarm.share(FORGER, confirmer);
        late.push(judge(&mut swarm, confirmer, &about, false, Stage::Confirm));
    }
    late.push(swarm.update(1, 1e-3));
    let (set, _, evicted, audits, _) = any_order_ends_alike(&swarm, &common, &late);
    assert_eq!(evicted, vec![swarm.id(FORGER)], "what nobody disputes is not confirmed");
    assert_eq!(audits, (0, 0));
    assert!(set.contains(&swarm.id(1), late[4].entry.seq()), "who confirmed goes on");
}

#[test]
fn a_confirmation_counts_if_another_disputed_too() {
    let Disputed { mut swarm, about, common, dispute, proof } = disputed_by_a_forger();
    let other = judge(&mut swarm, 2, &about, false, Stage::First);
    swarm.share(FORGER, 1);
    swarm.share(2, 1);
    let confirmation = judge(&mut swarm, 1, &about, false, Stage::Confirm);
    let (_, _, evicted, audits, _) = any_order_ends_alike(&swarm, &common, &[dispute, proof, other, confirmation]);
    let mut both = vec![swarm.id(0), swarm.id(FORGER)];
    both.sort_unstable();
    assert_eq!((evicted, audits), (both, (0, 2)));
}

/// A key whose first update draws `first` at a quarter, and whose second draws `second` at a quarter and not at a 32nd. Nothing
/// that an update says changes who is drawn for it, so only the key can be chosen.
fn key_that_draws(swarm: &Swarm, first: usize, second: usize) -> Identity {
    let quarter = Chance(1 << 30);
    let drawn = |author, seq, auditor: usize, chance| {
        let subject = Subject::at(support::run(), author, seq, Stage::First);
        Lottery::of(&swarm.peers[auditor].identity).draw(subject, chance).is_some()
    };
    let fits = |key: &Identity| {
        let author = key.peer_id();
        drawn(author, 1, first, quarter)
            && drawn(author, 2, second, quarter)
            && !drawn(author, 2, second, Chance(1 << 27))
    };
    (100..=255).map(|n| Identity::from_secret(&[n; 32])).find(fits).expect("one of 18 fits")
}

#[test]
fn a_verdict_on_one_whose_voucher_forked_comes_to_the_same_in_any_order() {
    const NEWCOMER: usize = 5;
    let mut swarm = Swarm::new(5, 6);
    swarm.peers[NEWCOMER].identity = key_that_draws(&swarm, FORGER, 1);
    let mut swarm = begun(swarm, 5, ONE_Q16 / 10);
    let first = swarm.update(NEWCOMER, 1e-3);
    swarm.share_all();
    let common = swarm.said.clone();
    let vouched = judge(&mut swarm, FORGER, &first.entry, true, Stage::First);
    let proof = fork_proof(&mut swarm, 3, &vouched.entry);
    swarm.share(FORGER, NEWCOMER);
    let second = swarm.update(NEWCOMER, 1e-3);
    assert_eq!([&first, &second].map(|said| said.entry.seq()), [1, 2], "the positions that its key was chosen for");
    swarm.share(NEWCOMER, 1);
    // Drawn at the rate of those on probation, and not at that of the trusted.
    let verdict = judge(&mut swarm, 1, &second.entry, true, Stage::First);
    let (set, _, _, audits, trusted) =
        any_order_ends_alike(&swarm, &common, &[vouched, proof, second, verdict.clone()]);
    assert!(set.contains(&swarm.id(1), verdict.entry.seq()));
    assert_eq!((audits, trusted[NEWCOMER]), ((1, 0), true), "in the end it was on probation, so the verdict counts");
}
