//! Forks: whichever branch was held, and whenever the evidence came, all end with the same set and state.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Body, Entry, Equivocation, Fold, Hash, Header, Insertion, Update};
use proptest::prelude::*;
use support::{Said, Swarm, next_header, offer, offer_until_quiet, shuffled};

/// The forger.
const FORGER: usize = 3;

/// Peer 3 told half of the swarm one thing and half another, and both halves went on.
struct Forked {
    swarm: Swarm,
    /// What both halves hold.
    common: Vec<Said>,
    /// What is only said on one branch: the forger's part of it first.
    branches: [Vec<Said>; 2],
    /// What an honest peer of each half says when it sees the other's branch.
    evidence: [Said; 2],
}

impl Forked {
    /// Forks after `rounds` common rounds; each branch goes on for `lengths` of the forger's entries.
    fn new(rounds: usize, lengths: [usize; 2], judged: bool) -> Self {
        let mut swarm = Swarm::new(4, 4);
        swarm.share_all();
        (0..rounds).for_each(|_| drop(swarm.round(0..4)));
        let common = swarm.said.clone();
        let mut worlds = [0, 1].map(|half| Self::branch(swarm.clone(), half, lengths[half], judged));
        let branches = [0, 1].map(|half| worlds[half].said[common.len()..].to_vec());
        let twins = [0, 1].map(|half| branches[half][0].entry.clone());
        let evidence = [0, 1].map(|half| Self::accuse(&mut worlds[half], half, &twins));
        Self { swarm, common, branches, evidence }
    }

    /// Peer `half` follows the forger on this branch, and says something of its own in between.
    fn branch(mut swarm: Swarm, half: usize, length: usize, judged: bool) -> Swarm {
        for at in 0..length {
            let (mut update, payload) = swarm.draft(FORGER, 1e-3 * (half + 1) as f32);
            update.trace = Hash([half as u8; 32]);
            let said = swarm.say(FORGER, Body::Update(update), Some(payload));
            swarm.share(FORGER, half);
            if judged && at == 0 {
                swarm.verdict(half, &said.entry, half == 0);
            }
            swarm.update(half, 1e-3);
        }
        swarm
    }

    fn accuse(world: &mut Swarm, half: usize, twins: &[Entry; 2]) -> Said {
        let evidence = Equivocation::of(&twins[0], &twins[1]);
        world.say(half, Body::Equivocation(evidence), None)
    }

    /// Everything that exists.
    fn all(&self) -> Vec<Said> {
        [&self.common[..], &self.branches[0], &self.branches[1], &self.evidence].concat()
    }

    /// A fold that held one branch before it heard of the other.
    fn held(&self, half: usize) -> Fold {
        let mut fold = self.swarm.fresh();
        offer_until_quiet(&mut fold, &[&self.common[..], &self.branches[half]].concat());
        fold
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whichever_branch_was_held_the_end_is_the_same(
        rounds in 0usize..3,
        lengths in (1usize..4, 1usize..4),
        judged in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let forked = Forked::new(rounds, [lengths.0, lengths.1], judged);
        let all = shuffled(&forked.all(), seed);
        let forger = forked.swarm.id(FORGER);
        let mut ends = Vec::new();
        for mut fold in [forked.held(0), forked.held(1), forked.swarm.fresh()] {
            offer_until_quiet(&mut fold, &all);
            prop_assert_eq!(fold.log().version().count(&forger), 1 + rounds as u32, "the common part stays");
            prop_assert_eq!(fold.evicted(), vec![forger]);
            ends.push((fold.log().version().clone(), fold.state_root(), fold.audits()));
        }
        prop_assert_eq!(&ends[0], &ends[1]);
        prop_assert_eq!(&ends[0], &ends[2]);
        for half in 0..2 {
            let said = forked.branches[half].len() - lengths_of(lengths, half);
            let count = ends[0].0.count(&forked.swarm.id(half));
            prop_assert_eq!(count as usize, 1 + rounds + said + 1, "what honest peer {} said stays", half);
        }
    }
}

fn lengths_of(lengths: (usize, usize), half: usize) -> usize {
    [lengths.0, lengths.1][half]
}

#[test]
fn after_a_fork_the_state_is_as_if_the_branch_had_never_been() {
    let forked = Forked::new(2, [2, 1], false);
    let mut fold = forked.held(0);
    let evidence = &forked.evidence[0];
    let forger = forked.swarm.id(FORGER);
    assert!(matches!(offer(&mut fold, evidence), Insertion::Applied { voided: Some(author) } if author == forger));
    let mut state = support::genesis();
    for record in fold.log().records().filter(|record| record.entry.update().is_some()) {
        support::reference::add(record.payload.as_ref().unwrap(), record.weight, &mut state);
    }
    assert_eq!(fold.state(), state);
    for said in &forked.branches[0][..1] {
        assert!(matches!(offer(&mut fold, said), Insertion::Known), "its chain is closed");
    }
}

#[test]
fn an_earlier_fork_closes_the_chain_earlier() {
    let mut swarm = Swarm::new(4, 4);
    swarm.share_all();
    (0..3).for_each(|_| drop(swarm.round(0..4)));
    let twin = |seq: u32| {
        let held = swarm.fold(0).log().record(&swarm.id(FORGER), seq).unwrap().entry.clone();
        let body = Body::Update(Update { loss_micronats: 7, ..held.update().unwrap().clone() });
        let other = Entry::sign(&swarm.peers[FORGER].identity, Header { body, ..held.to_header() });
        Body::Equivocation(Equivocation::of(&held, &other))
    };
    let say = |peer: usize, body| {
        let header = next_header(swarm.fold(0), swarm.id(peer), body);
        Said { entry: Entry::sign(&swarm.peers[peer].identity, header), payload: None }
    };
    let (late, early) = (say(1, twin(3)), say(2, twin(2)));
    let end = |order: [&Said; 2]| {
        let mut fold = swarm.fold(0).clone();
        order.iter().for_each(|said| assert!(matches!(offer(&mut fold, said), Insertion::Applied { .. })));
        (fold.log().version().clone(), fold.state_root())
    };
    assert_eq!(end([&late, &early]), end([&early, &late]));
    assert_eq!(end([&late, &early]).0.count(&swarm.id(FORGER)), 2);
}

/// Takes what `whole` holds, until nothing more fits, as a newcomer does.
fn follow(fold: &mut Fold, whole: &Fold) {
    loop {
        let before = fold.log().version().clone();
        let records = whole.log().records();
        records.for_each(|r| drop(fold.insert(r.entry.as_ref().clone(), r.payload.clone())));
        if *fold.log().version() == before {
            return;
        }
    }
}

#[test]
fn a_newcomer_follows_a_log_that_contains_evidence() {
    let mut swarm = Swarm::new(4, 4);
    swarm.share_all();
    (0..2).for_each(|_| drop(swarm.round(0..4)));
    let twins = [1, 2].map(|trace| {
        let (mut update, _) = swarm.draft(FORGER, 1e-3);
        update.trace = Hash([trace; 32]);
        Entry::sign(&swarm.peers[FORGER].identity, swarm.header(FORGER, Body::Update(update)))
    });
    swarm.say(0, Body::Equivocation(Equivocation::of(&twins[0], &twins[1])), None);
    swarm.share_all();
    let (whole, mut newcomer) = (swarm.fold(0), swarm.fresh());
    follow(&mut newcomer, whole);
    assert_eq!((newcomer.log().version(), newcomer.state_root()), (whole.log().version(), whole.state_root()));
    assert_eq!(newcomer.evicted(), vec![swarm.id(FORGER)]);
}

#[test]
fn a_newcomer_follows_a_log_whose_forked_branches_are_gone() {
    let forked = Forked::new(2, [2, 1], false);
    let mut whole = forked.swarm.fresh();
    offer_until_quiet(&mut whole, &forked.all());
    let mut newcomer = forked.swarm.fresh();
    follow(&mut newcomer, &whole);
    assert_eq!((newcomer.log().version(), newcomer.state_root()), (whole.log().version(), whole.state_root()));
}

#[test]
fn who_had_built_on_a_branch_goes_on_without_it() {
    let forked = Forked::new(2, [2, 1], false);
    let mut swarm = forked.swarm.clone();
    swarm.peers[0].fold = forked.held(0);
    let named = swarm.fold(0).log().last_update(&swarm.id(0)).unwrap().entry.base().count(&swarm.id(FORGER));
    assert!(matches!(offer(&mut swarm.peers[0].fold, &forked.evidence[0]), Insertion::Applied { .. }));
    assert!(swarm.fold(0).log().version().count(&swarm.id(FORGER)) < named, "its next base names less of the forger");
    let next = swarm.update(0, 1e-3);
    let mut other = forked.held(1);
    let all = [forked.all(), vec![next.clone()]].concat();
    offer_until_quiet(&mut other, &all);
    assert!(other.log().version().contains(&swarm.id(0), next.entry.seq()));
}
