//! Deciding an epoch: a small model of four voters, one of them faulty, under random schedules.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc};

use murmur_collectives::{
    Ballot, Certificate, Founder, Frontier, Hash, Heard, Identity, NotFinal, ONE_Q16, Pace, Patience, PeerId, Rounds,
    Rules, Signing, Vote, Voter,
};
use proptest::prelude::*;

const RUN: Hash = Hash([9; 32]);
const VOTERS: usize = 4;
/// The one that signs whatever it likes.
const FAULTY: usize = 3;

fn identity(n: usize) -> Identity {
    Identity::from_secret(&[n as u8 + 1; 32])
}

fn id(n: usize) -> PeerId {
    identity(n).peer_id()
}

fn rules() -> Rules {
    Rules {
        parameters: 1,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16,
        clip_q16: ONE_Q16,
        tokens_per_step: 1,
        segment_tokens: 10,
        steps_max: 1,
        token_budget: 1000,
        audit_rate_q16: 0,
        audit_quorum: 2,
        span: 1,
        frontier_every_tokens: 100,
        class: None,
        founders: (0..VOTERS).map(|n| Founder { peer: id(n), vrf_key: [0; 32] }).collect(),
    }
}

fn voters(weights: &[(usize, u64)]) -> Vec<Voter> {
    let mut voters: Vec<Voter> = weights.iter().map(|(n, weight)| Voter { peer: id(*n), weight: *weight }).collect();
    voters.sort_unstable_by_key(|voter| voter.peer);
    voters
}

/// One of several sets that could come next.
fn candidate(n: u8, clock: u64, weights: &[(usize, u64)]) -> Frontier {
    let [rows, state, foundation] = [Hash([n; 32]); 3];
    Frontier {
        epoch: 1,
        previous: Hash::NONE,
        rows,
        clock,
        state,
        foundation,
        voters: voters(weights),
        pace: Pace { peers_q16: 1 << 16, segment_tokens: 1 },
    }
}

fn equals() -> Vec<(usize, u64)> {
    (0..VOTERS).map(|n| (n, 1)).collect()
}

/// Voter `n` before it heard anything; `signing` is what it signed before a restart.
fn beginning(n: usize, signing: Option<Signing>) -> Rounds {
    Rounds::new(Arc::new(rules()), id(n), Arc::new(Frontier::genesis(&rules())), signing)
}

fn vote(n: usize, round: u32, ballot: Ballot, frontier: Hash) -> Vote {
    Vote::sign(&identity(n), RUN, 1, round, ballot, frontier)
}

struct World {
    rounds: Vec<Rounds>,
    /// Votes on their way: to whom, and which.
    mail: Vec<(usize, Vote)>,
}

impl World {
    fn new(candidates: &[Frontier]) -> Self {
        let mut rounds: Vec<Rounds> = (0..VOTERS).map(|n| beginning(n, None)).collect();
        for rounds in &mut rounds {
            for frontier in candidates {
                assert!(rounds.introduce(frontier.clone()));
                rounds.accept(frontier.name());
            }
        }
        Self { rounds, mail: Vec::new() }
    }

    fn say(&mut self, from: usize, round: u32, (ballot, name): (Ballot, Hash)) {
        let vote = vote(from, round, ballot, name);
        self.rounds[from].hear(vote.clone());
        self.mail.extend((0..VOTERS).filter(|to| *to != from).map(|to| (to, vote.clone())));
    }

    fn act(&mut self, n: usize) {
        let round = self.rounds[n].round();
        if let Some(signed) = self.rounds[n].vote() {
            self.say(n, round, signed);
        }
    }

    fn offer(&mut self, n: usize, name: Hash) {
        let round = self.rounds[n].round();
        if let Some(signed) = self.rounds[n].offer(name) {
            self.say(n, round, signed);
        }
    }

    fn deliver(&mut self, at: usize) {
        if !self.mail.is_empty() {
            let (to, vote) = self.mail.swap_remove(at % self.mail.len());
            self.rounds[to].hear(vote);
        }
    }

    fn deliver_all(&mut self) {
        while !self.mail.is_empty() {
            self.deliver(0);
        }
    }

    fn hear_told(&mut self, to: usize, told: &[Vote]) {
        for vote in told {
            self.rounds[to].hear(vote.clone());
        }
        assert_eq!(self.rounds[to].hear_together(told, |vote| vote.is_signed(RUN)), Ok(()));
    }

    fn decided(&self) -> BTreeSet<Hash> {
        let honest = (0..VOTERS).filter(|n| *n != FAULTY);
        honest.filter_map(|n| Some(self.rounds[n].certificate()?.frontier.name())).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Act(usize),
    Offer(usize, usize),
    Deliver(usize),
    Lose(usize),
    Next(usize),
    /// The faulty voter signs anything, and tells it to one.
    Lie {
        to: usize,
        round: u32,
        commit: bool,
        which: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..VOTERS).prop_map(Step::Act),
        3 => (0..VOTERS, 0..2usize).prop_map(|(n, which)| Step::Offer(n, which)),
        12 => any::<usize>().prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::Lose),
        2 => (0..VOTERS).prop_map(Step::Next),
        4 => (0..VOTERS, 0u32..5, any::<bool>(), 0..2usize)
            .prop_map(|(to, round, commit, which)| Step::Lie { to, round, commit, which }),
    ];
    proptest::collection::vec(step, 20..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn one_liar_of_four_cannot_make_two_frontiers_final(steps in steps()) {
        let candidates = [candidate(1, 100, &equals()), candidate(2, 100, &equals())];
        let names = candidates.each_ref().map(Frontier::name);
        let mut world = World::new(&candidates);
        for step in steps {
            match step {
                Step::Act(n) if n != FAULTY => world.act(n),
                Step::Offer(n, which) if n != FAULTY => world.offer(n, names[which]),
                Step::Next(n) if n != FAULTY => world.rounds[n].next_round(),
                Step::Act(_) | Step::Offer(..) | Step::Next(_) => {}
                Step::Deliver(at) => world.deliver(at),
                Step::Lose(at) => {
                    let length = world.mail.len().max(1);
                    (!world.mail.is_empty()).then(|| world.mail.swap_remove(at % length));
                }
                Step::Lie { to, round, commit, which } => {
                    let ballot = if commit { Ballot::Precommit } else { Ballot::Prevote };
                    let vote = vote(FAULTY, round, ballot, names[which]);
                    world.rounds[to].hear(vote);
                }
            }
            // Each honest voter may have decided by other votes: all certificates together name one frontier.
            prop_assert!(world.decided().len() <= 1);
        }
        fair_weather(&mut world, names);
        prop_assert_eq!(world.decided().len(), 1, "three honest voters who hear each other decide");
    }
}

/// The honest voters tell each other what they know, round after round; the liar keeps still.
fn fair_weather(world: &mut World, names: [Hash; 2]) {
    for _ in 0..12 {
        let newest = (0..3).map(|n| world.rounds[n].round()).max().unwrap();
        for n in 0..3 {
            while world.rounds[n].round() <= newest {
                world.rounds[n].next_round();
            }
            let told = world.rounds[n].telling();
            (0..3).for_each(|to| world.hear_told(to, &told));
        }
        run_out(world);
        world.offer(0, names[0]);
        world.offer(0, names[1]);
        run_out(world);
    }
}

/// Delivers everything and lets everyone act, until nothing happens.
fn run_out(world: &mut World) {
    loop {
        (0..VOTERS).filter(|n| *n != FAULTY).for_each(|n| world.act(n));
        if world.mail.is_empty() {
            return;
        }
        world.deliver_all();
    }
}

#[test]
fn three_of_four_decide_in_one_round_and_two_do_not() {
    let frontier = candidate(1, 100, &equals());
    let mut world = World::new(std::slice::from_ref(&frontier));
    world.offer(0, frontier.name());
    world.act(1);
    world.deliver_all();
    assert!(world.rounds[0].certificate().is_none(), "nobody committed yet");
    run_out(&mut world);
    let certificate = world.rounds[1].certificate().expect("three of four are more than two thirds");
    assert_eq!(certificate.check(RUN, &rules(), &Frontier::genesis(&rules())), Ok(()));
    let two = Certificate { signed: certificate.signed[..2].to_vec(), ..certificate };
    assert_eq!(two.check(RUN, &rules(), &Frontier::genesis(&rules())), Err(NotFinal::Weight));
}

#[test]
fn a_lock_that_rests_on_a_liars_word_can_be_explained_to_others() {
    let candidates = [candidate(1, 100, &equals()), candidate(2, 100, &equals())];
    let names = candidates.each_ref().map(Frontier::name);
    let mut world = World::new(&candidates);
    let lie = |name| vote(FAULTY, 0, Ballot::Prevote, name);
    world.offer(0, names[0]);
    world.offer(1, names[0]);
    world.offer(2, names[1]);
    // The liar tells one voter what lets it commit, and the others something else.
    world.rounds[0].hear(lie(names[0]));
    for n in 1..3 {
        world.rounds[n].hear(lie(names[1]));
    }
    world.rounds[0].hear(vote(1, 0, Ballot::Prevote, names[0]));
    world.act(0);
    assert_eq!(world.rounds[0].signing().lock, Some((0, names[0])));
    let told = world.rounds[0].telling();
    assert_eq!(world.rounds[2].hear(lie(names[0])), Heard::Refused, "told alone it is a second word");
    let forged = |vote: &Vote| vote.voter != id(FAULTY);
    assert_eq!(world.rounds[2].hear_together(&told, forged), Err(id(FAULTY)));
    world.rounds[2].next_round();
    assert_eq!(world.rounds[2].vote(), None, "nothing binds it");
    world.hear_told(2, &told);
    assert_eq!(world.rounds[2].vote(), Some((Ballot::Prevote, names[0])));
}

#[test]
fn after_a_split_round_the_next_one_decides() {
    let candidates = [candidate(1, 100, &equals()), candidate(2, 100, &equals())];
    let mut world = World::new(&candidates);
    world.offer(0, candidates[0].name());
    world.offer(1, candidates[1].name());
    run_out(&mut world);
    for round in 0..4 {
        for n in 0..3 {
            world.rounds[n].next_round();
            world.offer(n, candidates[n % 2].name());
            world.deliver_all();
        }
        run_out(&mut world);
        assert!(round < 3 || world.decided().len() == 1, "four rounds of good weather decide");
    }
}

#[test]
fn a_voter_never_signs_twice_in_one_place_even_after_a_restart() {
    let candidates = [candidate(1, 100, &equals()), candidate(2, 100, &equals())];
    let mut world = World::new(&candidates);
    world.offer(0, candidates[0].name());
    let signing = world.rounds[0].signing().clone();
    let mut again = beginning(0, Some(signing));
    candidates.iter().for_each(|frontier| {
        assert!(again.introduce(frontier.clone()));
        again.accept(frontier.name());
    });
    assert_eq!(again.offer(candidates[1].name()), None);
    again.next_round();
    assert!(again.offer(candidates[1].name()).is_some(), "it was not locked");
}

#[test]
fn a_voter_can_say_again_what_it_signed_before_a_restart() {
    let candidates = [candidate(1, 100, &equals()), candidate(2, 100, &equals())];
    let name = candidates[0].name();
    let mut world = World::new(&candidates);
    world.offer(0, name);
    (1..3).for_each(|n| {
        world.deliver_all();
        world.act(n);
    });
    world.deliver_all();
    world.act(0);
    let signed: Vec<(u32, Ballot, Hash)> = world.rounds[0].signed().collect();
    assert_eq!(signed, [(0, Ballot::Prevote, name), (0, Ballot::Precommit, name)]);
    let again = beginning(0, Some(world.rounds[0].signing().clone()));
    assert_eq!(again.signed().collect::<Vec<_>>(), signed);
}

#[test]
fn a_round_is_split_when_nobody_who_is_silent_can_save_it() {
    let candidates = [candidate(1, 100, &equals()), candidate(2, 100, &equals())];
    let mut world = World::new(&candidates);
    let mut hear = |n: usize, which: usize| {
        let vote = vote(n, 0, Ballot::Prevote, candidates[which].name());
        world.rounds[0].hear(vote);
        world.rounds[0].is_split(|_| true)
    };
    assert!(!hear(1, 0), "three of four may still say the same");
    assert!(!hear(2, 0));
    assert!(!hear(3, 1), "and here they would");
    assert!(hear(0, 1), "two and two");
    world.rounds[0].next_round();
    assert!(!world.rounds[0].is_split(|_| true));
}

#[test]
fn votes_of_strangers_and_second_votes_are_refused() {
    let frontier = candidate(1, 100, &equals());
    let mut world = World::new(std::slice::from_ref(&frontier));
    let stranger = vote(9, 0, Ballot::Prevote, frontier.name());
    assert_eq!(world.rounds[0].hear(stranger), Heard::Refused);
    let by_one = |name| vote(1, 0, Ballot::Prevote, name);
    assert_eq!(world.rounds[0].hear(by_one(frontier.name())), Heard::New);
    assert_eq!(world.rounds[0].hear(by_one(frontier.name())), Heard::Known);
    assert_eq!(world.rounds[0].hear(by_one(Hash([5; 32]))), Heard::Refused);
    assert!(!Vote { round: 1, ..by_one(frontier.name()) }.is_signed(RUN));
}

#[test]
fn when_half_the_voters_are_gone_those_who_work_on_decide_after_four_epochs() {
    let (genesis, rules) = (Frontier::genesis(&rules()), rules());
    let two = [id(0), id(1)];
    let decides = |clock, weights: &[(usize, u64)], by: &[PeerId]| {
        genesis.decides(&rules, &candidate(1, clock, weights), by.iter())
    };
    assert!(!decides(399, &[(0, 200), (1, 199)], &two), "too early");
    assert!(decides(400, &[(0, 200), (1, 200)], &two));
    assert!(!decides(400, &[(0, 100), (1, 300)], &two[..1]), "a quarter of the old and of the new work");
    assert!(!decides(400, &[(1, 400)], &[id(1)]), "one of four old voters, though it did all the work");
    assert!(decides(800, &[(1, 800)], &[id(1)]));
    assert!(!decides(800, &[(7, 400), (1, 400)], &[id(7)]), "half of the work");
}

const PATIENT: Patience = Patience { undecided: true, committed: true };

#[test]
fn what_only_work_stands_behind_counts_when_it_was_checked_and_after_long() {
    let claimed = candidate(1, 800, &[(8, 800)]);
    let mut rounds = beginning(0, None);
    assert!(rounds.introduce(claimed.clone()));
    assert_eq!(rounds.hear(vote(8, 0, Ballot::Precommit, claimed.name())), Heard::New);
    rounds.set_clock(800, PATIENT);
    assert!(rounds.certificate().is_none(), "anybody can claim to have done all the work");
    rounds.accept(claimed.name());
    rounds.set_clock(800, Patience::default());
    assert!(rounds.certificate().is_none(), "too soon");
    rounds.set_clock(800, PATIENT);
    let certificate = rounds.certificate().unwrap();
    let (rules, genesis) = (rules(), Frontier::genesis(&rules()));
    assert_eq!(certificate.check(RUN, &rules, &genesis), Ok(()));
    assert!(!certificate.is_backed(&rules, &genesis), "nobody who must believe it can");
}

#[test]
fn a_lock_fades_when_much_was_done_since_and_after_long() {
    let (locked, later) = (candidate(1, 100, &equals()), candidate(2, 500, &equals()));
    let world = World::new(&[locked.clone(), later.clone()]);
    let mut rounds = world.rounds[0].clone();
    for n in 1..VOTERS {
        rounds.hear(vote(n, 0, Ballot::Prevote, locked.name()));
    }
    assert_eq!(rounds.vote(), Some((Ballot::Prevote, locked.name())));
    rounds.hear(vote(0, 0, Ballot::Prevote, locked.name()));
    assert_eq!(rounds.vote(), Some((Ballot::Precommit, locked.name())));
    rounds.next_round();
    for (clock, patience) in [(499, PATIENT), (500, Patience::default())] {
        let mut bound = rounds.clone();
        bound.set_clock(clock, patience);
        assert_eq!(bound.vote(), Some((Ballot::Prevote, locked.name())), "what it committed to, again");
    }
    rounds.set_clock(500, PATIENT);
    assert_eq!(rounds.vote(), None);
    assert_eq!(rounds.offer(later.name()), Some((Ballot::Prevote, later.name())));
}

#[test]
fn who_comes_late_learns_the_round_from_those_who_did_the_work() {
    let next = candidate(1, 400, &[(7, 200), (8, 200)]);
    let mut rounds = beginning(0, None);
    assert!(rounds.introduce(next.clone()));
    rounds.hear(vote(7, 5, Ballot::Prevote, next.name()));
    assert!(!rounds.follow(), "that these are voters was not checked");
    rounds.accept(next.name());
    assert!(rounds.follow());
    assert_eq!(rounds.round(), 5);
    let told = rounds.telling();
    assert!(told.iter().any(|vote| vote.round == 5), "and tells others, however far the round: {told:?}");
}

#[test]
fn of_two_certificates_the_one_that_more_old_voters_signed_stands() {
    let genesis = Frontier::genesis(&rules());
    let certify = |n: u8, by: &[usize]| {
        let frontier = candidate(n, 900, &equals());
        let name = frontier.name();
        let mut signed: Vec<_> = by
            .iter()
            .map(|v| vote(*v, 0, Ballot::Precommit, name))
            .map(|vote| murmur_collectives::Signed { voter: vote.voter, signature: vote.signature })
            .collect();
        signed.sort_unstable_by_key(|signed| signed.voter);
        Certificate { frontier, round: 0, signed }
    };
    let (three, one) = (certify(1, &[0, 1, 2]), certify(2, &[3]));
    assert!(three.is_stronger(&one, &genesis) && !one.is_stronger(&three, &genesis));
    let (a, b) = (certify(1, &[0, 1]), certify(2, &[2, 3]));
    assert!(a.is_stronger(&b, &genesis) != b.is_stronger(&a, &genesis), "equals are told apart");
}
