//! Transfer: blobs by hash, served and fetched in chunks of 32 KiB. Carries of audits, and foundations and states of final
//! frontiers, travel this way.
//!
//! A blob's root is the hash of its length and the list of its chunks' hashes. So a list that hashes to the root is the right
//! one, and a chunk that hashes to its place in the list is right, whichever peer sent it: a wrong byte is noticed within its
//! chunk and costs its sender, not the fetch. Chunks come from several sources at once.
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
//! - A source that lacks the blob, lies, or does not answer by its deadline is not asked again in the same fetch.

mod contents;
mod fetch;
mod fetched;
mod serve;

use std::{collections::BTreeMap, sync::Arc};

use murmur_collectives::{Hash, PeerId, State};

pub use self::fetched::Fetched;
use self::{
    contents::Contents,
    fetch::{BATCH, Fetch},
    serve::Served,
};
pub(crate) use self::{contents::Wanted, serve::Checkpoint};
use super::{context::Network, set::Set};
use crate::{Message, Time};

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
}

/// The blobs that are served, and those that are fetched.
#[derive(Default, Debug)]
pub(crate) struct Transfer {
    served: Served,
    fetches: BTreeMap<Hash, Fetch>,
    /// The part of a state that was fetched before a restart.
    before: Option<Fetched>,
    complete: BTreeMap<Hash, Contents>,
}

impl Transfer {
    /// `before` was fetched before a restart, and is used if the same state is fetched again.
    pub(crate) fn resume_from(&mut self, before: Option<Fetched>) {
        self.before = before;
    }

    /// Serves a blob, and the newest of those before it, `kept_max` in all. Gives its root back.
    pub(crate) fn serve_blob(&mut self, bytes: Arc<[u8]>, kept_max: usize) -> Hash {
        self.served.add_blob(bytes, kept_max)
    }

    /// The blob with this root among those of [`Transfer::serve_blob`].
    pub(crate) fn blob(&self, root: &Hash) -> Option<Arc<[u8]>> {
        self.served.blob(root)
    }

    /// Serves the newest final frontier. `None`, and no change, if payloads that its state takes are missing.
    pub(crate) fn serve_final(&mut self, set: &Set) -> Option<Checkpoint> {
        self.served.add_newest_final(&set.fold)
    }

    /// Starts to fetch a blob, or adds a source to a fetch.
    pub(crate) fn fetch(&mut self, cx: &mut Context<'_>, root: Hash, wanted: Wanted, source: PeerId) {
        if self.fetches.entry(root).or_insert_with(|| Fetch::new(wanted)).add_source(source) {
            self.ask(cx, root, source);
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
        let message = match self.served.chunk_list(cx.set.fold.rules().parameters, &root) {
            Some((length, list)) => Message::ChunkList { root, length, hashes: list.into_iter().map(Hash).collect() },
            None => Message::Absent { root },
        };
        cx.net.send(from, &message);
    }

    /// Answers a request for chunks, up to the first that is not served.
    pub(crate) fn on_want_chunks(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, indices: &[u32]) {
        for index in indices.iter().take(BATCH) {
            match self.served.chunk(&cx.set.fold, cx.net.core.now, &root, *index) {
                Some(bytes) => cx.net.send(from, &Message::Chunk { root, index: *index, bytes }),
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
        if !fetch.expects_list(&from) {
            return;
        }
        let list: Vec<[u8; 32]> = hashes.into_iter().map(|hash| hash.0).collect();
        if !fetch.is_right(&root, length, &list) {
            return self.blame(cx, from, root, "chunk list does not hash to its root");
        }
        let before = self.before.take_if(|before| before.root == root);
        let before = before.filter(|before| fetch.continues(before));
        fetch.begin(list, before, |wanted| wanted.room(length, || cx.set.fold.blank_state()));
        self.advance(cx, root);
    }

    /// A chunk came.
    pub(crate) fn on_chunk(&mut self, cx: &mut Context<'_>, from: PeerId, root: Hash, index: u32, bytes: Vec<u8>) {
        let Some(fetch) = self.fetches.get_mut(&root) else { return };
        if !fetch.expects_chunk(&from, index) {
            return;
        }
        if !fetch.place(&from, index, &bytes) {
            return self.blame(cx, from, root, "chunk does not match its hash");
        }
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

    /// Asks idle sources for more of a blob, or ends its fetch.
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>, root: Hash) {
        let Some(fetch) = self.fetches.get(&root) else { return };
        if fetch.is_complete() {
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
        if let Some(message) = fetch.request(root, source, |message| cx.net.overdue_at(message)) {
            cx.net.send(source, &message);
        }
    }

    /// What `peer` was asked for does not come.
    pub(crate) fn drop_source(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        let roots: Vec<Hash> = self.fetches.keys().copied().collect();
        roots.into_iter().for_each(|root| self.on_absent(cx, peer, root));
    }

    /// When a request is overdue, or a state is served no longer.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.fetches.values().filter_map(Fetch::next_deadline).chain(self.served.next_deadline()).min()
    }

    /// Drops sources that did not answer in time, and asks others.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.net.core.now;
        let late = self.fetches.iter_mut().filter_map(|(root, fetch)| fetch.drop_late_sources(now).then_some(*root));
        let late: Vec<Hash> = late.collect();
        late.into_iter().for_each(|root| self.advance(cx, root));
        self.served.drop_idle_state(now);
    }

    /// Bytes of what is served and of what is being fetched, without a final state that is served.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::node) mod tests {
    use murmur_collectives::{Fold, Identity, ONE_Q16, Rules};
    use murmur_kernels::{BLOB_CHUNK, blob_root, chunk_hashes};

    use super::*;
    use crate::{
        Config, Output,
        node::{
            connectivity::Neighbours,
            context::{Core, Raised},
            limits::Limits,
        },
    };

    const PARAMETERS: u64 = 9000;

    pub(in crate::node) fn rules() -> Rules {
        Rules {
            parameters: PARAMETERS,
            top: 64,
            alpha_start_q16: ONE_Q16,
            alpha_end_q16: ONE_Q16,
            clip_q16: ONE_Q16,
            tokens_per_step: 10,
            steps_max: 10,
            token_budget: 1_000_000,
            audit_rate_q16: 0,
            audit_quorum: 2,
            frontier_every_tokens: 1000,
            class: None,
            founders: Vec::new(),
        }
    }

    pub(in crate::node) fn fold() -> Fold {
        Fold::new(Hash([9; 32]), rules(), (0..PARAMETERS as i64).collect::<Vec<_>>())
    }

    /// A transfer and all that it touches.
    struct World {
        transfer: Transfer,
        core: Core,
        limits: Limits,
        neighbours: Neighbours,
        set: Set,
    }

    impl World {
        fn new() -> Self {
            let identity = Identity::from_secret(&[1; 32]);
            let core = Core::new(identity, Hash::NONE, Arc::new(rules()), Config::default(), 1);
            let (limits, neighbours) = (Limits::default(), Neighbours::default());
            Self { transfer: Transfer::default(), core, limits, neighbours, set: Set::new(fold()) }
        }

        /// Acts on the machine, then does the node's part of the contract. What was sent, to whom, and what else was raised.
        fn act(&mut self, act: impl FnOnce(&mut Transfer, &mut Context<'_>)) -> (Vec<(PeerId, Message)>, Vec<Event>) {
            let net = Network::new(&mut self.core, &mut self.limits, &mut self.neighbours);
            let mut cx = Context { net, set: &self.set };
            act(&mut self.transfer, &mut cx);
            let mut events = Vec::new();
            while let Some(raised) = cx.net.core.next_raised() {
                match raised {
                    Raised::Transfer(Event::Continue(root)) => self.transfer.advance(&mut cx, root),
                    Raised::Transfer(event) => events.push(event),
                    other => panic!("{other:?}"),
                }
            }
            let sent = self.core.outputs.drain(..).filter_map(|output| match output {
                Output::Send { to, bytes, .. } => Some((to, Message::decode(&bytes).unwrap())),
                _ => None,
            });
            (sent.collect(), events)
        }
    }

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn blob() -> Vec<u8> {
        (0..3 * BLOB_CHUNK as u32 - 11).map(|n| (n / 7) as u8).collect()
    }

    fn root(blob: &[u8]) -> Hash {
        Hash(blob_root(blob))
    }

    fn list(blob: &[u8]) -> Vec<Hash> {
        chunk_hashes(blob).into_iter().map(Hash).collect()
    }

    fn fetching(blob: &[u8], sources: u8) -> World {
        let mut world = World::new();
        for n in 0..sources {
            let (sent, _) = world.act(|t, cx| t.fetch(cx, root(blob), Wanted::Bytes(1 << 20), peer(n)));
            assert!(matches!(&sent[..], [(to, Message::WantChunkList { .. })] if *to == peer(n)));
        }
        world
    }

    #[test]
    fn a_blob_goes_from_one_peer_to_another() {
        let blob = blob();
        let (mut server, mut newcomer) = (World::new(), fetching(&blob, 1));
        assert_eq!(server.transfer.serve_blob(blob.clone().into(), 1), root(&blob));
        let (answers, _) = server.act(|t, cx| t.on_want_chunk_list(cx, peer(8), root(&blob)));
        let [(_, Message::ChunkList { root, length, hashes })] = &answers[..] else { panic!("{answers:?}") };
        let (asked, _) = newcomer.act(|t, cx| t.on_chunk_list(cx, peer(0), *root, *length, hashes.clone()));
        let [(_, Message::WantChunks { indices, .. })] = &asked[..] else { panic!("{asked:?}") };
        let (chunks, _) = server.act(|t, cx| t.on_want_chunks(cx, peer(8), *root, indices));
        let mut events = Vec::new();
        for (_, message) in chunks {
            let Message::Chunk { index, bytes, .. } = message else { panic!("{message:?}") };
            events.extend(newcomer.act(|t, cx| t.on_chunk(cx, peer(0), *root, index, bytes)).1);
        }
        assert!(matches!(&events[2..], [Event::Chunk { index: 2, .. }, Event::Complete(which)] if which == root));
        assert!(newcomer.transfer.has_hope(root) && newcomer.transfer.take(root) == Some(blob));
        assert!(!newcomer.transfer.has_hope(root) && newcomer.transfer.take(root).is_none());
    }

    #[test]
    fn a_liar_is_asked_no_more_and_a_source_that_owes_an_answer_in_time_neither() {
        let blob = blob();
        let mut world = fetching(&blob, 2);
        let length = blob.len() as u64;
        let (asked, _) = world.act(|t, cx| t.on_chunk_list(cx, peer(0), root(&blob), length, list(&blob)));
        assert!(
            matches!(&asked[..], [(to, Message::WantChunks { .. })] if *to == peer(0)),
            "the other still owes a list"
        );
        let (asked, _) = world.act(|t, cx| t.on_chunk_list(cx, peer(1), root(&blob), length, list(&blob)));
        assert!(asked.is_empty(), "a second list changes nothing");
        let (asked, events) = world.act(|t, cx| t.on_chunk(cx, peer(0), root(&blob), 1, vec![7; BLOB_CHUNK]));
        assert!(events.is_empty(), "{events:?}");
        assert!(asked.is_empty(), "the request for the list is open still: {asked:?}");
        world.core.now = world.transfer.next_deadline().unwrap();
        let (_, events) = world.act(Transfer::handle_timeout);
        assert!(matches!(&events[..], [Event::Lost(which)] if *which == root(&blob)));
    }

    #[test]
    fn a_wrong_list_is_refused_and_the_next_source_may_still_give_the_right_one() {
        let blob = blob();
        let mut world = fetching(&blob, 2);
        let length = blob.len() as u64;
        let mut wrong = list(&blob);
        wrong[0] = Hash([0; 32]);
        let (asked, events) = world.act(|t, cx| t.on_chunk_list(cx, peer(0), root(&blob), length, wrong));
        assert!(asked.is_empty() && events.is_empty());
        let (asked, _) = world.act(|t, cx| t.on_chunk_list(cx, peer(1), root(&blob), length, list(&blob)));
        assert!(
            matches!(&asked[..], [(to, Message::WantChunks { indices, .. })] if *to == peer(1) && indices.len() == 3)
        );
    }

    #[test]
    fn chunks_of_a_peer_that_is_gone_are_asked_of_another_and_without_one_the_blob_is_lost() {
        let blob = blob();
        let mut world = fetching(&blob, 1);
        world.act(|t, cx| t.on_chunk_list(cx, peer(0), root(&blob), blob.len() as u64, list(&blob)));
        let (asked, _) = world.act(|t, cx| t.fetch(cx, root(&blob), Wanted::Bytes(1 << 20), peer(1)));
        assert!(asked.is_empty(), "all chunks are asked for");
        let (asked, _) = world.act(|t, cx| t.drop_source(cx, peer(0)));
        assert!(
            matches!(&asked[..], [(to, Message::WantChunks { indices, .. })] if *to == peer(1) && indices.len() == 3)
        );
        let (_, events) = world.act(|t, cx| t.on_absent(cx, peer(1), root(&blob)));
        assert!(matches!(&events[..], [Event::Lost(which)] if *which == root(&blob)));
        assert_eq!((world.transfer.held_bytes(), world.transfer.next_deadline()), (0, None));
    }

    #[test]
    fn one_state_at_a_time_is_fetched_and_other_blobs_beside_it() {
        let mut world = fetching(&blob(), 1);
        for n in [1, 2] {
            world.act(|t, cx| t.fetch(cx, Hash([n; 32]), Wanted::state(&rules()), peer(0)));
        }
        world.transfer.resume_from(Some(Fetched::new(Hash([1; 32]), fold().blank_state())));
        world.transfer.keep_only_state(Hash([2; 32]));
        let wanted = [root(&blob()), Hash([2; 32]), Hash([1; 32])].map(|root| world.transfer.has_hope(&root));
        assert_eq!((wanted, world.transfer.held_bytes()), ([true, true, false], 0));
    }
}
