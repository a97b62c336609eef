//! What is stored is read again, and no crash or damage leaves something that reads as whole and is not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use murmur_collectives::WireEntry;
use murmur_coordinatorless::Fetched;

use super::*;

const PARAMETERS: usize = 3;

fn record(n: u8) -> StoredEntry {
    let entry = WireEntry { header: vec![n; 40], signature: [n; 64] };
    StoredEntry { entry, payload: Some(Arc::from(vec![n; 9])) }
}

fn open(dir: &Path) -> (Store, Stored) {
    open_sized(dir, PARAMETERS)
}

fn open_sized(dir: &Path, parameters: usize) -> (Store, Stored) {
    Store::open(dir, PeerId([0; 32]), &StateStorage::new(parameters, 1, dir), &Reporter).unwrap()
}

/// Parameters of a state of eight chunks.
const OF_CHUNKS: usize = 8 * murmur_kernels::CHUNK;

/// The beginning of a chunk: two integers.
fn chunk(n: i64) -> Vec<u8> {
    [n.to_le_bytes(), (-n).to_le_bytes()].concat()
}

/// What a start finds of a state of eight chunks: its root, and of each chunk that is there the first two integers.
fn fetched(dir: &Path) -> Option<(Hash, BTreeMap<u32, [i64; 2]>)> {
    let Fetched { root, state, chunks } = open_sized(dir, OF_CHUNKS).1.fetched?;
    let first = |index: u32| {
        let at = index as usize * murmur_kernels::CHUNK;
        (index, [state[at], state[at + 1]])
    };
    Some((root, chunks.into_iter().map(first).collect()))
}

#[test]
fn what_is_appended_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, empty) = open(dir.path());
    assert!(empty.entries.is_empty());
    (0..3).for_each(|n| store.append(&record(n), false).unwrap());
    let (_, stored) = open(dir.path());
    assert_eq!(stored.entries.len(), 3);
    assert_eq!(stored.entries[2].entry, record(2).entry);
}

#[test]
fn a_damaged_record_is_set_aside_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    (0..3).for_each(|n| store.append(&record(n), false).unwrap());
    let path = dir.path().join(log_name(0));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (_, stored) = open(dir.path());
    assert_eq!(stored.entries.len(), 2);
    assert!(dir.path().join("log.damaged-0").exists());
    assert_eq!(open(dir.path()).1.entries.len(), 2, "the rewritten log is whole");
}

#[test]
fn a_torn_end_costs_only_the_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    (0..3).for_each(|n| store.append(&record(n), false).unwrap());
    let path = dir.path().join(log_name(0));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    assert_eq!(open(dir.path()).1.entries.len(), 2);
}

#[test]
fn chunks_of_a_state_are_kept_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_sized(dir.path(), OF_CHUNKS);
    assert_eq!(fetched(dir.path()), None);
    let (one, other) = (Hash([1; 32]), Hash([2; 32]));
    store.keep_chunk(other, 7, &chunk(70)).unwrap();
    store.keep_chunk(one, 3, &chunk(30)).unwrap();
    let (mut store, _) = open_sized(dir.path(), OF_CHUNKS);
    store.keep_chunk(one, 0, &chunk(5)).unwrap();
    let there = |chunks: &[(u32, i64)]| Some((one, chunks.iter().map(|(index, n)| (*index, [*n, -n])).collect()));
    assert_eq!(fetched(dir.path()), there(&[(0, 5), (3, 30)]));
    let path = dir.path().join("fetch.bin");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 2]).unwrap();
    assert_eq!(fetched(dir.path()), there(&[(3, 30)]), "a torn end costs the last chunk");
    let (mut store, _) = open_sized(dir.path(), OF_CHUNKS);
    store.keep_chunk(one, 0, &chunk(6)).unwrap();
    assert_eq!(fetched(dir.path()), there(&[(0, 6), (3, 30)]), "what came after the torn end was cut off is read, too");
    store.keep_chunk(one, 8, &chunk(1)).unwrap();
    assert_eq!(fetched(dir.path()), there(&[(0, 6), (3, 30)]), "a chunk beyond the state has no place");
    fs::write(&path, &bytes[1..]).unwrap();
    assert_eq!(fetched(dir.path()), None, "rubbish is nothing");
    store.compact(&compacted(1, &[])).unwrap();
    assert!(!path.exists());
}

#[test]
fn wherever_a_fetch_is_torn_or_garbled_what_comes_after_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = Hash([1; 32]);
    let (mut store, _) = open_sized(dir.path(), OF_CHUNKS);
    (0..3).for_each(|index| store.keep_chunk(root, index, &chunk(index.into())).unwrap());
    let path = dir.path().join("fetch.bin");
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut garbled = bytes.clone();
        garbled[at] ^= 255;
        for spoilt in [&bytes[..at], &garbled] {
            fs::write(&path, spoilt).unwrap();
            let kept = fetched(dir.path()).map(|(_, chunks)| chunks).unwrap_or_default();
            let (mut store, _) = open_sized(dir.path(), OF_CHUNKS);
            store.keep_chunk(root, 7, &chunk(7)).unwrap();
            let right = |(index, [n, _]): (&u32, &[i64; 2])| i64::from(*index) == *n;
            assert!(kept.iter().all(right), "spoilt at {at}: a chunk is bent");
            let mut expected = kept.clone();
            expected.insert(7, [7, -7]);
            assert_eq!(fetched(dir.path()).map(|(_, chunks)| chunks), Some(expected), "spoilt at {at}");
        }
    }
}

#[test]
fn a_damaged_carry_is_no_carry() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let mut carries = store.carries();
    carries.save(b"zero").unwrap();
    carries.save(b"one").unwrap();
    assert_eq!(open(dir.path()).1.carries.len(), 2);
    fs::write(dir.path().join(CARRIES[0]), b"rubbish").unwrap();
    assert_eq!(open(dir.path()).1.carries, vec![Arc::from(&b"one"[..])]);
}

fn compacted(epoch: u32, records: &[u8]) -> Compacted {
    let records = records.iter().map(|n| record(*n)).collect();
    let state = vec![i64::from(epoch), -2, 3].into();
    Compacted { epoch, proof: vec![epoch as u8; 7], state, records }
}

/// What a start finds: the epoch of the final frontier and of its proof, first bytes of the records' headers.
fn found(dir: &Path) -> (Option<(u8, i64)>, Vec<u8>) {
    let (_, stored) = open(dir);
    let settled = stored.compacted.map(|(proof, state)| (proof[0], state[0]));
    (settled, stored.entries.iter().map(|record| record.entry.header[0]).collect())
}

#[test]
fn a_final_frontier_stands_for_the_log_before_it_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    (0..3).for_each(|n| store.append(&record(n), false).unwrap());
    store.compact(&compacted(1, &[2])).unwrap();
    store.append(&record(7), false).unwrap();
    assert_eq!(found(dir.path()), (Some((1, 1)), vec![2, 7]));
    let (mut store, _) = open(dir.path());
    store.append(&record(8), false).unwrap();
    store.compact(&compacted(2, &[7, 8])).unwrap();
    store.compact(&compacted(2, &[8])).unwrap();
    store.append(&record(9), false).unwrap();
    assert_eq!(found(dir.path()), (Some((2, 2)), vec![8, 9]));
    assert_eq!(final_file::logs(dir.path()).len(), 1, "old logs are gone");
}

#[test]
fn a_crash_at_any_step_of_compacting_leaves_the_old_or_the_new() {
    for earlier in [false, true] {
        let before = |dir: &Path| {
            let (mut store, _) = open(dir);
            if earlier {
                store.compact(&compacted(1, &[1, 2])).unwrap();
            } else {
                (1..3).for_each(|n| store.append(&record(n), false).unwrap());
            }
            store
        };
        let (old, new) = ((earlier.then_some((1, 1)), vec![1, 2]), (Some((5, 5)), vec![2, 3]));
        let next = compacted(5, &[2, 3]);

        let dir = tempfile::tempdir().unwrap();
        let store = before(dir.path());
        store.begin_log(&next).unwrap();
        let path = dir.path().join(log_name(store.generation + 1));
        let bytes = fs::read(&path).unwrap();
        for written in [0, bytes.len() / 2, bytes.len()] {
            fs::write(&path, &bytes[..written]).unwrap();
            assert_eq!(found(dir.path()), old, "the new log is not named yet");
            assert!(!path.exists());
        }

        let dir = tempfile::tempdir().unwrap();
        let store = before(dir.path());
        store.begin_log(&next).unwrap();
        fs::write(dir.path().join(FINAL).with_extension("new"), b"half of it").unwrap();
        assert_eq!(found(dir.path()), old, "the new frontier has not its name yet");

        let dir = tempfile::tempdir().unwrap();
        let store = before(dir.path());
        store.begin_log(&next).unwrap();
        store.settle(&next).unwrap();
        assert!(dir.path().join(log_name(store.generation)).exists());
        assert_eq!(found(dir.path()), new, "nothing of the old was removed yet");
        assert_eq!(final_file::logs(dir.path()), [log_name(store.generation + 1)]);

        let dir = tempfile::tempdir().unwrap();
        let store = before(dir.path());
        store.begin_log(&next).unwrap();
        store.settle(&next).unwrap();
        fs::remove_file(dir.path().join(log_name(store.generation))).unwrap();
        assert_eq!(found(dir.path()), new, "one of the old was removed");
        assert_eq!(found(dir.path()), new, "and again");
    }
}

#[test]
fn a_crash_at_any_step_of_a_reset_leaves_nothing_that_reads_as_whole_and_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.compact(&compacted(1, &[1, 2])).unwrap();
    fs::rename(dir.path().join(FINAL), dir.path().join("final.damaged-0")).unwrap();
    assert_eq!(found(dir.path()), (None, vec![]), "records after a frontier mean nothing without it");
}

#[test]
fn a_reset_keeps_votes_and_the_own_newest_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.append(&record(1), true).unwrap();
    store.compact(&compacted(1, &[1])).unwrap();
    store.signing(b"first").unwrap();
    store.signing(b"second").unwrap();
    store.reset().unwrap();
    store.append(&record(4), false).unwrap();
    assert_eq!(found(dir.path()), (None, vec![4]));
    assert_eq!(open(dir.path()).1.signing.as_deref(), Some(&b"second"[..]));
    assert!(dir.path().join(HEAD).exists() && dir.path().join("final.damaged-0").exists());
}

#[test]
fn a_final_frontier_with_a_spoilt_byte_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.compact(&compacted(1, &[1])).unwrap();
    let path = dir.path().join(FINAL);
    let bytes = fs::read(&path).unwrap();
    let log = fs::read(dir.path().join(log_name(1))).unwrap();
    for at in (0..bytes.len()).step_by(9) {
        let mut bent = bytes.clone();
        bent[at] ^= 0x10;
        fs::write(&path, &bent).unwrap();
        fs::write(dir.path().join(log_name(1)), &log).unwrap();
        assert_eq!(found(dir.path()).0, None);
        fs::remove_file(dir.path().join("final.damaged-0")).unwrap();
        fs::write(&path, &bytes[..at]).unwrap();
        fs::write(dir.path().join(log_name(1)), &log).unwrap();
        assert_eq!(found(dir.path()).0, None, "torn at {at}");
        fs::remove_file(dir.path().join("final.damaged-0")).unwrap();
    }
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(dir.path()).0, Some((1, 1)));
}

#[test]
fn a_frontier_of_another_model_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.compact(&compacted(1, &[1])).unwrap();
    assert!(open_sized(dir.path(), PARAMETERS + 1).1.compacted.is_none());
}

#[test]
fn a_frontier_of_no_use_is_set_aside_also_where_there_is_no_room_for_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.compact(&compacted(1, &[1])).unwrap();
    let none = StateStorage::new(PARAMETERS + 1, 0, &dir.path().join("not there"));
    let (_, stored) = Store::open(dir.path(), PeerId([0; 32]), &none, &Reporter).unwrap();
    assert!(stored.compacted.is_none() && dir.path().join("final.damaged-0").exists());
}

#[test]
fn a_state_in_files_is_stored_and_found_like_one_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let storage = StateStorage::new(OF_CHUNKS, 0, dir.path());
    let open = || Store::open(dir.path(), PeerId([0; 32]), &storage, &Reporter).unwrap();
    let (mut store, _) = open();
    let mut state = storage.zeros().unwrap();
    state.iter_mut().zip(0..).for_each(|(value, n)| *value = n * 3 - 50);
    store.compact(&Compacted { state: state.clone(), ..compacted(1, &[1]) }).unwrap();
    store.keep_chunk(Hash([4; 32]), 2, &chunk(9)).unwrap();
    let (_, stored) = open();
    assert!(stored.compacted.is_some_and(|(_, found)| found == state));
    assert!(stored.fetched.is_some_and(|fetched| fetched.state[2 * murmur_kernels::CHUNK] == 9));
}

#[test]
fn damaged_votes_are_an_error_because_a_peer_must_not_vote_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.signing(b"signed").unwrap();
    let path = dir.path().join(VOTE);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let failure =
        Store::open(dir.path(), PeerId([0; 32]), &StateStorage::new(PARAMETERS, 1, dir.path()), &Reporter).unwrap_err();
    assert_eq!(failure.exit(), Exit::Checkpoint);
    assert!(failure.sentence().contains("vote.bin"), "{}", failure.sentence());
}

#[test]
fn names_are_read_from_the_log_in_use_and_from_one_that_was_left() {
    use murmur_collectives::{Body, Enroll, Header, Identity};
    let identity = Identity::from_secret(&[4; 32]);
    let entry = |seq| {
        let body = Body::Enroll(Enroll { vrf_key: [0; 32] });
        let header = Header {
            run: Hash::NONE,
            author: identity.peer_id(),
            seq,
            previous: Hash::NONE,
            epoch: 0,
            frontier: Hash::NONE,
            base: Vec::new(),
            body,
        };
        StoredEntry { entry: Entry::sign(&identity, header).to_wire(), payload: None }
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let first = Compacted { records: vec![entry(0)], ..compacted(1, &[]) };
    store.compact(&first).unwrap();
    store.append(&entry(1), true).unwrap();
    store.begin_log(&first).unwrap();
    let seqs: Vec<u32> = stored_names(dir.path()).iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(seqs, [0, 1, 0, 1], "the log in use, the other, the newest own record");
}

/// Lets everything written to `name` in the folder fail as on a full disk.
#[cfg(target_os = "linux")]
fn fill(dir: &Path, name: &str) {
    std::os::unix::fs::symlink("/dev/full", dir.join(name)).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_exit_32_whatever_is_stored_and_the_failure_names_the_file() {
    let check = |name: &str, result: Result<(), Failure>| {
        let failure = result.unwrap_err();
        assert_eq!(failure.exit(), Exit::DiskFull, "{name}");
        assert!(failure.sentence().contains(name), "{name} in: {}", failure.sentence());
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let next = log_name(1);
    ["head.new", "vote.new", "final.new", &next].iter().for_each(|name| fill(dir.path(), name));
    check("head.bin", store.append(&record(0), true));
    check("vote.bin", store.signing(b"signed"));
    check(&next, store.compact(&compacted(1, &[1])));
    fs::remove_file(dir.path().join(&next)).unwrap();
    check(FINAL, store.compact(&compacted(1, &[1])));
    store.log = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    check(&log_name(0), store.append(&record(0), false));
}
