//! One blob that is being fetched: its sources, the requests under way, and the chunks that came.

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Hash, PeerId};
use murmur_kernels::{BLOB_CHUNK, chunk_hashes, root_of, state_chunk_hashes};

use super::{
    contents::{Contents, Wanted},
    fetched::{self, Fetched},
};
use crate::{
    Time,
    message::{LIST_PART_MAX, Request},
};

/// Chunks named in one request, at most.
pub(super) const BATCH: usize = 16;

/// Others may be asked for the chunks of a payload when this part of the time for an answer is over.
const HURRY: u32 = 4;

/// A request under way.
#[derive(Debug)]
struct OpenRequest {
    /// The chunks that it names; none if it asks for the chunk list.
    indices: BTreeSet<u32>,
    /// Whether any of them came.
    is_answered: bool,
    /// When others may be asked for the same chunks, if that is still to come.
    hurry_at: Option<Time>,
    /// Whether they may be.
    is_slow: bool,
    deadline: Time,
}

/// A chunk list that is longer than a message and comes in parts, all from one source: only the whole can be checked.
#[derive(Debug)]
struct Assembly {
    source: PeerId,
    length: u64,
    list: Vec<[u8; 32]>,
}

/// What a part of a chunk list comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Listed {
    /// Nobody asked for it, or it has come from another.
    Unasked,
    /// It is not what it should be: the sender's fault.
    Wrong,
    /// It is the list, and that of no such blob as is wanted: no source can have one.
    Impossible,
    /// More is to be asked for.
    Continues,
    /// The list is whole and right.
    Whole,
}

/// A blob that is being fetched.
#[derive(Debug)]
pub(super) struct Fetch {
    wanted: Wanted,
    /// Peers that may serve the blob.
    sources: BTreeSet<PeerId>,
    /// Hashes of the chunks, once a list came that hashes to the root.
    list: Option<Vec<[u8; 32]>>,
    /// The beginning of a list.
    assembly: Option<Assembly>,
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
            assembly: None,
            contents: None,
            missing: BTreeSet::new(),
            requests: BTreeMap::new(),
        }
    }

    /// Whether this is what is fetched.
    pub(super) fn is_for(&self, wanted: Wanted) -> bool {
        self.wanted == wanted
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
        self.assembly.take_if(|assembly| assembly.source == *source);
    }

    /// Drops the sources that did not answer by their deadline, and lets others take over from slow ones. Whether anything
    /// changed, and those of whose answer nothing came.
    pub(super) fn drop_late_sources(&mut self, now: Time) -> (bool, Vec<PeerId>) {
        let late = self.requests.iter().filter(|(_, request)| request.deadline <= now);
        let late: Vec<(PeerId, bool)> = late.map(|(peer, request)| (*peer, request.is_answered)).collect();
        late.iter().for_each(|(source, _)| self.drop_source(source));
        let slow = self.requests.values_mut().filter_map(|request| {
            request.is_slow |= request.hurry_at.take_if(|at| *at <= now).is_some();
            request.is_slow.then_some(())
        });
        let changed = slow.count() > 0 || !late.is_empty();
        (changed, late.into_iter().filter(|(_, is_answered)| !is_answered).map(|(source, _)| source).collect())
    }

    /// Sources of which no chunk has come that they were asked for, and when it is overdue.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (PeerId, Time)> {
        let unanswered = self.requests.iter().filter(|(_, r)| !r.is_answered && !r.indices.is_empty());
        unanswered.map(|(source, request)| (*source, request.deadline))
    }

    /// Whether the payload of an update is fetched.
    pub(super) fn is_of_a_payload(&self) -> bool {
        matches!(self.wanted, Wanted::Payload(_))
    }

    pub(super) fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Sources that are asked for nothing now.
    pub(super) fn idle_sources(&self) -> Vec<PeerId> {
        self.sources.iter().filter(|source| !self.requests.contains_key(source)).copied().collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.requests.values().flat_map(|request| request.hurry_at.into_iter().chain([request.deadline])).min()
    }

    /// The next request to `source`: for the chunk list, or for chunks that no other source is asked for, or only a slow one.
    /// `overdue_at` is its deadline.
    pub(super) fn request(
        &mut self,
        root: Hash,
        source: PeerId,
        now: Time,
        overdue_at: impl FnOnce(&Request) -> Time,
    ) -> Option<Request> {
        let asked: BTreeSet<u32> = self.requests.values().flat_map(|asked| asked.indices.iter().copied()).collect();
        let mut indices: Vec<u32> = self.missing.iter().copied().filter(|i| !asked.contains(i)).take(BATCH).collect();
        if indices.is_empty() && self.is_of_a_payload() {
            indices = self.slow_chunks();
        }
        let message = match &self.list {
            None => match &self.assembly {
                None => Request::ChunkList { root },
                Some(assembly) if assembly.source == source => {
                    Request::ChunkHashes { root, from: u32::try_from(assembly.list.len()).ok()? }
                }
                Some(_) => return None,
            },
            Some(_) if indices.is_empty() => return None,
            Some(_) => Request::Chunks { root, indices: indices.clone() },
        };
        let deadline = overdue_at(&message);
        let hurry_at = self.is_of_a_payload().then(|| now + deadline.since(now) / HURRY);
        let indices = indices.into_iter().collect();
        let request = OpenRequest { indices, is_answered: false, hurry_at, is_slow: false, deadline };
        self.requests.insert(source, request);
        Some(message)
    }

    /// Chunks that one source alone is asked for, and does not send: a silent peer must not hold up what others have.
    fn slow_chunks(&self) -> Vec<u32> {
        let mut asked: BTreeMap<u32, (usize, bool)> = BTreeMap::new();
        for (request, index) in self.requests.values().flat_map(|r| r.indices.iter().map(move |index| (r, index))) {
            let (count, is_slow) = asked.entry(*index).or_default();
            (*count, *is_slow) = (*count + 1, *is_slow || request.is_slow);
        }
        let slow = asked.into_iter().filter(|(index, asked)| *asked == (1, true) && self.missing.contains(index));
        slow.map(|(index, _)| index).take(BATCH).collect()
    }

    /// Takes the chunk list of a blob of `length` bytes, or the first part of a long one.
    pub(super) fn take_list(&mut self, root: &Hash, source: PeerId, length: u64, list: Vec<[u8; 32]>) -> Listed {
        if self.list.is_some() && self.is_of_a_payload() {
            // The list of another was faster: this source is free for chunks.
            let listed = self.requests.extract_if(.., |asked, r| *asked == source && r.indices.is_empty()).count();
            return if listed > 0 { Listed::Continues } else { Listed::Unasked };
        }
        if self.list.is_some() || self.requests.remove(&source).is_none() {
            return Listed::Unasked;
        }
        if let Some(assembly) = &self.assembly {
            return if assembly.source == source { Listed::Wrong } else { Listed::Unasked };
        }
        let count = length.div_ceil(BLOB_CHUNK as u64);
        if list.len() as u64 != count.min(LIST_PART_MAX as u64) {
            return Listed::Wrong;
        }
        if list.len() as u64 == count {
            return self.judge(root, length, list);
        }
        // Of what is longer than one message, the length is believed only as far as it is wanted.
        if !self.wanted.fits(length) {
            return Listed::Wrong;
        }
        self.assembly = Some(Assembly { source, length, list });
        Listed::Continues
    }

    /// Takes another part of a long chunk list, which begins with hash number `from`.
    pub(super) fn take_hashes(&mut self, root: &Hash, source: PeerId, from: u32, hashes: &[[u8; 32]]) -> Listed {
        let Some(assembly) = self.assembly.as_mut().filter(|assembly| assembly.source == source) else {
            return Listed::Unasked;
        };
        if self.requests.remove(&source).is_none() {
            return Listed::Unasked;
        }
        let (count, held) = (assembly.length.div_ceil(BLOB_CHUNK as u64), assembly.list.len() as u64);
        if u64::from(from) != held || hashes.len() as u64 != (count - held).min(LIST_PART_MAX as u64) {
            return Listed::Wrong;
        }
        assembly.list.extend_from_slice(hashes);
        if (assembly.list.len() as u64) < count {
            return Listed::Continues;
        }
        self.assembly.take().map_or(Listed::Unasked, |Assembly { length, list, .. }| self.judge(root, length, list))
    }

    /// The length of a blob whose chunk list comes in parts.
    pub(super) fn length_said(&self) -> Option<u64> {
        self.assembly.as_ref().map(|assembly| assembly.length)
    }

    /// Keeps the chunk list if it is the one of this root and of such a blob as is wanted.
    fn judge(&mut self, root: &Hash, length: u64, list: Vec<[u8; 32]>) -> Listed {
        if root_of(length, &list) != root.0 {
            return Listed::Wrong;
        }
        if !self.wanted.fits(length) {
            return Listed::Impossible;
        }
        self.list = Some(list);
        Listed::Whole
    }

    /// The chunk list is there: from now on each chunk has a place. The right chunks of `before` stay where they are; without
    /// it, `room` makes the contents of a length in bytes.
    pub(super) fn begin(&mut self, length: u64, before: Option<Fetched>, room: impl FnOnce(Wanted, u64) -> Contents) {
        let list = self.list.as_deref().unwrap_or(&[]);
        self.missing = (0..u32::try_from(list.len()).unwrap_or(0)).collect();
        if let Some(Fetched { state, chunks, .. }) = &before {
            let right = |index: &u32| {
                let hash = list.get(*index as usize);
                hash.is_some_and(|hash| state_chunk_hashes(fetched::chunk(state, *index)) == [*hash])
            };
            self.missing.retain(|index| !(chunks.contains(index) && right(index)));
        }
        let contents = before.map_or_else(|| room(self.wanted, length), |before| Contents::State(before.state));
        self.contents = Some(contents);
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
            self.requests.get_mut(source).into_iter().for_each(|request| request.is_answered = true);
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
        let list = self.list.as_ref().or(self.assembly.as_ref().map(|assembly| &assembly.list));
        list.map_or(0, |list| list.len() * 32) + self.contents.as_ref().map_or(0, Contents::held_bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
