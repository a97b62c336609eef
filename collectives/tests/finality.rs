//! Final frontiers: what they exclude and prune, and that neither changes what comes after.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{
    Ballot, Body, Certificate, Enroll, Entry, Fold, Foundation, Hash, Header, Identity, Insertion, Invalid, Judgement,
    Proposal, Refused, Resumption, Signed, Update, Vote,
};
use support::{Said, Swarm, next_header, offer, offer_until_quiet, run, shuffled, verdict};

const FOUNDERS: usize = 3;

/// Three founders that make a frontier final every few updates, and a fourth, also a founder.
fn swarm() -> Swarm {
    Swarm::with_frontiers(4, 2000)
}

/// `proposal`, signed by `by`.
fn certify(swarm: &Swarm, proposal: &Proposal, by: &[usize]) -> Certificate {
    let frontier = proposal.frontier.clone();
    let vote = |n: &usize| {
        let identity = &swarm.peers[*n].identity;
        let vote = Vote::sign(identity, run(), frontier.epoch, 0, Ballot::Precommit, frontier.name());
        Signed { voter: vote.voter, signature: vote.signature }
    };
    let mut signed: Vec<Signed> = by.iter().map(vote).collect();
    signed.sort_unstable_by_key(|signed| signed.voter);
    Certificate { frontier, round: 0, signed }
}

/// What peer 0 holds becomes final for all of `who`, who must agree that it may.
fn settle(swarm: &mut Swarm, who: &[usize]) -> Certificate {
    let proposal = swarm.fold(0).candidate().expect("enough was done");
    for peer in who {
        assert_eq!(swarm.fold(*peer).judge(&proposal), Judgement::Good, "peer {peer}");
    }
    let certificate = certify(swarm, &proposal, &[0, 1, 2]);
    for peer in who {
        swarm.peers[*peer].fold.finalize(&certificate, proposal.clone()).unwrap();
    }
    certificate
}

/// `peers` train, hear each other, and make it final.
fn epoch(swarm: &mut Swarm, peers: core::ops::Range<usize>) -> Certificate {
    swarm.train_among(peers.clone());
    settle(swarm, &peers.collect::<Vec<_>>())
}

/// Who decides what follows what peer 2 holds, with what weight, in the order of the peers.
fn voters(swarm: &Swarm) -> Vec<(usize, u64)> {
    let proposal = swarm.fold(2).candidate().unwrap();
    let index = |id| swarm.peers.iter().position(|peer| peer.identity.peer_id() == id).unwrap();
    let mut voters: Vec<_> = proposal.frontier.voters.iter().map(|v| (index(v.peer), v.weight)).collect();
    voters.sort_unstable();
    voters
}

/// In each turn these peers train, and all hear of it.
fn work(swarm: &mut Swarm, turns: &[core::ops::Range<usize>]) {
    for peers in turns {
        peers.clone().for_each(|peer| drop(swarm.update(peer, 1e-3)));
        swarm.share_all();
    }
}

#[test]
fn who_came_later_decides_although_those_who_are_gone_did_more() {
    let mut swarm = Swarm::with_frontiers(6, 2000);
    work(&mut swarm, &[0..2, 0..2, 0..2, 0..2, 0..2, 2..6, 2..6]);
    // Of 18,000 tokens the newest two epochs' work, 4000, is by four authors.
    assert_eq!(voters(&swarm), [(2, 1000), (3, 1000), (4, 1000), (5, 1000)]);
}

#[test]
fn nobody_decides_alone_because_all_others_were_away_for_a_moment() {
    let mut swarm = Swarm::with_frontiers(4, 2000);
    work(&mut swarm, &[0..4, 0..4, 2..3, 2..3, 2..3, 2..3, 2..3]);
    assert_eq!(voters(&swarm), [(0, 2000), (1, 2000), (2, 7000), (3, 2000)], "the newest work is by one only");
}

#[test]
fn who_has_done_nothing_lately_is_not_drawn_to_audit_whatever_the_author_claims_to_have_seen() {
    let mut swarm = swarm();
    epoch(&mut swarm, 0..4);
    (0..2).for_each(|_| drop(epoch(&mut swarm, 0..3)));
    // Its author has seen nothing since the newest frontier.
    drop(swarm.update(0, 1e-3));
    swarm.share(0, 1);
    let (fold, epoch) = (swarm.fold(1), swarm.fold(1).epochs().number());
    let update = fold.log().last_update(&swarm.peers[0].identity.peer_id()).unwrap().entry.clone();
    let eligible = |peer: usize| fold.is_eligible(&swarm.peers[peer].identity.peer_id(), &update, epoch);
    assert_eq!([0, 1, 2, 3].map(eligible), [false, true, true, false]);
}

#[test]
fn pruning_keeps_memory_flat_and_changes_nothing() {
    let mut swarm = swarm();
    let mut most = 0;
    for number in 1..=50 {
        epoch(&mut swarm, 0..4);
        let fold = swarm.fold(0);
        assert_eq!(fold.epochs().number(), number);
        assert!(fold.log().records().count() <= 2 * 8 + 4, "two epochs of two updates each, and the enrolments");
        most = most.max(fold.foundation().encode().len());
    }
    assert!(most < 4096, "a foundation of four authors takes {most} bytes");
    let roots: Vec<_> = (0..4).map(|peer| swarm.fold(peer).state_root()).collect();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(swarm.fold(0).log().update_count(swarm.fold(0).log().version()), 50 * 8);
    assert_eq!(swarm.fold(0).clock(), 50 * 8 * 1000);
}

#[test]
fn a_peer_that_never_prunes_gives_the_same_weights() {
    let mut swarm = swarm();
    let mut slow = swarm.fold(3).clone();
    let mut certificates = Vec::new();
    for _ in 0..5 {
        let proposal = {
            for _ in 0..2 {
                (0..3).for_each(|peer| drop(swarm.update(peer, 1e-3)));
                swarm.share_among(0..3);
            }
            swarm.fold(0).candidate().unwrap()
        };
        let certificate = certify(&swarm, &proposal, &[0, 1, 2]);
        (0..3).for_each(|peer| drop(swarm.peers[peer].fold.finalize(&certificate, proposal.clone()).unwrap()));
        certificates.push((certificate, proposal));
    }
    // The slow one hears everything at the end, in another order, an epoch at a time.
    for (certificate, proposal) in certificates {
        offer_until_quiet(&mut slow, &shuffled(&swarm.said, 7));
        assert!(slow.holds(&proposal));
        slow.finalize(&certificate, proposal).unwrap();
    }
    offer_until_quiet(&mut slow, &swarm.said);
    assert_eq!(slow.state_root(), swarm.fold(0).state_root());
    assert_eq!(slow.log().version(), swarm.fold(0).log().version());
    assert_eq!(slow.foundation(), swarm.fold(0).foundation());
}

/// Peer 3 trains alone for `alone` updates while the others make `epochs` frontiers final.
fn parted(epochs: usize, alone: usize) -> Swarm {
    let mut swarm = swarm();
    epoch(&mut swarm, 0..4);
    (0..alone).for_each(|_| drop(swarm.update(3, 1e-3)));
    (0..epochs).for_each(|_| drop(epoch(&mut swarm, 0..3)));
    swarm
}

#[test]
fn a_partition_shorter_than_an_epoch_loses_nothing() {
    let mut swarm = parted(1, 2);
    let late: Vec<Said> = swarm.said.iter().filter(|s| s.entry.author() == swarm.id(3)).cloned().collect();
    for said in &late[late.len() - 2..] {
        assert!(matches!(offer(&mut swarm.peers[0].fold, said), Insertion::Applied { .. }));
    }
}

#[test]
fn what_comes_after_two_frontiers_is_excluded_alike_wherever_it_was_held() {
    let mut swarm = swarm();
    epoch(&mut swarm, 0..4);
    let lost = [swarm.update(3, 1e-3), swarm.update(3, 1e-3)];
    for _ in 0..2 {
        (0..3).for_each(|peer| drop(swarm.update(peer, 1e-3)));
        swarm.share_among(0..3);
    }
    settle(&mut swarm, &[0, 1, 2]);
    // Peer 1 hears of the lost ones in time, but no frontier that takes them in is decided.
    for said in &lost {
        offer(&mut swarm.peers[1].fold, said);
    }
    let aware = swarm.update(1, 1e-3);
    (0..2).for_each(|_| drop(swarm.update(0, 1e-3)));
    swarm.share(0, 1);
    swarm.share(0, 2);
    settle(&mut swarm, &[0, 1, 2]);
    let held = swarm.fold(1).log();
    assert!(held.record(&swarm.id(3), lost[0].entry.seq()).is_none(), "it left the set");
    assert_eq!(held.reach(&swarm.id(3)), lost[1].entry.seq() + 1);
    // Peer 2 never held them. It learns that they are out, and so takes what peer 1 said after them.
    assert!(matches!(offer(&mut swarm.peers[2].fold, &aware), Insertion::Waits { .. }));
    assert!(matches!(offer(&mut swarm.peers[2].fold, &lost[1]), Insertion::Excluded));
    assert!(matches!(offer(&mut swarm.peers[2].fold, &aware), Insertion::Applied { .. }));
    assert_eq!(swarm.fold(1).log().version(), swarm.fold(2).log().version());
    assert_eq!(swarm.fold(1).state_root(), swarm.fold(2).state_root());
    assert_eq!(swarm.weight(&aware), swarm.fold(2).log().record(&swarm.id(1), aware.entry.seq()).unwrap().weight.q16());
    assert!(!swarm.fold(2).log().is_past_whole(&aware.entry), "nobody can replay what built on them");
}

#[test]
fn what_is_weighed_again_when_something_is_excluded_weighs_the_same() {
    let mut swarm = swarm();
    epoch(&mut swarm, 0..4);
    // Peer 0 is quiet for so long that its last update is pruned: its next one looks back to its horizon.
    let without_zero = |swarm: &mut Swarm| {
        (1..3).for_each(|peer| drop(swarm.update(peer, 1e-3)));
        swarm.share_among(0..3);
    };
    without_zero(&mut swarm);
    swarm.share(0, 3);
    settle(&mut swarm, &[0, 1, 2, 3]);
    let lost = swarm.update(3, 1e-3);
    without_zero(&mut swarm);
    settle(&mut swarm, &[0, 1, 2]);
    let (update, payload) = swarm.draft(0, 1e-3);
    let header = next_header(swarm.fold(0), swarm.id(0), Body::Update(update));
    let frontier = swarm.fold(0).epochs().name(2).unwrap();
    let slow = Entry::sign(&swarm.peers[0].identity, Header { epoch: 2, frontier, ..header });
    for peer in 0..3 {
        let insertion = swarm.peers[peer].fold.insert(slow.clone(), Some(payload.clone()));
        assert!(matches!(insertion, Insertion::Applied { .. }), "{insertion:?}");
    }
    without_zero(&mut swarm);
    offer(&mut swarm.peers[1].fold, &lost);
    settle(&mut swarm, &[0, 1, 2]);
    assert!(swarm.fold(1).log().record(&swarm.id(3), lost.entry.seq()).is_none(), "only peer 1 held it, and it is out");
    let weight = |peer: usize| swarm.fold(peer).log().record(&swarm.id(0), slow.seq()).unwrap().weight;
    assert!(weight(0).q16() > 0 && weight(0) == weight(1));
    assert_eq!(swarm.fold(1).state_root(), swarm.fold(0).state_root());
    assert_eq!(swarm.fold(1).foundation(), swarm.fold(0).foundation());
}

#[test]
fn an_author_that_was_excluded_goes_on_behind_what_it_said() {
    let mut swarm = parted(2, 2);
    let all: Vec<Said> = swarm.said.clone();
    // It catches up: entries and frontiers of the others, one epoch at a time.
    let mut behind = swarm.fold(0).clone();
    let own: Vec<Said> = all.iter().filter(|s| s.entry.author() == swarm.id(3)).cloned().collect();
    let last = own.last().unwrap();
    assert!(matches!(offer(&mut behind, last), Insertion::Excluded));
    swarm.peers[3].fold = behind;
    let back = swarm.update(3, 1e-3);
    assert_eq!(back.entry.seq(), last.entry.seq() + 1, "no position is signed twice");
    assert_eq!(back.entry.header().previous, last.entry.hash());
    for peer in 0..3 {
        assert!(matches!(offer(&mut swarm.peers[peer].fold, &back), Insertion::Waits { .. }), "the gap is unexplained");
        assert!(matches!(offer(&mut swarm.peers[peer].fold, last), Insertion::Excluded));
        assert!(matches!(offer(&mut swarm.peers[peer].fold, &back), Insertion::Applied { .. }));
        for said in &own {
            assert!(!matches!(offer(&mut swarm.peers[peer].fold, said), Insertion::Applied { .. }), "they stay out");
        }
    }
    (0..3).for_each(|_| drop(epoch(&mut swarm, 0..4)));
    let roots: Vec<_> = (0..4).map(|peer| swarm.fold(peer).state_root()).collect();
    assert!(roots.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_later_entry_that_knows_less_is_evidence() {
    let mut swarm = parted(2, 1);
    let stale = swarm.said.iter().rfind(|s| s.entry.author() == swarm.id(3)).unwrap().clone();
    offer(&mut swarm.peers[0].fold, &stale);
    swarm.peers[3].fold = swarm.fold(0).clone();
    let fresh = swarm.update(3, 1e-3);
    // A twin of the past: a later position that pretends to know only the first epoch.
    let mut header = fresh.entry.to_header();
    (header.seq, header.previous) = (fresh.entry.seq() + 1, fresh.entry.hash());
    (header.epoch, header.frontier) = (1, stale.entry.header().frontier);
    let liar = Entry::sign(&swarm.peers[3].identity, header);
    offer(&mut swarm.peers[0].fold, &fresh);
    let Insertion::Forks(other) = swarm.peers[0].fold.insert(liar.clone(), None) else { panic!("not noticed") };
    let evidence = murmur_collectives::Equivocation::of(&other, &liar);
    assert_eq!(evidence.accused(run()), Ok((swarm.id(3), fresh.entry.seq())));
}

fn resumption(fold: &Fold, payloads: bool) -> Resumption {
    let newest = fold.epochs().newest();
    let records = fold.log().records().filter(|r| newest.view.contains(&r.entry.author(), r.entry.seq()));
    let payload = |r: &murmur_collectives::Record| r.payload.clone().filter(|_| payloads);
    Resumption {
        names: fold.epochs().names().to_vec(),
        certificate: newest.certificate.as_deref().unwrap().clone(),
        rows: newest.rows.clone(),
        foundation: Foundation::decode(&fold.foundation().encode()).unwrap(),
        state: fold.state_at(&newest.view).unwrap(),
        entries: records.map(|r| (r.entry.as_ref().clone(), payload(r))).collect(),
    }
}

#[test]
fn a_newcomer_begins_at_a_final_frontier_and_counts_alike() {
    let mut swarm = swarm();
    (0..4).for_each(|_| drop(epoch(&mut swarm, 0..4)));
    let about = swarm.update(1, 1e-3);
    swarm.share_all();
    swarm.verdict(0, &about.entry, true);
    swarm.share_all();
    for payloads in [false, true] {
        let mut newcomer = Fold::resume(run(), swarm.rules.clone(), resumption(swarm.fold(0), payloads)).unwrap();
        offer_until_quiet(&mut newcomer, &swarm.said);
        assert_eq!(newcomer.log().version(), swarm.fold(0).log().version());
        assert_eq!(newcomer.state_root(), swarm.fold(0).state_root());
        assert_eq!(newcomer.foundation(), swarm.fold(0).foundation());
        assert_eq!(newcomer.candidate(), swarm.fold(0).candidate());
    }
    swarm.peers[3].fold = Fold::resume(run(), swarm.rules.clone(), resumption(swarm.fold(0), false)).unwrap();
    swarm.share_all();
    (0..3).for_each(|_| drop(epoch(&mut swarm, 0..4)));
    assert_eq!(swarm.fold(3).state_root(), swarm.fold(0).state_root());
}

#[test]
fn a_newcomer_needs_no_payloads_of_what_is_final_to_take_out_a_fork() {
    let mut swarm = swarm();
    (0..3).for_each(|_| drop(epoch(&mut swarm, 0..4)));
    swarm.peers[1].fold = Fold::resume(run(), swarm.rules.clone(), resumption(swarm.fold(0), false)).unwrap();
    let held = swarm.update(3, 1e-3);
    swarm.share_all();
    let body = Body::Update(Update { trace: Hash([7; 32]), ..held.entry.update().unwrap().clone() });
    let twin = Entry::sign(&swarm.peers[3].identity, Header { body, ..held.entry.to_header() });
    let proof = swarm.say(0, Body::Equivocation(murmur_collectives::Equivocation::of(&held.entry, &twin)), None);
    let taken_in = offer(&mut swarm.peers[1].fold, &proof);
    assert!(matches!(taken_in, Insertion::Applied { .. }), "{taken_in:?}");
    assert_eq!(swarm.fold(1).state_root(), swarm.fold(0).state_root());
    swarm.share_among(0..3);
    (0..3).for_each(|_| drop(epoch(&mut swarm, 0..3)));
    assert_eq!(swarm.fold(1).state_root(), swarm.fold(0).state_root());
}

#[test]
fn nothing_bent_can_be_resumed_from() {
    let mut swarm = swarm();
    (0..3).for_each(|_| drop(epoch(&mut swarm, 0..4)));
    type Bend = fn(&mut Resumption);
    let bends: [(&str, Bend); 7] = [
        ("state", |r| r.state[5] += 1),
        ("rows", |r| r.rows[0].count -= 1),
        ("an entry missing", |r| drop(r.entries.pop())),
        ("ledger", |r| r.foundation.author_totals[0].tokens += 1),
        ("weight", |r| r.foundation.kept[0].entries[0].weight_q16 += 1),
        ("names", |r| r.names.truncate(1)),
        ("certificate", |r| r.certificate.frontier.clock += 1),
    ];
    assert!(Fold::resume(run(), swarm.rules.clone(), resumption(swarm.fold(0), true)).is_ok());
    for (what, bend) in bends {
        let mut bent = resumption(swarm.fold(0), true);
        bend(&mut bent);
        assert!(Fold::resume(run(), swarm.rules.clone(), bent).is_err(), "{what}");
    }
}

#[test]
fn a_wrong_proposal_is_not_good() {
    let mut swarm = swarm();
    epoch(&mut swarm, 0..4);
    (0..2).for_each(|_| drop(swarm.round(0..4)));
    let good = swarm.fold(0).candidate().unwrap();
    assert_eq!(swarm.fold(1).judge(&good), Judgement::Good);
    let rehash = |mut p: Proposal| {
        p.frontier.rows = murmur_collectives::rows_digest(&p.rows);
        p
    };
    type Spoil = fn(&mut Proposal);
    let spoils: [(&str, Spoil); 6] = [
        ("state", |p| p.frontier.state.0[0] ^= 1),
        ("voters", |p| p.frontier.voters[0].weight += 1),
        ("clock", |p| p.frontier.clock += 1),
        ("foundation", |p| p.frontier.foundation.0[0] ^= 1),
        ("another head", |p| p.rows[0].head.0[0] ^= 1),
        ("what is final left out", |p| p.rows.truncate(3)),
    ];
    for (what, spoil) in spoils {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(matches!(swarm.fold(1).judge(&rehash(bad)), Judgement::Wrong(_)), "{what}");
    }
    // Without the first of its two rounds an author's second is not closed; here one author's newest is left out.
    let mut open = good.clone();
    let fold = swarm.fold(1);
    let row = &mut open.rows[0];
    row.count -= 2;
    row.head = fold.log().head_at(&row.author, row.count).unwrap();
    assert!(matches!(fold.judge(&rehash(open)), Judgement::Wrong("it is not causally closed")));
    let mut early = swarm.clone();
    settle(&mut early, &[0]);
    assert_eq!(early.fold(0).candidate(), None, "nothing was done since");
}

#[test]
fn a_proof_of_a_fork_does_not_undo_what_is_final() {
    let mut swarm = swarm();
    (0..2).for_each(|_| drop(epoch(&mut swarm, 0..4)));
    let forger = swarm.id(3);
    let held = swarm.fold(0).log().last_update(&forger).unwrap().entry.clone();
    let header = Header { body: Body::Enroll(Enroll { vrf_key: [1; 32] }), ..held.to_header() };
    let twin = Entry::sign(&swarm.peers[3].identity, header);
    let late = swarm.update(3, 1e-3);
    swarm.share_all();
    let (before, state) =
        (swarm.fold(0).epochs().newest().view.clone(), swarm.fold(0).epochs().newest().frontier.state);
    swarm.say(0, Body::Equivocation(murmur_collectives::Equivocation::of(&held, &twin)), None);
    let fold = swarm.fold(0);
    assert!(fold.is_evicted(&forger) && fold.log().record(&forger, late.entry.seq()).is_none());
    assert_eq!(fold.log().version().count(&forger), before.count(&forger), "final is final");
    assert_eq!(fold.state_at(&before).map(|s| murmur_kernels::state_root(&s)), Ok(state.0));
    let peers = 0..FOUNDERS;
    swarm.share_among(peers.clone());
    (0..3).for_each(|_| drop(epoch(&mut swarm, peers.clone())));
    assert_eq!(swarm.fold(0).epochs().newest().frontier.weight(&forger), 0);
    assert_eq!(swarm.fold(0).state_root(), swarm.fold(1).state_root());
}

#[test]
fn what_a_newcomer_says_leaves_the_set_with_its_enrolment() {
    let mut swarm = swarm();
    epoch(&mut swarm, 0..4);
    let newcomer = Identity::from_secret(&[99; 32]);
    let enroll = Body::Enroll(Enroll { vrf_key: [3; 32] });
    let enrolment = Entry::sign(&newcomer, next_header(swarm.fold(3), newcomer.peer_id(), enroll.clone()));
    let applied = |insertion: Insertion| assert!(matches!(insertion, Insertion::Applied { .. }), "{insertion:?}");
    applied(swarm.peers[3].fold.insert(enrolment, None));

    // Only peer 3 heard of it in time, and it says nothing.
    let without_word_of_it = |swarm: &mut Swarm| {
        (0..3).for_each(|peer| drop(swarm.update(peer, 1e-3)));
        swarm.share_among(0..3);
        swarm.share(0, 3);
        settle(swarm, &[0, 1, 2, 3])
    };
    let named = (swarm.fold(3).epochs().number(), swarm.fold(3).epochs().newest().frontier.name());
    without_word_of_it(&mut swarm);
    let about = swarm.fold(3).log().last_update(&swarm.id(1)).unwrap().entry.clone();
    let newest = next_header(swarm.fold(3), newcomer.peer_id(), Body::Verdict(verdict(&about, true)));
    let early = Entry::sign(&newcomer, Header { epoch: named.0, frontier: named.1, ..newest.clone() });
    let refused = swarm.peers[3].fold.insert(Entry::sign(&newcomer, newest), None);
    assert!(matches!(refused, Insertion::Refused(Refused::Invalid(Invalid::Epoch))), "{refused:?}");
    applied(swarm.peers[3].fold.insert(early, None));

    // Nobody holds a chain without its enrolment, and it enrolls behind what it said.
    without_word_of_it(&mut swarm);
    let log = swarm.fold(3).log();
    assert!(log.vrf_key(&newcomer.peer_id()).is_none() && log.chain(&newcomer.peer_id()).is_empty());
    let again = next_header(swarm.fold(3), newcomer.peer_id(), enroll);
    assert_eq!(again.seq, 2);
    applied(swarm.peers[3].fold.insert(Entry::sign(&newcomer, again), None));
}
