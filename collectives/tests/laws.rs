//! Laws of the fold: what holds for every set of entries, in every order.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Hash, Insertion, VersionVector};
use murmur_kernels::state_root;
use proptest::prelude::*;
use support::{Said, Swarm, history, offer, offer_until_quiet, reference::Reference, shuffled, within};

/// Three founders and a newcomer live through `steps`.
fn lived(steps: &[support::Step]) -> Swarm {
    let mut swarm = Swarm::new(3, 4);
    steps.iter().for_each(|step| swarm.step(*step));
    swarm
}

fn everything(swarm: &Swarm) -> VersionVector {
    let mut view = VersionVector::default();
    swarm.said.iter().for_each(|said| view.raise(said.entry.author(), said.entry.seq() + 1));
    view
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_order_gives_the_same_bits(steps in history(4), seeds in any::<[u64; 3]>()) {
        let mut swarm = lived(&steps);
        swarm.share_all();
        let held = swarm.fold(0);
        prop_assert_eq!(held.log().version(), &everything(&swarm));
        for seed in seeds {
            let mut other = swarm.fresh();
            offer_until_quiet(&mut other, &shuffled(&swarm.said, seed));
            prop_assert_eq!(other.log().version(), held.log().version());
            prop_assert_eq!(other.state_root(), held.state_root());
            prop_assert_eq!((other.audits(), other.evicted()), (held.audits(), held.evicted()));
        }
    }

    #[test]
    fn saying_it_twice_changes_nothing(steps in history(4), seed in any::<u64>()) {
        let swarm = lived(&steps);
        let mut fold = swarm.fresh();
        offer_until_quiet(&mut fold, &swarm.said);
        let (version, root) = (fold.log().version().clone(), fold.state_root());
        for said in shuffled(&swarm.said, seed) {
            prop_assert!(matches!(offer(&mut fold, &said), Insertion::Known));
        }
        prop_assert_eq!((fold.log().version(), fold.state_root()), (&version, root));
    }

    #[test]
    fn the_state_is_the_sum_that_the_definition_says(steps in history(4)) {
        let mut swarm = lived(&steps);
        swarm.share_all();
        let (held, reference) = (swarm.fold(0), Reference { rules: &swarm.rules, said: &swarm.said });
        prop_assert_eq!(held.state(), reference.state(held, held.log().version()));
    }

    #[test]
    fn a_past_state_is_what_a_fold_of_that_past_holds(steps in history(4)) {
        let mut swarm = Swarm::new(3, 4);
        let mut pasts: Vec<(VersionVector, Hash)> = Vec::new();
        for step in steps {
            swarm.step(step);
            pasts.extend(swarm.peers.iter().map(|peer| (peer.fold.log().version().clone(), peer.fold.state_root())));
        }
        pasts.dedup();
        swarm.share_all();
        for (view, root) in pasts {
            let rebuilt = swarm.fold(0).state_at(&view).unwrap();
            prop_assert_eq!(Hash(state_root(&rebuilt)), root);
            let mut fresh = swarm.fresh();
            offer_until_quiet(&mut fresh, &within(&swarm.said, &view));
            prop_assert_eq!((fresh.log().version(), fresh.state_root()), (&view, root));
        }
    }

    #[test]
    fn what_waits_changes_nothing_and_names_what_it_needs(steps in history(4), seed in any::<u64>()) {
        let swarm = lived(&steps);
        let mut fold = swarm.fresh();
        for said in shuffled(&swarm.said, seed) {
            let (version, root) = (fold.log().version().clone(), fold.state_root());
            if let Insertion::Waits { needs, .. } = offer(&mut fold, &said) {
                prop_assert!(!version.includes(&needs), "it waits for an entry that is there");
                prop_assert_eq!((fold.log().version(), fold.state_root()), (&version, root));
            }
        }
    }
}

/// Four founders, three rounds; then peers 0 and 1 find the second update of peer 3 false.
fn convicted() -> (Swarm, Vec<Said>) {
    let mut swarm = Swarm::new(4, 4);
    swarm.share_all();
    let rounds: Vec<Vec<Said>> = (0..3).map(|_| swarm.round(0..4)).collect();
    let about = rounds[1][3].entry.clone();
    let verdicts = vec![swarm.verdict(0, &about, false), swarm.verdict(1, &about, false)];
    (swarm, verdicts)
}

#[test]
fn a_quorum_takes_an_authors_updates_out_from_that_position_on() {
    let (swarm, verdicts) = convicted();
    let cheat = swarm.id(3);
    let mut fold = swarm.peers[2].fold.clone();
    let mut without = support::genesis();
    for said in swarm.said.iter().filter(|said| said.entry.update().is_some()) {
        let (author, seq) = (said.entry.author(), said.entry.seq());
        let weight = fold.log().record(&author, seq).unwrap().weight;
        assert!(weight.q16() > 0, "every founder's update counts at first");
        if author != cheat || seq < verdicts[0].entry.verdict().unwrap().seq {
            support::reference::add(said.payload.as_ref().unwrap(), weight, &mut without);
        }
    }
    let before = fold.state_root();
    assert!(matches!(offer(&mut fold, &verdicts[0]), Insertion::Applied { voided: None }), "one is no quorum");
    assert_eq!(fold.state_root(), before);
    assert!(matches!(offer(&mut fold, &verdicts[1]), Insertion::Applied { voided: Some(author) } if author == cheat));
    assert_eq!(fold.state(), without);
    assert_eq!((fold.evicted(), fold.audits()), (vec![cheat], (0, 2)));
}

#[test]
fn a_convicted_author_counts_no_more() {
    let (mut swarm, _) = convicted();
    swarm.share_all();
    let root = swarm.fold(0).state_root();
    let late = swarm.update(3, 1e-3);
    swarm.share_all();
    assert_eq!(swarm.weight(&late), 0);
    assert_eq!(swarm.fold(0).state_root(), root);
}

#[test]
fn verdicts_of_the_untrusted_do_not_count() {
    let mut swarm = Swarm::new(1, 4);
    swarm.share_all();
    let update = swarm.update(0, 1e-3);
    swarm.share_all();
    for newcomer in 1..4 {
        swarm.verdict(newcomer, &update.entry, false);
    }
    let root = swarm.fold(0).state_root();
    swarm.share_all();
    assert_eq!((swarm.fold(0).state_root(), swarm.fold(0).evicted()), (root, Vec::new()));
    assert_eq!(swarm.fold(0).audits(), (0, 0));
}

#[test]
fn a_view_that_is_not_held_cannot_be_rebuilt() {
    let (swarm, _) = convicted();
    let mut view = swarm.fold(2).log().version().clone();
    view.raise(swarm.id(0), view.count(&swarm.id(0)) + 1);
    assert_eq!(swarm.fold(2).state_at(&view), Err(murmur_collectives::RebuildError::NotHeld));
}
