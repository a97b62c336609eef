//! Transfer: blobs by hash, served and fetched in chunks of 32 KiB. Carries of audits, foundations and states of final
//! frontiers, and payloads that are longer than a message travel this way.
//!
//! A blob's root is the hash of its length and the list of its chunks' hashes. So a list that hashes to the root is the right
//! one, and a chunk that hashes to its place in the list is right, whichever peer sent it: a wrong byte is noticed within its
//! chunk and costs its sender, not the fetch. Chunks come from several sources at once. A list that is longer than a message
//! comes in parts from one source.
//!
//! Contract:
//! - [`Transfer::fetch`] names a blob and one peer that may serve it, once for each such peer. It ends with
//!   [`Event::Complete`], after which [`Transfer::take`] or [`Transfer::take_state`] gives the contents, once; or with
//!   [`Event::Lost`], after which the blob is forgotten and may be fetched again.
//! - Each chunk that is placed is raised as [`Event::Chunk`], before anything that follows from it.
//! - On [`Event::Continue`] the node calls [`Transfer::advance`]. The machine raises it where others act first: a strike may
//!   end the connection of the very peer that would be asked next.
//! - [`Transfer::drop_source`] is called when the requests to a peer are void; [`Transfer::handle_timeout`] is due at
//!   [`Transfer::next_deadline`].
//! - A source that lacks the blob, lies, or does not answer by its deadline is not asked again in the same fetch. One that
//!   again and again sends nothing of payloads that it said it holds is struck for it.

mod contents;
mod fetch;
mod fetched;
mod payloads;
mod serve;

use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Hash, PeerId, State};

pub use self::fetched::Fetched;
use self::{
    contents::Contents,
    fetch::{BATCH, Fetch, Listed},
    serve::Served,
};
pub(crate) use self::{contents::Wanted, serve::Checkpoint};
use super::{context::Network, own_carries::OwnCarries, set::Set};
use crate::{Message, Time};

/// A source that lets as many requests for payloads run out, for as many request timeouts, and sends no chunk in all that
/// time, commits an offence.
const SILENCES_MAX: u32 = 4;
const SILENCE_TIMEOUTS: u32 = 4;

/// What a transfer has come to.
#[derive(Debug)]
pub(crate) enum Event {
    /// A right chunk was placed.
    Chunk {
        /// The blob.
        root: Hash,
        /// The chunk's number.
        index: u32,
        /// The chunk.
        bytes: Vec<u8>,
    },
    /// All chunks of this blob are placed.
    Complete(Hash),
    /// No source is left that serves this blob.
    Lost(Hash),
    /// The fetch of this blob goes on, now that the node has acted on what was raised before.
    Continue(Hash),
}

/// What the transfer may touch.
pub(crate) struct Context<'a> {
    pub(crate) net: Network<'a>,
    pub(crate) set: &'a Set,
    /// Served beside what the transfer holds itself.
    pub(crate) own_carries: &'a OwnCarries,
}

/// What is served of final frontiers, and the blobs that are fetched.
#[derive(Default, Debug)]
pub(crate) struct Transfer {
    served: Served,
    fetches: BTreeMap<Hash, Fetch>,
    /// The part of a state that was fetched before a restart.
    before: Option<Fetched>,
    complete: BTreeMap<Hash, Contents>,
    /// Sources of payloads that owe an answer after others have given it, and until when.
    owing: BTreeMap<PeerId, Time>,
    /// Sources of payloads that let requests run out and have sent nothing since: how often, and since when.
    silences: BTreeMap<PeerId, (u32, Time)>,
}

impl Transfer {
    /// `before` was fetched before a restart, and is used if the same state is fetched again.
    pub(crate) fn resume_from(&mut self, before: Option<Fetched>) {
        self.before = before;
    }

    /// Serves the newest final frontier. `None`, and no change, if payloads that its state takes are missing.
    pub(crate) fn serve_final(&mut self, set: &Set) -> Option<Checkpoint> {
        self.served.add_newest_final(&set.fold)
    }

    /// Starts to fetch a blob, or adds a source to a fetch.
    pub(crate) fn fetch(&mut self, cx: &mut Context<'_>, root: Hash, wanted: Wanted, source: PeerId) {
        let fetch = self.fetches.entry(root).or_insert_with(|| Fetch::new(wanted));
        if !fetch.is_for(wanted) {
            // An author may name any root as that of its payload. What others signed for goes first.
            if matches!(wanted, Wanted::Payload(_)) {
                return;
            }
            *fetch = Fetch::new(wanted);
        }
        if fetch.add_source(source) {
            self.ask(cx, root, source);
        }
    }

    /// Drops the fetch of a payload of `length` bytes.
    pub(crate) fn forget_payload(&mut self, root: &Hash, length: u64) {
        if self.fetches.get(root).is_some_and(|fetch| fetch.is_for(Wanted::Payload(length))) {
            self.fetches.remove(root);
        }
    }

    /// Drops every state but the one that is fetched from now on, so that one at a time is held.
    pub(crate) fn keep_only_state(&mut self, root: Hash) {
        self.before.take_if(|before| before.root != root);
        self.fetches.retain(|other, fetch| *other == root || !fetch.is_of_a_state());
        self.complete.retain(|other, contents| *other == root || !matches!(contents, Contents::State(_)));
    }

    /// Takes a complete blob.
    pub(crate) fn take(&mut self, root: &Hash) -> Option<Vec<u8>> {
        match self.complete.remove(root)? {
            Contents::Bytes(bytes) => Some(bytes),
            Contents::State(_) => None,
        }
    }

    /// Takes a complete state.
    pub(crate) fn take_state(&mut self, root: &Hash) -> Option<State> {
        match self.complete.remove(root)? {
            Contents::State(state) => Some(state),
            Contents::Bytes(_) => None,
        }
    }

    /// Whether a blob is complete, or may still come from a source.
    pub(crate) fn has_hope(&self, root: &Hash) -> bool {
        self.complete.contains_key(root) || self.fetches.get(root).is_some_and(Fetch::has_sources)
    }

    /// Answers a request for a chunk list.
    pub(crate) fn on_want_chunk_list(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash) {
        let message = match self.served.hashes(cx.own_carries, cx.set, &root, 0) {
            Some((length, hashes)) => Message::ChunkList { root, length, hashes },
            None => Message::Absent { root },
        };
        cx.net.send(from, &message);
    }

    /// Answers a request for another part of a chunk list.
    pub(crate) fn on_want_chunk_hashes(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, first: u32) {
        let message = match self.served.hashes(cx.own_carries, cx.set, &root, first) {
            Some((_, hashes)) => Message::ChunkHashes { root, from: first, hashes },
            None => Message::Absent { root },
        };
        cx.net.send(from, &message);
    }

    /// Answers a request for chunks, up to the first that is not served.
    pub(crate) fn on_want_chunks(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, indices: &[u32]) {
        for index in indices.iter().take(BATCH) {
            match self.served.chunk(cx.own_carries, cx.set, cx.net.core.now, &root, *index) {
                Some(message) => cx.net.send(from, &message),
                None => return cx.net.send(from, &Message::Absent { root }),
            }
        }
    }

    /// `from` does not serve the blob.
    pub(crate) fn on_absent(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash) {
        if let Some(fetch) = self.fetches.get_mut(&root) {
            fetch.drop_source(&from);
        }
        self.advance(cx, root);
    }

    /// A chunk list came.
    pub(crate) fn on_chunk_list(
        &mut self,
        cx: &mut Context<'_>,
        from: PeerId,
        root: Hash,
        length: u64,
        hashes: Vec<Hash>,
    ) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        let listed = fetch.take_list(&root, from, length, plain(hashes));
        self.on_listed(cx, from, root, length, listed);
    }

    /// Another part of a chunk list came.
    pub(crate) fn on_chunk_hashes(
        &mut self,
        cx: &mut Context<'_>,
        from: PeerId,
        root: Hash,
        first: u32,
        hashes: Vec<Hash>,
    ) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        let Some(length) = fetch.length_said() else { return };
        let listed = fetch.take_hashes(&root, from, first, &plain(hashes));
        self.on_listed(cx, from, root, length, listed);
    }

    fn on_listed(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, length: u64, listed: Listed) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        match listed {
            Listed::Unasked => {}
            Listed::Wrong => self.blame(cx, from, root, "chunk list does not hash to its root"),
            Listed::Impossible => {
                self.fetches.remove(&root);
                cx.net.core.raise(Event::Lost(root));
            }
            Listed::Continues => self.advance(cx, root),
            Listed::Whole => {
                let before = self.before.take_if(|before| before.root == root);
                let before = before.filter(|before| fetch.continues(before));
                fetch.begin(length, before, |wanted, length| wanted.room(length, || cx.set.fold.blank_state()));
                self.advance(cx, root);
            }
        }
    }

    /// A chunk came.
    pub(crate) fn on_chunk(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, index: u32, bytes: Vec<u8>) {
        self.owing.remove(&from);
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        if !fetch.expects_chunk(&from, index) {
            return;
        }
        if !fetch.place(&from, index, &bytes) {
            return self.blame(cx, from, root, "chunk does not match its hash");
        }
        self.silences.remove(&from);
        // It is kept on disk before more is asked for.
        cx.net.core.raise(Event::Chunk { root, index, bytes });
        cx.net.core.raise(Event::Continue(root));
    }

    /// `from` sent what is wrong, and is a source no more. It may be banned for that, which voids other requests to it, too;
    /// only then it is known which sources are left.
    fn blame(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, reason: &str) {
        if let Some(fetch) = self.fetches.get_mut(&root) {
            fetch.drop_source(&from);
        }
        cx.net.strike(from, reason.to_owned());
        cx.net.core.raise(Event::Continue(root));
    }

    /// `peer` said that it holds an update and sent nothing of its payload. One that was only stopped or cut off for a while
    /// sends again before that counts as an offence, or loses its connection.
    fn note_silence(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        let (now, patience) = (cx.net.core.now, cx.net.core.config.request_timeout * SILENCE_TIMEOUTS);
        let (count, since) = self.silences.entry(peer).or_insert((0, now));
        *count += 1;
        if *count >= SILENCES_MAX && now.since(*since) >= patience {
            self.silences.remove(&peer);
            cx.net.strike(peer, "sends nothing of payloads that it says it holds".to_owned());
        }
    }

    /// Asks idle sources for more of a blob, or ends its fetch.
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>, root: Hash) {
        let Some(fetch) = self.fetches.get(&root) else { return };
        if fetch.is_complete() {
            if fetch.is_of_a_payload() {
                self.owing.extend(fetch.unanswered());
            }
            let contents = self.fetches.remove(&root).and_then(Fetch::into_contents);
            self.complete.extend(contents.map(|contents| (root, contents)));
            return cx.net.core.raise(Event::Complete(root));
        }
        for source in fetch.idle_sources() {
            self.ask(cx, root, source);
        }
        if !self.has_hope(&root) {
            self.fetches.remove(&root);
            cx.net.core.raise(Event::Lost(root));
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>, root: Hash, source: PeerId) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        let now = cx.net.core.now;
        if let Some(request) = fetch.request(root, source, now, |request| cx.net.overdue_at(request)) {
            cx.net.request(source, request);
        }
    }

    /// What `peer` was asked for does not come.
    pub(crate) fn drop_source(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        self.owing.remove(&peer);
        self.silences.remove(&peer);
        let roots: Vec<Hash> = self.fetches.keys().copied().collect();
        roots.into_iter().for_each(|root| self.on_absent(cx, peer, root));
    }

    /// When a request is overdue, or a state is served no longer.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let owing = self.owing.values().copied();
        let fetches = self.fetches.values().filter_map(Fetch::next_deadline);
        fetches.chain(owing).chain(self.served.next_deadline()).min()
    }

    /// Drops sources that did not answer in time, and asks others.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.net.core.now;
        let mut silent: BTreeSet<PeerId> =
            self.owing.extract_if(.., |_, until| *until <= now).map(|(peer, _)| peer).collect();
        let mut changed = Vec::new();
        for (root, fetch) in &mut self.fetches {
            let (is_changed, unanswered) = fetch.drop_late_sources(now);
            changed.extend(is_changed.then_some(*root));
            silent.extend(unanswered.into_iter().filter(|_| fetch.is_of_a_payload()));
        }
        silent.into_iter().for_each(|peer| self.note_silence(cx, peer));
        changed.into_iter().for_each(|root| self.advance(cx, root));
        self.served.drop_idle_state(now);
    }

    /// Bytes of what is served and of what is being fetched, without own carries and a final state that is served.
    pub(crate) fn held_bytes(&self) -> usize {
        let fetches: usize = self.fetches.values().map(Fetch::held_bytes).sum();
        let complete: usize = self.complete.values().map(Contents::held_bytes).sum();
        let before = self.before.as_ref().map_or(0, |before| size_of_val(&*before.state));
        self.served.held_bytes() + fetches + complete + before
    }

    /// Bytes of the final state that a peer fetches from here.
    pub(crate) fn final_state_bytes(&self) -> usize {
        self.served.rebuilt_bytes()
    }
}

fn plain(hashes: Vec<Hash>) -> Vec<[u8; 32]> {
    hashes.into_iter().map(|hash| hash.0).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests;
