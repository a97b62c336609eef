//! The whole peer as a state machine without input or output of its own. This file only routes.
//!
//! Contract:
//! - [`Node::handle`] takes one [`Input`] and the time; then drain [`Node::poll_output`] until `None`, carrying out each
//!   output before taking the next.
//! - [`Node::poll_timeout`] says when [`Node::handle_timeout`] is due; it may change after every call above.
//! - Time never goes backwards. The same inputs at the same times give the same outputs, bit for bit.

mod anti_entropy;
mod audits;
mod blobs;
mod catch_up;
mod chain;
mod finish;
mod footprint;
mod gossip;
mod neighbours;

use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Entry, Fold, Founder, Hash, Identity, Insertion, PeerId, Rules};
use murmur_verification::Lottery;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::{Closing, Config, Event, Input, Message, Output, StoredEntry, Time};
pub use audits::AuditJob;
pub use blobs::Checkpoint;
pub use chain::Snapshot;
pub use footprint::Footprint;
use {audits::Audits, blobs::Blobs, catch_up::CatchUp, finish::Finish, gossip::Gossip, neighbours::Neighbours};

/// What a peer brings into a run.
#[derive(Debug)]
pub struct Setup {
    /// The run's manifest, served to newcomers.
    pub manifest: Vec<u8>,
    /// Its hash, the run's name.
    pub run: Hash,
    /// The constants of the fold, from the manifest.
    pub rules: Rules,
    /// θ₀.
    pub genesis: Vec<i64>,
    /// The peer's key.
    pub identity: Identity,
    /// Its numeric class: machines of one class compute the same bits.
    pub class: Hash,
    /// Its own settings.
    pub config: Config,
    /// Seed of its choices among neighbours; a different one for each peer.
    pub seed: u64,
    /// What it has on disk.
    pub stored: Stored,
}

/// What a peer finds on its disk when it starts.
#[derive(Debug, Default)]
pub struct Stored {
    /// Records in the order they were appended.
    pub entries: Vec<StoredEntry>,
    /// A state received from others: that of all records stored as contained in it.
    pub adopted: Option<Vec<i64>>,
    /// The newest own record, stored apart from the log so that a damaged log cannot fork the own chain.
    pub head: Option<StoredEntry>,
    /// Sealed own carries, oldest first; the one after the newest own update should be among them.
    pub carries: Vec<Arc<[u8]>>,
}

/// One peer.
#[derive(Debug)]
pub struct Node {
    manifest: Vec<u8>,
    identity: Identity,
    lottery: Lottery,
    class: Hash,
    config: Config,
    now: Time,
    rng: ChaCha8Rng,
    fold: Fold,
    root: Option<Hash>,
    roots_compared: (u64, u64),
    outputs: VecDeque<Output>,
    neighbours: Neighbours,
    gossip: Gossip,
    blobs: Blobs,
    catch_up: CatchUp,
    audits: Audits,
    finish: Finish,
}

impl Node {
    /// A peer with what it has on disk. Nothing is sent before the first input or timeout.
    pub fn new(setup: Setup) -> Self {
        let Setup { manifest, run, rules, genesis, identity, class, config, seed, stored } = setup;
        let lottery = Lottery::of(&identity);
        let catch_up = CatchUp::new(&rules, &identity.peer_id(), &stored, &genesis);
        let mut node = Self {
            manifest,
            lottery,
            identity,
            class,
            config,
            now: Time::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            fold: Fold::new(run, rules, genesis),
            root: None,
            roots_compared: (0, 0),
            outputs: VecDeque::new(),
            neighbours: Neighbours::default(),
            gossip: Gossip::default(),
            blobs: Blobs::default(),
            catch_up,
            audits: Audits::default(),
            finish: Finish::default(),
        };
        node.restore(stored);
        node.start();
        node
    }

    /// This peer's founder line for a manifest.
    pub fn founder(identity: &Identity) -> Founder {
        Founder { peer: identity.peer_id(), vrf_key: Lottery::of(identity).public() }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Author(draft) => self.author_update(*draft),
            Input::Connected { peer, address } => self.on_connected(peer, address),
            Input::DialFailed { address, retry } => self.on_dial_failed(address, retry),
            Input::Disconnected { peer } => self.on_disconnected(peer),
            Input::Finish { patience } => self.begin_finish(patience),
            Input::Introduce { address } => self.on_introduced(address),
            Input::Judged { update, passed, replay } => self.on_judged(update, passed, replay),
            Input::Leave => self.say_goodbye(),
            Input::Message { from, bytes } => self.on_message(from, &bytes),
            Input::Unjudged { update } => self.on_unjudged(update),
        }
        self.settle();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.redial_due();
        self.requests_due();
        self.fetches_due();
        self.anti_entropy_due();
        self.catch_up_due();
        self.settle();
    }

    /// When [`Node::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let due = [
            self.neighbours.next_redial(),
            self.gossip.next_deadline(),
            self.blobs.next_deadline(),
            Some(self.gossip.anti_entropy_at),
            self.catch_up.next_deadline(self.lonely_at(), self.now),
            self.finish.next_deadline(self.now),
        ];
        due.into_iter().flatten().min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Who this peer is.
    pub fn id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// The set and its model.
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// How often a neighbour with the same set had the same state, and how often another.
    pub fn roots_compared(&self) -> (u64, u64) {
        self.roots_compared
    }

    /// State root of the present set; computed once per change.
    pub fn state_root(&mut self) -> Hash {
        *self.root.get_or_insert_with(|| self.fold.state_root())
    }

    /// What follows from any change: more to pull, checkpoints, being caught up, being finished.
    fn settle(&mut self) {
        self.pull();
        self.checkpoint_if_due();
        self.check_caught_up();
        self.check_finished();
    }

    fn on_message(&mut self, from: PeerId, bytes: &[u8]) {
        if !self.neighbours.is_connected(&from) {
            return;
        }
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.strike(from, error.to_string()),
        };
        match message {
            Message::Absent { root } => self.on_absent(from, root),
            Message::Announce { entries } => self.on_announce(from, &entries),
            Message::Chunk { root, index, bytes } => self.on_chunk(from, root, index, &bytes),
            Message::ChunkList { root, length, hashes } => self.on_chunk_list(from, root, length, hashes),
            Message::Digest(digest) => self.on_digest(from, &digest),
            Message::Entries { items } => self.on_entries(from, items),
            Message::Goodbye => self.on_goodbye(from),
            Message::Manifest { .. } => self.strike(from, "sent a manifest that nobody asked for".to_owned()),
            Message::Peers { peers } => self.on_peers(from, &peers),
            Message::Want(want) => self.on_want(from, want),
            Message::WantChunkList { root } => self.on_want_chunk_list(from, root),
            Message::WantChunks { root, indices } => self.on_want_chunks(from, root, &indices),
            Message::WantManifest { run } => self.on_want_manifest(from, run),
        }
    }

    fn send(&mut self, to: PeerId, message: &Message) {
        let (kind, bytes) = (message.kind(), message.encode());
        self.outputs.push_back(Output::Send { to, kind, bytes });
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn on_want_manifest(&mut self, from: PeerId, run: Hash) {
        if run == self.fold.run() {
            let bytes = self.manifest.clone();
            self.send(from, &Message::Manifest { bytes });
        }
    }

    /// Inserts into the set and tells the world what changed. The one place where the set changes.
    fn insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        let (shared, kept) = (entry.clone(), payload.clone());
        let insertion = self.fold.insert(entry, payload);
        if let Insertion::Applied { voided } = &insertion {
            self.root = None;
            let record = StoredEntry { entry: shared.wire().clone(), payload: kept, contained: false };
            let durable = shared.author() == self.id();
            self.outputs.push_back(Output::Append { record, durable });
            self.report(&shared, *voided);
            self.announce(&shared);
            self.consider_audits(&shared);
        }
        insertion
    }

    fn report(&mut self, entry: &Entry, voided: Option<PeerId>) {
        let name = crate::EntryName { author: entry.author(), seq: entry.seq() };
        if let Some(update) = entry.update() {
            let record = self.fold.log().record(&name.author, name.seq);
            let weight_q16 = record.map_or(0, |record| record.applied.q16());
            self.tell(Event::Applied { update: name, tokens: update.tokens, weight_q16 });
        }
        if let Some(verdict) = entry.verdict() {
            let update = crate::EntryName { author: verdict.author, seq: verdict.seq };
            self.tell(Event::Audited { update, auditor: name.author, passed: verdict.passed });
        }
        if let Some(peer) = voided {
            self.forget_audits_of(peer);
            self.tell(Event::Evicted { peer });
            self.send_away(peer, Closing::Evicted);
        }
    }
}
