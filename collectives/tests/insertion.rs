//! What each answer of `Fold::insert` changes: `Applied` adds the entry, and only two others change anything at all. The
//! answers that change nothing are tested in `admission.rs`, with every reason for them.
#![allow(clippy::unwrap_used)]

mod support;

use murmur_collectives::{Body, Entry, Equivocation, Fold, Hash, Header, Insertion, PeerId, Update, VersionVector};
use support::{Said, Swarm, next_header, offer};

/// Everything that an insertion may change.
fn contents(fold: &Fold) -> (VersionVector, Hash, Vec<PeerId>, Vec<Hash>) {
    let excluded = fold.log().all_excluded().map(|entry| entry.hash()).collect();
    (fold.log().version().clone(), fold.state_root(), fold.evicted(), excluded)
}

/// Three founders that hold the same updates.
fn trained() -> Swarm {
    let mut swarm = Swarm::new(3, 3);
    swarm.share_all();
    (0..2).for_each(|_| drop(swarm.round(0..3)));
    swarm
}

/// Two updates by peer 2 for one position.
fn fork(swarm: &Swarm) -> [Said; 2] {
    let (update, payload) = swarm.draft(2, 1e-3);
    [1, 2].map(|loss| {
        let body = Body::Update(Update { loss_micronats: loss, ..update.clone() });
        let entry = Entry::sign(&swarm.peers[2].identity, swarm.header(2, body));
        Said { entry, payload: Some(payload.clone()) }
    })
}

#[test]
fn evidence_of_a_fork_closes_the_chain_while_its_own_entry_waits() {
    let mut swarm = trained();
    let [one, two] = fork(&swarm);
    let agreed = contents(swarm.fold(0));
    assert!(matches!(offer(&mut swarm.peers[0].fold, &one), Insertion::Applied { voided: None }));
    assert!(matches!(offer(&mut swarm.peers[1].fold, &two), Insertion::Applied { voided: None }));
    assert_ne!(contents(swarm.fold(0)).1, agreed.1, "the update moved the state");
    swarm.update(1, 1e-3);
    let evidence = Body::Equivocation(Equivocation::of(&one.entry, &two.entry));
    let header = next_header(swarm.fold(1), swarm.id(1), evidence);
    let proof = Said { entry: Entry::sign(&swarm.peers[1].identity, header), payload: None };

    let fold = &mut swarm.peers[0].fold;
    let insertion = offer(fold, &proof);
    let forger = two.entry.author();
    assert!(matches!(insertion, Insertion::Waits { closed: Some(closed), .. } if closed == forger), "{insertion:?}");
    let (version, root, evicted, excluded) = contents(fold);
    assert_eq!((&version, root, excluded), (&agreed.0, agreed.1, agreed.3), "the set of before the fork");
    assert_eq!(evicted, [forger]);
    assert!(matches!(offer(fold, &proof), Insertion::Waits { closed: None, .. }), "the fork is known");
    assert_eq!(contents(fold).0, version);
}

#[test]
fn an_excluded_entry_is_kept_as_the_position_after_which_its_author_continues() {
    let mut swarm = Swarm::with_frontiers(4, 2000);
    swarm.epoch(0..4);
    let late = swarm.update(3, 1e-3);
    (0..2).for_each(|_| swarm.epoch(0..3));

    let fold = &mut swarm.peers[0].fold;
    let (version, root, evicted, excluded) = contents(fold);
    assert!(excluded.is_empty());
    assert!(matches!(offer(fold, &late), Insertion::Excluded));
    assert_eq!(contents(fold), (version, root, evicted, vec![late.entry.hash()]));
    let next = fold.log().next_position(&late.entry.author());
    assert_eq!((next.seq, next.previous), (late.entry.seq() + 1, late.entry.hash()));
}

#[test]
fn an_entry_of_an_epoch_that_is_not_final_here_changes_nothing() {
    let mut swarm = Swarm::with_frontiers(3, 2000);
    let (update, payload) = swarm.draft(2, 1e-3);
    let header = swarm.header(2, Body::Update(update));
    let epoch = header.epoch + 1;
    let entry = Entry::sign(&swarm.peers[2].identity, Header { epoch, frontier: Hash([3; 32]), ..header });
    let before = contents(swarm.fold(0));
    let insertion = swarm.peers[0].fold.insert(entry, Some(payload));
    assert!(matches!(insertion, Insertion::Early { epoch: named } if named == epoch), "{insertion:?}");
    assert_eq!(contents(swarm.fold(0)), before);
}
