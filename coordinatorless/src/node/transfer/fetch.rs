//! One blob that is being fetched: its sources, the requests under way, and the chunks that came.

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Hash, PeerId};
use murmur_kernels::{BLOB_CHUNK, chunk_hashes, root_of, state_chunk_hashes};

use super::{
    contents::{Contents, Wanted},
    fetched::{self, Fetched},
};
use crate::{Time, message::Request};

/// Chunks named in one request, at most.
pub(super) const BATCH: usize = 16;

/// A request under way.
#[derive(Debug)]
struct OpenRequest {
    /// The chunks that it names; none if it asks for the chunk list.
    indices: BTreeSet<u32>,
    deadline: Time,
}

/// A blob that is being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    wanted: Wanted,
    /// Peers that may serve the blob.
    sources: BTreeSet<PeerId>,
    /// Hashes of the chunks, once a list came that hashes to the root.
    list: Option<Vec<[u8; 32]>>,
    /// From the list on.
    contents: Option<Contents>,
    /// Chunks still to come.
    missing: BTreeSet<u32>,
    /// At most one request for each source.
    requests: BTreeMap<PeerId, OpenRequest>,
}

impl Fetch {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            sources: BTreeSet::new(),
            list: None,
            contents: None,
            missing: BTreeSet::new(),
            requests: BTreeMap::new(),
        }
    }

    /// Whether a state is fetched.
    pub(super) fn is_of_a_state(&self) -> bool {
        matches!(self.wanted, Wanted::State(_))
    }

    /// Whether `before` is an earlier part of what is fetched.
    pub(super) fn continues(&self, before: &Fetched) -> bool {
        self.wanted == Wanted::State(before.state.len() as u64)
    }

    /// Adds a source. False if it was one.
    pub(super) fn add_source(&mut self, source: PeerId) -> bool {
        self.sources.insert(source)
    }

    /// `source` is not asked again for this blob, and what it was asked for is free for another.
    pub(super) fn drop_source(&mut self, source: &PeerId) {
        self.sources.remove(source);
        self.requests.remove(source);
    }

    /// Drops the sources that did not answer by their deadline. False if all did.
    pub(super) fn drop_late_sources(&mut self, now: Time) -> bool {
        let late: Vec<PeerId> = self.requests.iter().filter(|(_, r)| r.deadline <= now).map(|(p, _)| *p).collect();
        late.iter().for_each(|source| self.drop_source(source));
        !late.is_empty()
    }

    pub(super) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Sources that are asked for nothing now.
    pub(super) fn idle_sources(&self) -> Vec<PeerId> {
        self.sources.iter().filter(|source| !self.requests.contains_key(source)).copied().collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.requests.values().map(|request| request.deadline).min()
    }

    /// The next request to `source`: for the chunk list, or for chunks that no other source is asked for. `overdue_at` is its
    /// deadline.
    pub(super) fn request(
        &mut self,
        root: Hash,
        source: PeerId,
        overdue_at: impl FnOnce(&Request) -> Time,
    ) -> Option<Request> {
        let asked: BTreeSet<u32> = self.requests.values().flat_map(|asked| asked.indices.iter().copied()).collect();
        let indices: Vec<u32> = self.missing.iter().copied().filter(|i| !asked.contains(i)).take(BATCH).collect();
        let message = match &self.list {
            None => Request::ChunkList { root },
            Some(_) if indices.is_empty() => return None,
            Some(_) => Request::Chunks { root, indices: indices.clone() },
        };
        let request = OpenRequest { indices: indices.into_iter().collect(), deadline: overdue_at(&message) };
        self.requests.insert(source, request);
        Some(message)
    }

    /// Whether `source` was asked for the chunk list, which has not come from another yet. Ends that request.
    pub(super) fn expects_list(&mut self, source: &PeerId) -> bool {
        self.list.is_none() && self.requests.remove(source).is_some()
    }

    /// Whether this is the chunk list of a blob of `length` bytes with this root, and such a blob is wanted.
    pub(super) fn is_right(&self, root: &Hash, length: u64, list: &[[u8; 32]]) -> bool {
        let fits = self.wanted.fits(length) && length.div_ceil(BLOB_CHUNK as u64) == list.len() as u64;
        fits && root_of(length, list) == root.0
    }

    /// Takes the chunk list: from now on each chunk has a place. The right chunks of `before` stay where they are; without
    /// it, `room` makes the contents.
    pub(super) fn begin(
        &mut self,
        list: Vec<[u8; 32]>,
        before: Option<Fetched>,
        room: impl FnOnce(Wanted) -> Contents,
    ) {
        self.missing = (0..u32::try_from(list.len()).unwrap_or(0)).collect();
        if let Some(Fetched { state, chunks, .. }) = &before {
            let right = |index: &u32| {
                let hash = list.get(*index as usize);
                hash.is_some_and(|hash| state_chunk_hashes(fetched::chunk(state, *index)) == [*hash])
            };
            self.missing.retain(|index| !(chunks.contains(index) && right(index)));
        }
        self.contents = Some(before.map_or_else(|| room(self.wanted), |before| Contents::State(before.state)));
        self.list = Some(list);
    }

    /// Whether `source` was asked for this chunk and has not sent it yet.
    pub(super) fn expects_chunk(&mut self, source: &PeerId, index: u32) -> bool {
        self.requests.get_mut(source).is_some_and(|request| request.indices.remove(&index))
    }

    /// Places a chunk of `source` that hashes to its place in the list. False if it does not.
    pub(super) fn place(&mut self, source: &PeerId, index: u32, bytes: &[u8]) -> bool {
        let hash = self.list.as_ref().and_then(|list| list.get(index as usize));
        let right = hash.is_some_and(|hash| chunk_hashes(bytes) == [*hash]);
        let placed = right && self.contents.as_mut().is_some_and(|contents| contents.place(index, bytes));
        if placed {
            self.missing.remove(&index);
            if self.requests.get(source).is_some_and(|request| request.indices.is_empty()) {
                self.requests.remove(source);
            }
        }
        placed
    }

    pub(super) fn is_complete(&self) -> bool {
        self.list.is_some() && self.missing.is_empty()
    }

    pub(super) fn into_contents(self) -> Option<Contents> {
        self.contents
    }

    /// Bytes held, of the contents and the list.
    pub(super) fn held_bytes(&self) -> usize {
        let list = self.list.as_ref().map_or(0, |list| list.len() * 32);
        list + self.contents.as_ref().map_or(0, Contents::held_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROOT: Hash = Hash([9; 32]);

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn blob(chunks: usize) -> Vec<u8> {
        (0..chunks * BLOB_CHUNK - 7).map(|n| (n / 3) as u8).collect()
    }

    fn begun(blob: &[u8], sources: u8) -> Fetch {
        let length = blob.len() as u64;
        let mut fetch = Fetch::new(Wanted::Bytes(length));
        (0..sources).for_each(|n| assert!(fetch.add_source(peer(n))));
        fetch.begin(chunk_hashes(blob), None, |wanted| wanted.room(length, || panic!("no state is wanted")));
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
        let mut ask = |n: u8, at| indices(fetch.request(ROOT, peer(n), |_| Time(at)));
        assert_eq!(ask(0, 10), (0..BATCH as u32).collect::<Vec<_>>());
        assert_eq!(ask(1, 20), [16, 17, 18]);
        assert_eq!(ask(2, 30), [0; 0]);
        assert!(!fetch.drop_late_sources(Time(9)) && fetch.drop_late_sources(Time(10)));
        assert_eq!((fetch.idle_sources(), fetch.next_deadline()), (vec![peer(2)], Some(Time(20))));
        assert_eq!(indices(fetch.request(ROOT, peer(2), |_| Time(30))).len(), BATCH);
    }

    #[test]
    fn a_chunk_counts_in_its_own_place_only_and_a_source_is_idle_after_its_last() {
        let blob = blob(2);
        let mut fetch = begun(&blob, 1);
        assert_eq!(indices(fetch.request(ROOT, peer(0), |_| Time(10))), [0, 1]);
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
        fetch.begin(state_chunk_hashes(&state), Some(before), |_| panic!("the room is there"));
        assert_eq!(indices(fetch.request(ROOT, peer(0), |_| Time(1))), [1, 2]);
    }

    #[test]
    fn a_list_of_another_length_or_root_is_wrong() {
        let blob = blob(2);
        let (list, length) = (chunk_hashes(&blob), blob.len() as u64);
        let root = Hash(root_of(length, &list));
        let fetch = Fetch::new(Wanted::Bytes(length));
        assert!(fetch.is_right(&root, length, &list));
        assert!(!fetch.is_right(&ROOT, length, &list) && !fetch.is_right(&root, length - 1, &list));
        assert!(
            !fetch.is_right(&root, length, &list[..1]) && !Fetch::new(Wanted::Bytes(9)).is_right(&root, length, &list)
        );
    }
}
