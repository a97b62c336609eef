//! One fetch alone: who is asked for what, and what comes of it.

use super::*;

const ROOT: Hash = Hash([9; 32]);

fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn blob(chunks: usize) -> Vec<u8> {
    (0..chunks * BLOB_CHUNK - 7).map(|n| (n / 3) as u8).collect()
}

fn begun(blob: &[u8], sources: u8) -> Fetch {
    begun_for(Wanted::Bytes(blob.len() as u64), blob, sources)
}

fn begun_for(wanted: Wanted, blob: &[u8], sources: u8) -> Fetch {
    let (length, mut fetch) = (blob.len() as u64, Fetch::new(wanted));
    (0..sources).for_each(|n| assert!(fetch.add_source(peer(n))));
    let root = Hash(root_of(length, &chunk_hashes(blob)));
    assert!(fetch.request(root, peer(0), Time(0), |_| Time(1)).is_some());
    assert_eq!(fetch.take_list(&root, peer(0), length, chunk_hashes(blob)), Listed::Whole);
    fetch.begin(length, None, |wanted, length| wanted.room(length, || panic!("no state is wanted")));
    fetch
}

fn indices(message: Option<Request>) -> Vec<u32> {
    match message {
        Some(Request::Chunks { indices, .. }) => indices,
        None => Vec::new(),
        other => panic!("chunks were to be asked for, not {other:?}"),
    }
}

#[test]
fn each_chunk_is_asked_of_one_source_until_that_one_is_dropped() {
    let blob = blob(BATCH + 3);
    let mut fetch = begun(&blob, 3);
    let mut ask = |n: u8, at| indices(fetch.request(ROOT, peer(n), Time(0), |_| Time(at)));
    assert_eq!(ask(0, 10), (0..BATCH as u32).collect::<Vec<_>>());
    assert_eq!(ask(1, 20), [16, 17, 18]);
    assert_eq!(ask(2, 30), [0; 0]);
    assert_eq!(fetch.drop_late_sources(Time(9)), (false, vec![]));
    assert_eq!(fetch.drop_late_sources(Time(10)), (true, vec![peer(0)]));
    assert_eq!((fetch.idle_sources(), fetch.next_deadline()), (vec![peer(2)], Some(Time(20))));
    assert_eq!(indices(fetch.request(ROOT, peer(2), Time(0), |_| Time(30))).len(), BATCH);
}

#[test]
fn chunks_of_a_payload_that_do_not_come_are_asked_of_one_other_source_before_the_deadline() {
    let blob = blob(BATCH + 3);
    let length = blob.len() as u64;
    let mut fetch = begun_for(Wanted::Payload(length), &blob, 3);
    let mut ask = |n: u8, now| indices(fetch.request(ROOT, peer(n), Time(now), |_| Time(now + 100)));
    assert_eq!((ask(0, 0).len(), ask(1, 10).len(), ask(2, 10).len()), (BATCH, 3, 0));
    assert_eq!((fetch.next_deadline(), fetch.drop_late_sources(Time(24)).0), (Some(Time(25)), false));
    assert_eq!((fetch.drop_late_sources(Time(25)), fetch.next_deadline()), ((true, vec![]), Some(Time(35))));
    let mut ask = |n: u8, now| indices(fetch.request(ROOT, peer(n), Time(now), |_| Time(now + 100)));
    assert_eq!((ask(2, 25).len(), ask(3, 25).len()), (BATCH, 0), "two are asked for a chunk at most");
    let first: Vec<&[u8]> = blob.chunks(BLOB_CHUNK).take(BATCH).collect();
    for (index, bytes) in (0..).zip(&first) {
        assert!(fetch.expects_chunk(&peer(2), index) && fetch.place(&peer(2), index, bytes));
    }
    assert!(fetch.expects_chunk(&peer(0), 0) && fetch.place(&peer(0), 0, first[0]), "late is not wrong");
    assert_eq!(fetch.unanswered().map(|(source, _)| source).collect::<Vec<_>>(), [peer(1)]);
}

#[test]
fn all_sources_of_a_payload_are_asked_for_chunks_as_soon_as_they_have_given_the_list() {
    let blob = blob(BATCH + 3);
    let (length, list) = (blob.len() as u64, chunk_hashes(&blob));
    let root = Hash(root_of(length, &list));
    let mut fetch = Fetch::new(Wanted::Payload(length));
    for n in 0..2 {
        assert!(fetch.add_source(peer(n)));
        assert_eq!(fetch.request(root, peer(n), Time(0), |_| Time(100)), Some(Request::ChunkList { root }));
    }
    assert_eq!(fetch.take_list(&root, peer(1), length, list.clone()), Listed::Whole);
    fetch.begin(length, None, |wanted, length| wanted.room(length, || panic!("no state is wanted")));
    assert_eq!(indices(fetch.request(root, peer(1), Time(0), |_| Time(100))).len(), BATCH);
    assert_eq!(fetch.take_list(&root, peer(1), length, list.clone()), Listed::Unasked, "it owes chunks");
    assert_eq!(fetch.take_list(&root, peer(0), length, list), Listed::Continues);
    assert_eq!(indices(fetch.request(root, peer(0), Time(0), |_| Time(100))).len(), 3);
}

#[test]
fn a_chunk_counts_in_its_own_place_only_and_a_source_is_idle_after_its_last() {
    let blob = blob(2);
    let mut fetch = begun(&blob, 1);
    assert_eq!(indices(fetch.request(ROOT, peer(0), Time(0), |_| Time(10))), [0, 1]);
    let chunks: Vec<&[u8]> = blob.chunks(BLOB_CHUNK).collect();
    assert!(!fetch.expects_chunk(&peer(1), 0), "nobody asked that peer");
    assert!(fetch.expects_chunk(&peer(0), 0) && !fetch.expects_chunk(&peer(0), 0));
    assert!(!fetch.place(&peer(0), 0, chunks[1]) && fetch.place(&peer(0), 0, chunks[0]));
    assert!(fetch.idle_sources().is_empty() && !fetch.is_complete());
    assert!(fetch.expects_chunk(&peer(0), 1) && fetch.place(&peer(0), 1, chunks[1]));
    assert!(fetch.idle_sources() == [peer(0)] && fetch.is_complete());
    assert!(matches!(fetch.into_contents(), Some(Contents::Bytes(bytes)) if bytes == blob));
}

#[test]
fn of_what_came_before_a_restart_only_wrong_and_missing_chunks_are_asked_for() {
    let state: Vec<i64> = (0..3 * fetched::CHUNK_INTEGERS as i64).collect();
    let mut before = Fetched { root: ROOT, state: state.clone().into(), chunks: [0, 1].into() };
    before.state[fetched::CHUNK_INTEGERS] += 1;
    let mut fetch = Fetch::new(Wanted::State(state.len() as u64));
    assert!(fetch.continues(&before));
    fetch.list = Some(state_chunk_hashes(&state));
    fetch.begin(state.len() as u64 * 8, Some(before), |_, _| panic!("the room is there"));
    assert_eq!(indices(fetch.request(ROOT, peer(0), Time(0), |_| Time(1))), [1, 2]);
}

/// What comes of a list that the one source was asked for.
fn listed(wanted: Wanted, root: &Hash, length: u64, list: &[[u8; 32]]) -> Listed {
    let mut fetch = Fetch::new(wanted);
    assert!(fetch.add_source(peer(0)) && fetch.request(*root, peer(0), Time(0), |_| Time(1)).is_some());
    fetch.take_list(root, peer(0), length, list.to_vec())
}

#[test]
fn a_list_of_another_length_or_root_is_wrong_and_that_of_another_blob_proves_there_is_none() {
    let blob = blob(2);
    let (list, length) = (chunk_hashes(&blob), blob.len() as u64);
    let root = Hash(root_of(length, &list));
    assert_eq!(listed(Wanted::Bytes(length), &root, length, &list), Listed::Whole);
    for (root, length, list) in [(ROOT, length, &list[..]), (root, length - 1, &list), (root, length, &list[..1])] {
        assert_eq!(listed(Wanted::Bytes(1 << 20), &root, length, list), Listed::Wrong);
    }
    assert_eq!(listed(Wanted::Bytes(9), &root, length, &list), Listed::Impossible);
    assert_eq!(listed(Wanted::Payload(length + 1), &root, length, &list), Listed::Impossible);
    assert_eq!(Fetch::new(Wanted::Bytes(length)).take_list(&root, peer(0), length, list), Listed::Unasked);
}

#[test]
fn a_long_list_comes_in_parts_from_one_source_and_from_another_when_that_one_fails() {
    let list: Vec<[u8; 32]> = (0..LIST_PART_MAX as u32 + 3).map(|n| Hash::of("test", &n.to_le_bytes()).0).collect();
    let length = list.len() as u64 * BLOB_CHUNK as u64 - 5;
    let root = Hash(root_of(length, &list));
    let (first, rest) = list.split_at(LIST_PART_MAX);
    let mut fetch = Fetch::new(Wanted::Bytes(length));
    let ask = |fetch: &mut Fetch, n: u8| fetch.request(root, peer(n), Time(0), |_| Time(1));
    for n in 0..3 {
        assert!(fetch.add_source(peer(n)));
        assert_eq!(ask(&mut fetch, n), Some(Request::ChunkList { root }));
    }
    assert_eq!(fetch.take_list(&root, peer(0), length + BLOB_CHUNK as u64, list.clone()), Listed::Wrong);
    fetch.drop_source(&peer(0));
    assert_eq!(fetch.take_list(&root, peer(1), length, first.to_vec()), Listed::Continues);
    assert_eq!(fetch.take_list(&root, peer(2), length, first.to_vec()), Listed::Unasked, "one list at a time");
    assert_eq!((ask(&mut fetch, 2), fetch.held_bytes()), (None, LIST_PART_MAX * 32));
    let more = Request::ChunkHashes { root, from: LIST_PART_MAX as u32 };
    assert_eq!(ask(&mut fetch, 1), Some(more.clone()));
    assert_eq!(fetch.take_hashes(&root, peer(1), 0, rest), Listed::Wrong);
    fetch.drop_source(&peer(1));
    assert_eq!((fetch.held_bytes(), ask(&mut fetch, 2)), (0, Some(Request::ChunkList { root })));
    assert_eq!(fetch.take_list(&root, peer(2), length, first.to_vec()), Listed::Continues);
    assert_eq!(ask(&mut fetch, 2), Some(more));
    assert_eq!(fetch.take_hashes(&root, peer(2), LIST_PART_MAX as u32, rest), Listed::Whole);
    assert_eq!(fetch.list.as_deref(), Some(&list[..]));
}
