//! Long payloads in replication alone: the test does the transfer's part.

use core::time::Duration;

use murmur_collectives::{Body, Update};

use super::super::testing::{Bench, id};
use super::*;
use crate::{
    Item,
    node::{
        context::Raised,
        set::Set,
        support::{Said, Swarm},
    },
};

/// A swarm of two, and a peer beside it that holds their first entries and takes every payload for long.
fn world(neighbours: &[u8]) -> (Swarm, Bench) {
    let (swarm, mut bench) = (Swarm::new(2, 2), Bench::new(neighbours));
    bench.set = Set::new(swarm.fresh());
    (bench.core.config.payload_in_message_max, bench.core.rules) = (0, Arc::new(swarm.rules.clone()));
    for said in &swarm.said {
        receive(&mut bench, neighbours[0], said);
    }
    (swarm, bench)
}

/// `from` sends an entry without its payload.
fn receive(bench: &mut Bench, from: u8, said: &Said) {
    let item = Item { entry: said.entry.to_wire(), payload: None };
    bench.act(|machine, cx| machine.on_entries(cx, id(from), vec![item]));
}

fn holds(bench: &Bench, said: &Said) -> bool {
    bench.set.fold.log().version().contains(&said.entry.author(), said.entry.seq())
}

/// The sources that the next pull names for each payload, and the payloads that it gives up.
fn pulled(bench: &mut Bench) -> (Vec<(Hash, PeerId)>, Vec<Hash>) {
    bench.once(Replication::pull);
    let (mut fetched, mut forgotten) = (Vec::new(), Vec::new());
    for raised in bench.raised() {
        match raised {
            Raised::Replication(Event::FetchPayload { root, source, .. }) => fetched.push((root, source)),
            Raised::Replication(Event::ForgetPayload { root, .. }) => forgotten.push(root),
            other => panic!("{other:?}"),
        }
    }
    bench.sent();
    (fetched, forgotten)
}

fn root(said: &Said) -> Hash {
    said.entry.update().unwrap().payload
}

fn arrive(bench: &mut Bench, said: &Said, payload: &Arc<[u8]>) {
    bench.act(|machine, cx| machine.on_payload(cx, root(said), payload));
}

#[test]
fn an_update_waits_for_its_payload_which_is_fetched_from_all_that_hold_it() {
    let (mut swarm, mut bench) = world(&[1, 2, 3]);
    let (first, second) = (swarm.update(0, 1e-3), swarm.update(0, 1e-3));
    receive(&mut bench, 1, &second);
    assert_eq!(pulled(&mut bench).0, [], "its chain is not there, so not a byte of it is asked for");
    receive(&mut bench, 1, &first);
    assert!(!holds(&bench, &first));
    assert_eq!(pulled(&mut bench).0, [(root(&first), id(1))]);
    assert_eq!(pulled(&mut bench).0, [], "each source is named once");
    bench.machine.note_held(&id(3), first.entry.author(), first.entry.seq() + 1);
    assert_eq!(pulled(&mut bench).0, [(root(&first), id(3))], "and a new one as soon as it says so");

    arrive(&mut bench, &first, first.payload.as_ref().unwrap());
    assert!(holds(&bench, &first) && !holds(&bench, &second));
    assert_eq!(pulled(&mut bench).0, [(root(&second), id(1))]);
    arrive(&mut bench, &second, second.payload.as_ref().unwrap());
    assert!(holds(&bench, &second));
    assert_eq!((bench.machine.awaited(), bench.machine.long.next_deadline()), ((0, 0), None));
}

#[test]
fn a_payload_that_nobody_serves_is_asked_of_a_new_source_at_once_and_of_the_same_only_later() {
    let (mut swarm, mut bench) = world(&[1, 2]);
    let said = swarm.update(0, 1e-3);
    receive(&mut bench, 1, &said);
    assert_eq!(pulled(&mut bench).0.len(), 1);
    let lose = |bench: &mut Bench| bench.act(|machine, cx| machine.on_payload_lost(cx, root(&said)));
    lose(&mut bench);
    bench.machine.note_held(&id(1), said.entry.author(), said.entry.seq() + 1);
    assert_eq!(pulled(&mut bench).0, []);
    bench.machine.note_held(&id(2), said.entry.author(), said.entry.seq() + 1);
    let mut again = pulled(&mut bench).0;
    again.retain(|(_, source)| *source == id(2));
    assert_eq!(again, [(root(&said), id(2))]);
    lose(&mut bench);
    bench.pass(bench.core.config.request_timeout);
    bench.act(Replication::requests_due);
    assert_eq!(bench.machine.awaited(), (0, 0));
    receive(&mut bench, 1, &said);
    assert_eq!(pulled(&mut bench).0, [(root(&said), id(1))], "the entry was pulled again");
}

#[test]
fn a_fetch_that_takes_too_long_is_given_up() {
    let (mut swarm, mut bench) = world(&[1]);
    let said = swarm.update(0, 1e-3);
    receive(&mut bench, 1, &said);
    assert_eq!(pulled(&mut bench).0.len(), 1);
    let deadline = bench.machine.long.next_deadline().unwrap();
    bench.pass(deadline.since(bench.now()));
    bench.once(Replication::requests_due);
    assert_eq!(pulled(&mut bench), (vec![], vec![root(&said)]));
}

#[test]
fn the_payload_of_another_length_than_was_signed_for_is_not_taken() {
    let (swarm, mut bench) = world(&[1]);
    let (update, payload) = swarm.draft(0, 1e-3);
    let update = Update { payload_bytes: update.payload_bytes + 1, ..update };
    let header = swarm.header(0, Body::Update(update));
    let lie = Said { entry: Entry::sign(&swarm.peers[0].identity, header), payload: None };
    receive(&mut bench, 1, &lie);
    assert_eq!(pulled(&mut bench).0.len(), 1);
    arrive(&mut bench, &lie, &payload);
    assert!(!holds(&bench, &lie) && bench.machine.pending.is_empty());
    assert_eq!(bench.machine.awaited(), (0, 0));
}

#[test]
fn only_so_many_bytes_are_under_way_and_the_earliest_go_first() {
    let mut long = LongPayloads::default();
    let name = |n: u8| (id(n), 0);
    for (n, bytes) in [(9, 70), (1, 20), (5, 30), (2, 1)] {
        long.want(name(n), Hash([n; 32]), bytes);
    }
    let fetched = |long: &LongPayloads| {
        let mut fetched: Vec<u64> =
            long.wanted.values().map(Long::bytes_under_way).filter(|bytes| *bytes > 0).collect();
        fetched.sort_unstable();
        fetched
    };
    long.begin(50, Time(1));
    assert_eq!(fetched(&long), [70], "one always, however long");
    long.wanted.remove(&name(9));
    long.begin(50, Time(1));
    assert_eq!(fetched(&long), [20, 30]);
    long.wanted.remove(&name(1));
    long.begin(50, Time(1));
    assert_eq!(fetched(&long), [1, 30]);
}

#[test]
fn a_payload_that_no_entry_waits_for_any_more_is_not_fetched_to_its_end() {
    let (mut swarm, mut bench) = world(&[1]);
    let said = swarm.update(0, 1e-3);
    receive(&mut bench, 1, &said);
    assert_eq!(pulled(&mut bench).0.len(), 1);
    bench.machine.pending.take(&(said.entry.author(), said.entry.seq()));
    assert_eq!(pulled(&mut bench), (vec![], vec![root(&said)]));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.machine.awaited().1, 0);
}
