//! Merges: what an update says it merged, and the states that a replay of it needs.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Admission, BadMerges, Body, Component, Entry, Invalid, Merge, Update, VersionVector};
use proptest::prelude::*;
use support::Swarm;

/// Three peers that have worked for two rounds.
fn swarm() -> Swarm {
    let mut swarm = Swarm::new(3, 3);
    swarm.share_all();
    (0..2).for_each(|_| drop(swarm.round(0..3)));
    swarm
}

/// The set of each moment of a swarm that works in turn.
fn moments(swarm: &mut Swarm, turns: &[usize]) -> Vec<VersionVector> {
    let mut views = vec![swarm.fold(0).log().version().clone()];
    for turn in turns {
        swarm.update(turn % 3, 1e-3);
        swarm.share_all();
        views.push(swarm.fold(0).log().version().clone());
    }
    views
}

/// An update of peer 2 that started from the first of `views` and merged the others after one step more each.
fn update(swarm: &Swarm, views: &[VersionVector]) -> Update {
    let views: Vec<(u32, VersionVector)> = (0u32..).zip(views.iter().cloned()).collect();
    let (update, _) = swarm.draft(2, 1e-3);
    Update { merges: Update::merges_of(&views), ..update }
}

proptest! {
    #[test]
    fn the_sets_of_a_segment_come_back_from_its_merges(turns in prop::collection::vec(0usize..3, 0..6)) {
        let mut swarm = swarm();
        let views = moments(&mut swarm, &turns);
        let update = Update { steps: 10, ..update(&swarm, &views) };
        let back = update.views(views.last().unwrap()).unwrap();
        prop_assert_eq!(back, (0u32..).zip(views).collect::<Vec<_>>());
    }

    #[test]
    fn a_state_moved_on_is_the_state_rebuilt(turns in prop::collection::vec(0usize..3, 1..6)) {
        let mut swarm = swarm();
        let views = moments(&mut swarm, &turns);
        let fold = swarm.fold(0);
        let mut rebuilt = fold.rebuilt(&views[0]).unwrap();
        for view in &views {
            fold.advance(&mut rebuilt, view).unwrap();
            prop_assert_eq!(rebuilt.parameters(), fold.parameters_at(view).unwrap());
        }
        // Back is a way, too.
        fold.advance(&mut rebuilt, &views[0]).unwrap();
        prop_assert_eq!(rebuilt.parameters(), fold.parameters_at(&views[0]).unwrap());
    }
}

#[test]
fn merges_that_no_segment_made_are_refused() {
    let swarm = swarm();
    let base = swarm.fold(0).log().version().clone();
    let (author, other) = (swarm.id(0), swarm.id(1));
    let of = |author, count| Component { author, count };
    let merge = |after_steps, before: &[Component]| Merge { after_steps, before: before.to_vec() };
    let mut sorted = [of(author, 1), of(other, 1)];
    sorted.sort_unstable_by_key(|component| component.author);
    let [low, high] = sorted;
    let refused = [
        ("before the first step", vec![merge(0, &[of(author, 1)])]),
        ("after the last step", vec![merge(5, &[of(author, 1)])]),
        ("of nothing", vec![merge(1, &[])]),
        ("that lost entries", vec![merge(1, &[of(author, base.count(&author) + 1)])]),
        ("that changed nothing", vec![merge(1, &[of(author, base.count(&author))])]),
        ("two after one step", vec![merge(2, &[of(author, 1)]), merge(2, &[of(author, 2)])]),
        ("out of order", vec![merge(3, &[of(author, 1)]), merge(2, &[of(author, 2)])]),
        ("authors out of order", vec![merge(1, &[high, low])]),
    ];
    for (what, merges) in refused {
        let tokens = 5 * u64::from(swarm.rules.tokens_per_step);
        let update = Update { steps: 5, tokens, merges, ..swarm.draft(2, 1e-3).0 };
        assert_eq!(update.views(&base), Err(BadMerges), "{what}");
        let mut header = swarm.header(2, Body::Update(update));
        header.base = base.to_components();
        let entry = Entry::sign(&swarm.peers[2].identity, header);
        let admission = swarm.fold(0).admit(&entry);
        assert_eq!(admission, Admission::Invalid(Invalid::Base), "{what}");
    }
}
