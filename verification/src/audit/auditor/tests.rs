//! The auditor alone: what it asks for, what it publishes, and what it counts as missed.

#[path = "../../../../collectives/tests/support/mod.rs"]
mod support;

use murmur_collectives::{
    Ballot, Body, Certificate, Chance, Enroll, Founder, Insertion, ONE_Q16, Signed, Update, Vote,
};
use support::{Said, Swarm, run};

use super::*;
use crate::{Subject, was_drawn};

const AUTHOR: usize = 0;
const AUDITOR: usize = 1;
const OTHERS: [usize; 2] = [2, 3];

/// A root that names what a replay gave.
const REPLAY: Hash = Hash([4; 32]);

/// Founders with real sortition keys, every one of which is drawn for every update, and one of them as the auditor.
struct Bench {
    swarm: Swarm,
    auditor: Auditor,
}

fn lottery(swarm: &Swarm, peer: usize) -> Lottery {
    Lottery::of(&swarm.peers[peer].identity)
}

/// A frontier is due every so many tokens; never, if 0.
fn bench(open_max: usize, frontier_every_tokens: u64) -> Bench {
    bench_of_spans(open_max, frontier_every_tokens, 1)
}

/// The same, with spans of at most `span` updates.
fn bench_of_spans(open_max: usize, frontier_every_tokens: u64, span: u32) -> Bench {
    let mut swarm = Swarm::new(4, 4);
    swarm.rules.span = span;
    let keys: Vec<[u8; 32]> = (0..4).map(|peer| lottery(&swarm, peer).public()).collect();
    swarm.rules.founders = (0..4).map(|peer| Founder { peer: swarm.id(peer), vrf_key: keys[peer] }).collect();
    (swarm.rules.audit_rate_q16, swarm.rules.frontier_every_tokens) = (ONE_Q16, frontier_every_tokens);
    swarm.said.clear();
    let fresh = swarm.fresh();
    for (peer, vrf_key) in keys.into_iter().enumerate() {
        swarm.peers[peer].fold = fresh.clone();
        swarm.say(peer, Body::Enroll(Enroll { vrf_key }), None);
    }
    swarm.share_all();
    let class = swarm.draft(AUTHOR, 1e-3).0.class;
    let auditor = Auditor::new(Config { me: swarm.id(AUDITOR), class, open_max });
    Bench { swarm, auditor }
}

impl Bench {
    fn handle(&mut self, input: Input<'_>) -> Vec<Output> {
        let (fold, lottery) = (self.swarm.fold(AUDITOR), &lottery(&self.swarm, AUDITOR));
        self.auditor.handle(&Context { fold, lottery }, input)
    }

    /// `peer` publishes an update, and everyone receives it.
    fn update(&mut self, peer: usize) -> Said {
        let said = self.swarm.update(peer, 1e-3);
        self.swarm.share_all();
        said
    }

    /// An update that began with a carry, its name, and the root of that carry.
    fn update_with_carry(&mut self) -> (Said, UpdateName, Hash) {
        self.update(AUTHOR);
        let said = self.update(AUTHOR);
        let root = said.entry.update().map(|update| update.carry_before).unwrap();
        (said.clone(), name(&said), root)
    }

    /// `peer` publishes its verdict on `about`, which counts, and everyone receives it.
    fn verdict(&mut self, peer: usize, about: &Said, passed: bool, stage: Stage) -> Said {
        let subject = Subject::of(&about.entry, stage);
        let draw = lottery(&self.swarm, peer).draw(subject, Chance::CERTAIN).unwrap();
        let verdict = Verdict { stage, draw, ..support::verdict(&about.entry, passed) };
        let said = self.swarm.say(peer, Body::Verdict(verdict), None);
        self.swarm.share_all();
        said
    }

    fn joined(&mut self, said: &Said) -> Vec<Output> {
        self.handle(Input::Joined(&said.entry))
    }

    fn judged(&mut self, update: UpdateName) -> Vec<Output> {
        self.handle(Input::Judged { update, passed: true, replay: REPLAY })
    }

    /// Open and missed audits.
    fn counts(&self) -> (usize, u64) {
        (self.auditor.open_count(), self.auditor.missed())
    }

    /// What the author holds becomes final for everyone.
    fn settle(&mut self) {
        let proposal = self.swarm.fold(AUTHOR).candidate().expect("enough work was done");
        let frontier = proposal.frontier.clone();
        let vote = |peer: usize| {
            let identity = &self.swarm.peers[peer].identity;
            let vote = Vote::sign(identity, run(), frontier.epoch, 0, Ballot::Precommit, frontier.name());
            Signed { voter: vote.voter, signature: vote.signature }
        };
        let mut signed: Vec<Signed> = (0..4).map(vote).collect();
        signed.sort_unstable_by_key(|signed| signed.voter);
        let certificate = Certificate { frontier: frontier.clone(), round: 0, signed };
        for peer in &mut self.swarm.peers {
            peer.fold.finalize(&certificate, proposal.clone()).unwrap();
        }
    }

    /// Two rounds of work of everyone, which become final.
    fn epoch(&mut self) {
        self.epoch_of(0..4);
    }

    /// The same of some peers.
    fn epoch_of(&mut self, peers: core::ops::Range<usize>) {
        (0..2).for_each(|_| drop(self.swarm.round(peers.clone())));
        self.settle();
    }
}

fn name(said: &Said) -> UpdateName {
    UpdateName { author: said.entry.author(), seq: said.entry.seq() }
}

#[test]
fn a_replay_of_a_fresh_segment_is_ready_at_once_and_its_verdict_is_accepted() {
    let mut bench = bench(8, 0);
    let said = bench.update(AUTHOR);
    assert_eq!(bench.joined(&said), [Output::Ready(name(&said))]);
    let job = bench.auditor.job(bench.swarm.fold(AUDITOR), name(&said)).unwrap();
    assert_eq!((job.span[0].hash(), job.carry), (said.entry.hash(), None));
    assert_eq!(job.start.parameters(), bench.swarm.fresh().parameters(), "the segment started from θ₀");
    let [Output::Publish(verdict)] = &bench.judged(name(&said))[..] else { panic!("a verdict is published") };
    assert_eq!((verdict.passed, verdict.replay, verdict.stage), (true, REPLAY, Stage::First));
    let subject = Subject::of(&said.entry, Stage::First);
    assert!(was_drawn(&lottery(&bench.swarm, AUDITOR).public(), subject, Chance::CERTAIN, &verdict.draw));
    let published = bench.swarm.say(AUDITOR, Body::Verdict(verdict.clone()), None);
    assert!(matches!(support::offer(&mut bench.swarm.peers[2].fold, &published), Insertion::Applied { .. }));
    assert_eq!(bench.counts(), (0, 0));
    assert_eq!(bench.joined(&said), [], "it is judged once");
}

#[test]
fn a_replay_that_needs_a_carry_waits_for_it() {
    let mut bench = bench(8, 0);
    let (said, update, root) = bench.update_with_carry();
    let fetch = Output::FetchCarry { author: update.author, root };
    assert_eq!(bench.joined(&said), std::slice::from_ref(&fetch));
    assert!(bench.auditor.job(bench.swarm.fold(AUDITOR), update).is_none());
    assert_eq!(bench.auditor.carries_wanted().collect::<Vec<_>>(), [(update.author, root)]);
    let other = bench.swarm.id(OTHERS[0]);
    assert_eq!(bench.handle(Input::Reached(other)), []);
    assert_eq!(bench.handle(Input::Reached(update.author)), [fetch]);
    let sealed: Arc<[u8]> = Arc::new([7; 9]);
    let arrived = |root| Input::CarryArrived { root, sealed: sealed.clone() };
    assert_eq!(bench.handle(arrived(Hash::NONE)), [], "another blob");
    assert_eq!(bench.handle(arrived(root)), [Output::Ready(update)]);
    assert_eq!(bench.auditor.job(bench.swarm.fold(AUDITOR), update).unwrap().carry, Some(sealed.clone()));
    assert_eq!(bench.handle(Input::Reached(update.author)), [], "it is held");
    assert_eq!(bench.handle(Input::CarryLost { root }), []);
    assert_eq!(bench.counts(), (1, 0), "what is held cannot be lost");
}

#[test]
fn a_disputed_verdict_holds_a_second_lottery() {
    let mut bench = bench(8, 0);
    let said = bench.update(AUTHOR);
    assert_eq!(bench.joined(&said), [Output::Ready(name(&said))]);
    assert_eq!(bench.handle(Input::Unjudged { update: name(&said) }), []);
    assert_eq!(bench.counts(), (0, 1));
    let confirmed = bench.verdict(OTHERS[0], &said, true, Stage::First);
    assert_eq!(bench.joined(&confirmed), [], "nobody disputes it");
    let disputed = bench.verdict(OTHERS[1], &said, false, Stage::First);
    assert_eq!(bench.joined(&disputed), [Output::Ready(name(&said))]);
    assert_eq!(bench.joined(&disputed), [], "one audit of an update at a time");
    let [Output::Publish(verdict)] = &bench.judged(name(&said))[..] else { panic!("a verdict is published") };
    assert_eq!(verdict.stage, Stage::Confirm);
    let subject = Subject::of(&said.entry, Stage::Confirm);
    assert!(was_drawn(&lottery(&bench.swarm, AUDITOR).public(), subject, Chance::CERTAIN, &verdict.draw));
}

#[test]
fn a_lost_carry_is_a_missed_audit_and_no_verdict() {
    let mut bench = bench(8, 0);
    let (said, update, root) = bench.update_with_carry();
    bench.joined(&said);
    assert_eq!(bench.handle(Input::CarryLost { root: Hash::NONE }), []);
    assert_eq!(bench.counts(), (1, 0), "another blob was lost");
    assert_eq!(bench.handle(Input::CarryLost { root }), []);
    assert_eq!(bench.counts(), (0, 1));
    assert_eq!(bench.handle(Input::CarryLost { root }), []);
    assert_eq!(bench.judged(update), [], "nothing is published of what was not replayed");
    assert_eq!(bench.counts(), (0, 1), "it is counted once");
}

#[test]
fn an_author_that_cannot_be_reached_ends_only_audits_that_lack_its_carry() {
    let mut bench = bench(8, 0);
    let fresh = bench.update(AUTHOR);
    let (said, update, _) = bench.update_with_carry();
    let other = bench.swarm.id(OTHERS[0]);
    [&fresh, &said].into_iter().for_each(|said| drop(bench.joined(said)));
    assert_eq!(bench.handle(Input::Unreachable(other)), []);
    assert_eq!(bench.counts(), (2, 0));
    assert_eq!(bench.handle(Input::Unreachable(update.author)), []);
    assert_eq!(bench.counts(), (1, 1));
    assert!(bench.auditor.job(bench.swarm.fold(AUDITOR), name(&fresh)).is_some());
}

#[test]
fn draws_beyond_the_most_at_once_are_missed() {
    let mut bench = bench(1, 0);
    let [first, second] = [AUTHOR, OTHERS[0]].map(|peer| bench.update(peer));
    assert_eq!(bench.joined(&first), [Output::Ready(name(&first))]);
    assert_eq!(bench.joined(&second), []);
    assert_eq!(bench.counts(), (1, 1));
    assert_eq!(bench.judged(name(&first)).len(), 1);
    assert_eq!(bench.joined(&second), [Output::Ready(name(&second))], "there is room again");
}

#[test]
fn audits_of_an_evicted_author_end_without_being_missed() {
    let mut bench = bench(8, 0);
    let (said, other) = (bench.update(AUTHOR), bench.update(OTHERS[0]));
    [&said, &other].into_iter().for_each(|said| drop(bench.joined(said)));
    OTHERS.into_iter().for_each(|peer| drop(bench.verdict(peer, &said, false, Stage::First)));
    let author = bench.swarm.id(AUTHOR);
    assert!(bench.swarm.fold(AUDITOR).is_evicted(&author), "a quorum found its update false");
    assert_eq!(bench.handle(Input::Evicted(author)), []);
    assert_eq!((bench.counts(), bench.judged(name(&said))), ((1, 0), vec![]), "that of another author stays");
    let later = bench.update(AUTHOR);
    assert_eq!(bench.joined(&later), [], "no lottery is held on what is void");
    assert_eq!(bench.counts(), (1, 0));
}

#[test]
fn audits_of_excluded_entries_end_without_being_missed() {
    let mut bench = bench(8, 0);
    let (kept, excluded) = (bench.update(AUTHOR), bench.update(OTHERS[0]));
    [&kept, &excluded].into_iter().for_each(|said| drop(bench.joined(said)));
    let mut without = bench.swarm.fresh();
    let kept_only: Vec<Said> = bench.swarm.said.iter().filter(|said| name(said) != name(&excluded)).cloned().collect();
    support::offer_until_quiet(&mut without, &kept_only);
    bench.swarm.peers[AUDITOR].fold = without;
    assert_eq!(bench.handle(Input::Excluded), []);
    assert_eq!((bench.counts(), bench.judged(name(&excluded))), ((1, 0), vec![]));
    assert_eq!(bench.judged(name(&kept)).len(), 1);
}

#[test]
fn a_judgement_of_what_weights_no_longer_look_at_is_missed() {
    let mut bench = bench(8, 2000);
    let [early, late] = [AUTHOR, OTHERS[0]].map(|peer| bench.update(peer));
    [&early, &late].into_iter().for_each(|said| drop(bench.joined(said)));
    (0..2).for_each(|_| bench.epoch());
    let judged = |said: &Said| Input::Judged { update: name(said), passed: true, replay: REPLAY };
    assert_eq!(bench.handle(judged(&early)).len(), 1, "a verdict that names epoch 1 still counts");
    bench.update(AUDITOR); // from here on its chain names epoch 2
    assert_eq!(bench.handle(judged(&late)), []);
    assert_eq!(bench.counts(), (0, 1));
}

#[test]
fn updates_of_another_class_and_own_ones_are_not_audited() {
    let mut bench = bench(8, 0);
    let own = bench.update(AUDITOR);
    assert_eq!(bench.joined(&own), []);
    let (update, payload) = bench.swarm.draft(AUTHOR, 1e-3);
    let class = Hash([8; 32]);
    bench.auditor = Auditor::new(Config { class, ..bench.auditor.config });
    let said = bench.swarm.say(AUTHOR, Body::Update(update), Some(payload));
    bench.swarm.share_all();
    assert_eq!((bench.joined(&said), bench.counts()), (vec![], (0, 0)));
}

/// The author goes on in its span, or begins one; with `ends` it commits to its carry.
fn in_span(bench: &mut Bench, goes_on: bool, ends: bool) -> Said {
    let (mut update, payload) = bench.swarm.draft(AUTHOR, 1e-3);
    if goes_on {
        update.carry_before = Update::CONTINUES;
    }
    if !ends {
        update.carry_after = Hash::NONE;
    }
    let said = bench.swarm.say(AUTHOR, Body::Update(update), Some(payload));
    bench.swarm.share_all();
    said
}

#[test]
fn a_span_is_audited_as_a_whole_once_it_has_ended() {
    let mut bench = bench_of_spans(8, 0, 3);
    bench.update(AUTHOR);
    let [first, middle] = [false, true].map(|goes_on| in_span(&mut bench, goes_on, false));
    assert_eq!((bench.joined(&first), bench.joined(&middle)), (vec![], vec![]), "it may still grow");
    assert_eq!(bench.counts(), (0, 0), "nobody waits for an author that may have left");
    assert!(bench.auditor.job(bench.swarm.fold(AUDITOR), name(&first)).is_none());
    let last = in_span(&mut bench, true, true);
    let root = first.entry.update().unwrap().carry_before;
    let fetch = Output::FetchCarry { author: bench.swarm.id(AUTHOR), root };
    assert_eq!((bench.joined(&last), bench.counts()), (vec![fetch], (1, 0)));
    let sealed: Arc<[u8]> = [1, 2, 3].into();
    assert_eq!(bench.handle(Input::CarryArrived { root, sealed }), [Output::Ready(name(&first))]);
    let job = bench.auditor.job(bench.swarm.fold(AUDITOR), name(&first)).unwrap();
    let hashes: Vec<Hash> = job.span.iter().map(|entry| entry.hash()).collect();
    assert_eq!(hashes, [&first, &middle, &last].map(|said| said.entry.hash()));
    let [Output::Publish(verdict)] = &bench.judged(name(&first))[..] else { panic!("a verdict is published") };
    assert_eq!(verdict.update, first.entry.hash(), "the verdict names the first update");
}

#[test]
fn a_span_that_its_author_left_ends_with_the_next_one() {
    let mut bench = bench_of_spans(8, 0, 3);
    let first = in_span(&mut bench, false, false);
    assert_eq!(bench.joined(&first), []);
    // After a restart nothing is left of the private state.
    let next = in_span(&mut bench, false, true);
    assert_eq!(bench.joined(&next), [Output::Ready(name(&first)), Output::Ready(name(&next))]);
    assert_eq!(bench.auditor.job(bench.swarm.fold(AUDITOR), name(&first)).unwrap().span.len(), 1);
}

#[test]
fn an_audit_of_a_span_that_never_ends_is_given_up_when_it_is_final() {
    let mut bench = bench_of_spans(8, 100, 3);
    let first = in_span(&mut bench, false, false);
    assert_eq!(bench.joined(&first), []);
    (0..3).for_each(|_| bench.epoch_of(1..4));
    assert!(bench.auditor.open.contains_key(&name(&first)));
    let other = bench.update(2);
    bench.joined(&other);
    assert!(!bench.auditor.open.contains_key(&name(&first)));
}
