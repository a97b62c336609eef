//! Blobs by hash: carries, and what final frontiers stand on; served and fetched in chunks of 32 KiB, each checked by its own hash.
//!
//! A blob's root is the hash of its length and the list of its chunks' hashes. So a list that hashes to the root is
//! the right one, a chunk that hashes to its place in the list is right, and a wrong byte is noticed within its chunk,
//! whoever sent it. Chunks come from several sources at once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use murmur_collectives::{Hash, PeerId, State};
use murmur_kernels::{BLOB_CHUNK, chunk_hashes, root_of, state_chunk_hashes};

use super::{
    Node,
    contents::{Contents, Wanted},
    limits,
};
use crate::{Fetched, Message, Output, Time, fetched};

/// Chunks asked for in one request.
const BATCH: usize = 16;

/// A blob that is being fetched.
#[derive(Debug)]
struct Fetch {
    wanted: Wanted,
    sources: BTreeSet<PeerId>,
    list: Option<Vec<[u8; 32]>>,
    contents: Option<Contents>,
    missing: BTreeSet<u32>,
    asked: BTreeMap<PeerId, Asked>,
}

impl Fetch {
    /// The list came: from now on chunks have a place. Of `before` what is right stays where it is.
    fn begin(&mut self, list: Vec<[u8; 32]>, before: Option<Fetched>, room: impl FnOnce(Wanted) -> Contents) {
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

    /// Takes a chunk that hashes to its place in the list; false if it does not.
    fn place(&mut self, index: u32, bytes: &[u8]) -> bool {
        let hash = self.list.as_ref().and_then(|list| list.get(index as usize));
        let right = hash.is_some_and(|hash| chunk_hashes(bytes) == [*hash]);
        let placed = right && self.contents.as_mut().is_some_and(|contents| contents.place(index, bytes));
        if placed {
            self.missing.remove(&index);
        }
        placed
    }
}

#[derive(Debug)]
struct Asked {
    indices: BTreeSet<u32>,
    deadline: Time,
}

/// Blobs held and blobs wanted.
#[derive(Default, Debug)]
pub(super) struct Blobs {
    carries: VecDeque<(Hash, Arc<[u8]>)>,
    fetches: BTreeMap<Hash, Fetch>,
    /// Chunks that were fetched before a restart.
    fetched: Option<Fetched>,
    complete: BTreeMap<Hash, Contents>,
}

impl Blobs {
    /// Keeps an own carry, the newest `most` of them, and returns its root.
    pub(super) fn keep_carry(&mut self, bytes: Arc<[u8]>, most: usize) -> Hash {
        let root = Hash(murmur_kernels::blob_root(&bytes));
        self.carries.push_back((root, bytes));
        while self.carries.len() > most.max(1) {
            self.carries.pop_front();
        }
        root
    }

    /// Chunks that were fetched before a restart are used if the same blob is fetched again.
    pub(super) fn keep_fetched(&mut self, fetched: Option<Fetched>) {
        self.fetched = fetched;
    }

    pub(super) fn carry(&self, root: &Hash) -> Option<Arc<[u8]>> {
        self.carries.iter().find(|(kept, _)| kept == root).map(|(_, bytes)| bytes.clone())
    }

    /// Bytes of carries and of blobs under way.
    pub(super) fn held_bytes(&self) -> usize {
        let carries: usize = self.carries.iter().map(|(_, bytes)| bytes.len()).sum();
        let lists = self.fetches.values().map(|fetch| fetch.list.as_ref().map_or(0, |list| list.len() * 32));
        let under_way = self.fetches.values().filter_map(|fetch| fetch.contents.as_ref());
        let fetched = under_way.chain(self.complete.values()).map(Contents::held_bytes);
        let before = self.fetched.as_ref().map_or(0, |fetched| size_of_val(&*fetched.state));
        carries + before + lists.chain(fetched).sum::<usize>()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.fetches.values().flat_map(|fetch| fetch.asked.values()).map(|asked| asked.deadline).min()
    }

    /// Takes a finished blob.
    pub(super) fn take(&mut self, root: &Hash) -> Option<Vec<u8>> {
        match self.complete.remove(root)? {
            Contents::Bytes(bytes) => Some(bytes),
            Contents::State(_) => None,
        }
    }

    /// Takes a finished state.
    pub(super) fn take_state(&mut self, root: &Hash) -> Option<State> {
        match self.complete.remove(root)? {
            Contents::State(state) => Some(state),
            Contents::Bytes(_) => None,
        }
    }

    /// Lets go of every state but the one that is fetched from now on: one at a time is held.
    pub(super) fn keep_only_state(&mut self, root: Hash) {
        self.fetched.take_if(|fetched| fetched.root != root);
        self.fetches.retain(|other, fetch| *other == root || !matches!(fetch.wanted, Wanted::State(_)));
        self.complete.retain(|other, contents| *other == root || !matches!(contents, Contents::State(_)));
    }

    /// Stops fetching a blob.
    pub(super) fn cancel(&mut self, root: &Hash) {
        self.fetches.remove(root);
        self.complete.remove(root);
    }

    /// Whether a blob is being fetched and still has a source.
    pub(super) fn has_hope(&self, root: &Hash) -> bool {
        self.complete.contains_key(root) || self.fetches.get(root).is_some_and(|fetch| !fetch.sources.is_empty())
    }
}

impl Node {
    /// A carry or a foundation.
    fn plain(&self, root: &Hash) -> Option<Arc<[u8]>> {
        self.finals.foundation(root).or_else(|| self.blobs.carry(root))
    }

    fn length_and_list(&self, root: &Hash) -> Option<(u64, Vec<[u8; 32]>)> {
        if let Some(list) = self.finals.state_list(root) {
            return Some((self.set.fold.rules().parameters * 8, list));
        }
        let plain = self.plain(root)?;
        Some((plain.len() as u64, chunk_hashes(&plain)))
    }

    fn chunk(&mut self, root: &Hash, index: u32) -> Option<Vec<u8>> {
        let Some(plain) = self.plain(root) else { return self.state_chunk(root, index) };
        let start = (index as usize).checked_mul(BLOB_CHUNK)?;
        let end = plain.len().min(start.saturating_add(BLOB_CHUNK));
        plain.get(start..end).filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec)
    }

    /// Starts fetching a blob, or adds a source for it.
    pub(super) fn fetch(&mut self, root: Hash, wanted: Wanted, source: PeerId) {
        let empty = || Fetch {
            wanted,
            sources: BTreeSet::new(),
            list: None,
            contents: None,
            missing: BTreeSet::new(),
            asked: BTreeMap::new(),
        };
        let fetch = self.blobs.fetches.entry(root).or_insert_with(empty);
        if fetch.sources.insert(source) {
            self.ask(root, source);
        }
    }

    /// Asks a source for the chunk list, or for chunks nobody else was asked for.
    fn ask(&mut self, root: Hash, source: PeerId) {
        let Some(fetch) = self.blobs.fetches.get(&root) else { return };
        let asked: BTreeSet<u32> = fetch.asked.values().flat_map(|asked| asked.indices.iter().copied()).collect();
        let indices: Vec<u32> = fetch.missing.iter().copied().filter(|i| !asked.contains(i)).take(BATCH).collect();
        let message = match &fetch.list {
            None => Message::WantChunkList { root },
            Some(_) if indices.is_empty() => return,
            Some(_) => Message::WantChunks { root, indices: indices.clone() },
        };
        let deadline = limits::overdue_at(&self.core, self.set.fold.rules(), &message);
        if let Some(fetch) = self.blobs.fetches.get_mut(&root) {
            fetch.asked.insert(source, Asked { indices: indices.into_iter().collect(), deadline });
        }
        self.send(source, &message);
    }

    pub(super) fn on_want_chunk_list(&mut self, from: PeerId, root: Hash) {
        let message = match self.length_and_list(&root) {
            Some((length, list)) => Message::ChunkList { root, length, hashes: list.into_iter().map(Hash).collect() },
            None => Message::Absent { root },
        };
        self.send(from, &message);
    }

    pub(super) fn on_want_chunks(&mut self, from: PeerId, root: Hash, indices: &[u32]) {
        for index in indices.iter().take(BATCH) {
            match self.chunk(&root, *index) {
                Some(bytes) => self.send(from, &Message::Chunk { root, index: *index, bytes }),
                None => return self.send(from, &Message::Absent { root }),
            }
        }
    }

    pub(super) fn on_absent(&mut self, from: PeerId, root: Hash) {
        if let Some(fetch) = self.blobs.fetches.get_mut(&root) {
            fetch.sources.remove(&from);
            fetch.asked.remove(&from);
        }
        self.fetch_progress(root);
    }

    pub(super) fn on_chunk_list(&mut self, from: PeerId, root: Hash, length: u64, hashes: Vec<Hash>) {
        let Some(fetch) = self.blobs.fetches.get_mut(&root) else { return };
        if fetch.list.is_some() || fetch.asked.remove(&from).is_none() {
            return;
        }
        let list: Vec<[u8; 32]> = hashes.into_iter().map(|hash| hash.0).collect();
        let fits = fetch.wanted.fits(length) && length.div_ceil(BLOB_CHUNK as u64) == list.len() as u64;
        if !fits || root_of(length, &list) != root.0 {
            fetch.sources.remove(&from);
            self.strike(from, "chunk list does not hash to its root".to_owned());
            return self.fetch_progress(root);
        }
        let before = self.blobs.fetched.take_if(|fetched| fetched.root == root);
        let before = before.filter(|fetched| fetch.wanted == Wanted::State(fetched.state.len() as u64));
        fetch.begin(list, before, |wanted| wanted.room(length, || self.set.fold.blank_state()));
        self.fetch_progress(root);
    }

    pub(super) fn on_chunk(&mut self, from: PeerId, root: Hash, index: u32, bytes: &[u8]) {
        let Some(fetch) = self.blobs.fetches.get_mut(&root) else { return };
        let expected = fetch.asked.get_mut(&from).is_some_and(|asked| asked.indices.remove(&index));
        if !expected {
            return;
        }
        if !fetch.place(index, bytes) {
            fetch.sources.remove(&from);
            fetch.asked.remove(&from);
            self.strike(from, "chunk does not match its hash".to_owned());
            return self.fetch_progress(root);
        }
        if fetch.asked.get(&from).is_some_and(|asked| asked.indices.is_empty()) {
            fetch.asked.remove(&from);
        }
        if self.is_staged_state(&root) {
            self.core.outputs.push_back(Output::KeepChunk { root, index, bytes: bytes.to_vec() });
        }
        self.on_fetch_progress(root);
        self.fetch_progress(root);
    }

    /// Gives idle sources work, or finishes.
    fn fetch_progress(&mut self, root: Hash) {
        let Some(fetch) = self.blobs.fetches.get_mut(&root) else { return };
        if fetch.list.is_some() && fetch.missing.is_empty() {
            let contents = fetch.contents.take();
            self.blobs.fetches.remove(&root);
            self.blobs.complete.extend(contents.map(|contents| (root, contents)));
            return self.on_blob_complete(root);
        }
        let idle: Vec<PeerId> = fetch.sources.iter().filter(|s| !fetch.asked.contains_key(s)).copied().collect();
        for source in idle {
            self.ask(root, source);
        }
        if !self.blobs.has_hope(&root) {
            self.blobs.cancel(&root);
            self.on_blob_lost(root);
        }
    }

    /// Sources that did not answer in time are not asked again for this blob.
    pub(super) fn fetches_due(&mut self) {
        let now = self.core.now;
        let mut touched = Vec::new();
        for (root, fetch) in &mut self.blobs.fetches {
            let late: Vec<PeerId> = fetch.asked.iter().filter(|(_, a)| a.deadline <= now).map(|(p, _)| *p).collect();
            for peer in &late {
                fetch.asked.remove(peer);
                fetch.sources.remove(peer);
            }
            if !late.is_empty() {
                touched.push(*root);
            }
        }
        touched.into_iter().for_each(|root| self.fetch_progress(root));
    }

    pub(super) fn forget_source(&mut self, peer: PeerId) {
        let roots: Vec<Hash> = self.blobs.fetches.keys().copied().collect();
        for root in roots {
            self.on_absent(peer, root);
        }
    }
}
