//! The whole peer as a state machine without input or output of its own. This file only routes.
//!
//! Contract:
//! - [`Node::handle`] takes one [`Input`] and the time; then drain [`Node::poll_output`] until `None`, carrying out each
//!   output before taking the next.
//! - [`Node::poll_timeout`] says when [`Node::handle_timeout`] is due; it may change after every call above.
//! - Time never goes backwards. The same inputs at the same times give the same outputs, bit for bit.

mod address_book;
mod audits;
mod blobs;
mod candidates;
mod catch_up;
mod certificates;
mod contents;
mod context;
mod dialing;
mod eviction;
mod finals;
mod footprint;
mod frontier;
mod limits;
mod membership;
mod neighbours;
mod overdue;
mod own_chain;
mod pace;
mod quest;
mod reach;
mod replication;
mod set;
mod solitude;
mod staging;
mod turns;
mod view;
mod vow;

use std::sync::Arc;

use murmur_collectives::{Fold, Founder, Hash, Identity, PeerId, Rules, State};
use murmur_verification::Lottery;

use crate::{Config, Draft, Fetched, Input, Message, Output, PeerAddress, StoredEntry, Time};
pub use audits::AuditJob;
pub use footprint::Footprint;
pub use membership::Member;
pub use neighbours::{MemberState, NeighbourView};
pub use own_chain::{Delay, Snapshot};
pub use reach::Mapping;
use {
    address_book::AddressBook, context::Core, dialing::Dialing, eviction::Evictions, limits::Limits,
    membership::Membership, reach::Reaching, set::Set, solitude::Solitude, view::View,
};
use {
    audits::Audits, blobs::Blobs, catch_up::CatchUp, finals::Finals, frontier::Finality, neighbours::Neighbours,
    own_chain::OwnChain, replication::Replication,
};

/// What a peer brings into a run.
#[derive(Debug)]
pub struct Setup {
    /// The run's manifest, served to newcomers.
    pub manifest: Vec<u8>,
    /// Its hash, the run's name.
    pub run: Hash,
    /// The constants of the fold, from the manifest.
    pub rules: Rules,
    /// θ₀. Where it is held, all states of this peer are.
    pub genesis: State,
    /// The peer's key.
    pub identity: Identity,
    /// Its numeric class: machines of one class compute the same bits.
    pub class: Hash,
    /// Its own settings.
    pub config: Config,
    /// Seed of its choices among neighbours; a different one for each peer.
    pub seed: u64,
    /// Which start of this identity this is: greater than at any earlier one, with or without the same disk. Unix time in
    /// milliseconds does. Of two processes with one identity the one with the greater number has to stop.
    pub incarnation: u64,
    /// Where others were last time, as [`Output::AddressBook`] gave it, and the addresses of a ticket.
    pub address_book: Vec<PeerAddress>,
    /// What it has on disk.
    pub stored: Stored,
}

/// What a peer finds on its disk when it starts.
#[derive(Debug, Default)]
pub struct Stored {
    /// Records in the order they were appended.
    pub entries: Vec<StoredEntry>,
    /// The newest [`crate::Output::Compact`], without its records: `entries` begins with those.
    pub compacted: Option<(Vec<u8>, State)>,
    /// What [`crate::Output::KeepChunk`] stored since then.
    pub fetched: Option<Fetched>,
    /// The newest [`crate::Output::Signing`].
    pub signing: Option<Vec<u8>>,
    /// The newest own record, stored apart from the log so that a damaged log cannot fork the own chain.
    pub head: Option<StoredEntry>,
    /// Sealed own carries, oldest first; the one after the newest own update should be among them.
    pub carries: Vec<Arc<[u8]>>,
}

/// One peer.
#[derive(Debug)]
pub struct Node {
    manifest: Vec<u8>,
    core: Core,
    set: Set,
    membership: Membership,
    neighbours: Neighbours,
    address_book: AddressBook,
    dialing: Dialing,
    view: View,
    limits: Limits,
    solitude: Solitude,
    evictions: Evictions,
    reaching: Reaching,
    replication: Replication,
    blobs: Blobs,
    finals: Finals,
    catch_up: CatchUp,
    audits: Audits,
    own_chain: OwnChain,
    finality: Finality,
}

impl Node {
    /// A peer with what it has on disk. Nothing is sent before the first input or timeout.
    pub fn new(setup: Setup) -> Self {
        let Setup { manifest, run, rules, genesis, identity, class, config, seed, incarnation, address_book, stored } =
            setup;
        let finality = Finality::new(&rules, identity.peer_id(), stored.signing.as_deref());
        let catch_up = CatchUp::new(&rules, &identity.peer_id(), &stored);
        let solitude = Solitude::new(catch_up.is_done());
        let membership = Membership::new(&identity, run, incarnation, config.swim, seed);
        let mut node = Self {
            manifest,
            core: Core::new(identity, class, Arc::new(rules.clone()), config, seed),
            set: Set::new(Fold::new(run, rules, genesis)),
            membership,
            neighbours: Neighbours::default(),
            address_book: AddressBook::restore(&address_book),
            dialing: Dialing::default(),
            view: View::default(),
            limits: Limits::default(),
            solitude,
            evictions: Evictions::default(),
            reaching: Reaching::default(),
            replication: Replication::default(),
            blobs: Blobs::default(),
            finals: Finals::default(),
            catch_up,
            audits: Audits::default(),
            own_chain: OwnChain::default(),
            finality,
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
        self.core.now = self.core.now.max(now);
        if self.membership.is_second() {
            return self.decline(&input);
        }
        match input {
            Input::Author(draft) => self.author_update(draft),
            Input::Connected { peer, address, reach } => self.on_connected(peer, address, reach),
            Input::Datagram { from, bytes } => return self.on_datagram(from, &bytes),
            Input::DialFailed { address, retry } => self.on_dial_failed(address, retry),
            Input::Disconnected { peer } => self.on_disconnected(peer),
            Input::Finish { patience } => self.write(|own, cx| own.begin_finish(cx, patience)),
            Input::Introduce { address } => self.on_introduced(address),
            Input::Judged { update, passed, replay } => self.on_judged(update, passed, replay),
            Input::Leave => self.leave(),
            Input::Moved { peer, address } => self.on_moved(peer, address),
            Input::Message { from, bytes } => self.on_message(from, &bytes),
            Input::OwnAddresses { addresses } => self.on_own_addresses(addresses),
            Input::Twin { address } => self.on_twin(address),
            Input::Unjudged { update } => self.on_unjudged(update),
        }
        self.settle();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.core.now = self.core.now.max(now);
        if self.membership.is_second() {
            return;
        }
        self.membership_due();
        if self.poll_timeout_of_the_rest().is_some_and(|due| due <= self.core.now) {
            self.solitude_due();
            self.dials_due();
            self.quests_due();
            self.view_due();
            self.hearings_due();
            self.requests_waiting_due();
            self.replicate(Replication::requests_due);
            self.fetches_due();
            self.finals_due();
            self.replicate(Replication::anti_entropy_due);
            self.catch_up_due();
            self.finality_due();
            self.getting_due();
            self.settle();
        }
    }

    /// When [`Node::handle_timeout`] is due next.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.membership.is_second() {
            return None;
        }
        self.membership.next_deadline().into_iter().chain(self.poll_timeout_of_the_rest()).min()
    }

    /// The same without membership, whose many timers concern nothing else.
    fn poll_timeout_of_the_rest(&self) -> Option<Time> {
        let due = [
            self.dialing.next_deadline(self.core.config.dials_at_once),
            Some(self.view.next_deadline(self.address_book.has_changes())),
            self.next_solitude(),
            self.evictions.next_deadline(),
            self.limits.next_deadline(&self.core.config),
            self.reaching.next_deadline(),
            self.blobs.next_deadline(),
            self.finals.next_deadline(),
            Some(self.replication.next_deadline()),
            self.catch_up.next_deadline(self.lonely_at(), self.core.now),
            self.own_chain.next_deadline(self.core.now),
            self.next_final_deadline().filter(|_| self.catch_up.is_done()),
            self.next_getting(),
        ];
        due.into_iter().flatten().min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// Who this peer is.
    pub fn id(&self) -> PeerId {
        self.core.identity.peer_id()
    }

    /// The set and its model.
    pub fn fold(&self) -> &Fold {
        &self.set.fold
    }

    /// What the next segment starts from.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.set, &self.blobs, &self.id())
    }

    /// What keeps a peer that finishes from leaving: nothing, if it is idle, every finishing neighbour is so, too, and equals
    /// it, and the own chain is safe with those who stay.
    pub fn delays(&mut self) -> Vec<Delay> {
        self.write(|own, cx| own.delays(cx))
    }

    /// How often a neighbour with the same set had the same state, and how often another.
    pub fn roots_compared(&self) -> (u64, u64) {
        self.replication.roots_compared()
    }

    /// State root of the present set; computed once per change.
    pub fn state_root(&mut self) -> Hash {
        self.set.state_root()
    }

    /// What follows from any change: being evicted, more to pull, being caught up, something final, being finished.
    fn settle(&mut self) {
        self.check_own_eviction();
        self.pull();
        self.check_caught_up();
        self.check_final();
        self.write(OwnChain::check_finished);
    }

    fn on_message(&mut self, from: PeerId, bytes: &[u8]) {
        self.neighbours.heard(&from, self.core.now);
        if !self.limits.admit_message(&self.core, &from, bytes.len()) {
            return;
        }
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.strike(from, error.to_string()),
        };
        if self.evictions.hears(&from) {
            return self.hear_out(from, message);
        }
        match message {
            Message::Absent { root } => self.on_absent(from, root),
            Message::Announce { entries } => self.replicate(|machine, cx| machine.on_announce(cx, from, &entries)),
            Message::Candidates { addresses } => self.on_candidates(from, &addresses),
            Message::Certificates { chain } => self.on_certificates(from, chain),
            Message::Chunk { root, index, bytes } => self.on_chunk(from, root, index, &bytes),
            Message::ChunkList { root, length, hashes } => self.on_chunk_list(from, root, length, hashes),
            Message::Digest(digest) => self.replicate(|machine, cx| machine.on_digest(cx, from, digest)),
            Message::Entries { items } => self.replicate(|machine, cx| machine.on_entries(cx, from, items)),
            Message::Frontier(proposal) => self.on_frontier(from, *proposal),
            Message::Goodbye => self.on_goodbye(from),
            Message::Manifest { .. } => self.strike(from, "sent a manifest that nobody asked for".to_owned()),
            Message::Meet { peer } => self.on_meet(from, peer),
            Message::Observed { address, relay } => self.on_observed(from, address, relay),
            Message::Punch { peer } => self.on_punch(peer),
            Message::Peers { peers } => self.on_peers(from, &peers),
            Message::Votes { votes } => self.on_votes(from, &votes),
            request @ (Message::Want(_)
            | Message::WantCertificates { .. }
            | Message::WantChunkList { .. }
            | Message::WantChunks { .. }
            | Message::WantFrontier { .. }
            | Message::WantManifest { .. }) => self.serve(from, request),
        }
    }

    /// Answers a request now if its sender's rate allows, else later.
    fn serve(&mut self, from: PeerId, request: Message) {
        if let Some(request) = self.limits.admit_request(&self.core, &from, request) {
            self.answer(from, request);
        }
    }

    /// Answers requests that waited.
    fn requests_waiting_due(&mut self) {
        while let Some((from, request)) = self.limits.next_request(&self.core) {
            self.answer(from, request);
        }
    }

    fn answer(&mut self, from: PeerId, request: Message) {
        let before = self.core.outputs.len();
        self.on_request(from, request);
        let answers = self.core.outputs.iter().skip(before).filter_map(|output| {
            let Output::Send { to, bytes, .. } = output else { return None };
            (*to == from).then_some(bytes.len() as u64)
        });
        let spent = answers.sum();
        self.limits.charge(&from, spent);
    }

    /// Answers a request whose turn has come.
    fn on_request(&mut self, from: PeerId, request: Message) {
        match request {
            Message::Want(want) => self.replicate(|machine, cx| machine.on_want(cx, from, want)),
            Message::WantCertificates { from: first } => self.on_want_certificates(from, first),
            Message::WantChunkList { root } => self.on_want_chunk_list(from, root),
            Message::WantChunks { root, indices } => self.on_want_chunks(from, root, &indices),
            Message::WantFrontier { name } => self.on_want_frontier(from, name),
            Message::WantManifest { run } => self.on_want_manifest(from, run),
            Message::Absent { .. }
            | Message::Candidates { .. }
            | Message::Certificates { .. }
            | Message::Frontier(_)
            | Message::Votes { .. }
            | Message::Announce { .. }
            | Message::Chunk { .. }
            | Message::ChunkList { .. }
            | Message::Digest(_)
            | Message::Entries { .. }
            | Message::Goodbye
            | Message::Manifest { .. }
            | Message::Meet { .. }
            | Message::Observed { .. }
            | Message::Peers { .. }
            | Message::Punch { .. } => {}
        }
    }

    fn leave(&mut self) {
        self.leave_swarm();
        self.write(|own, cx| own.say_goodbye(cx));
    }

    /// Takes an update of the trainer, unless so much work is not final that none is to be added.
    fn author_update(&mut self, draft: Box<Draft>) {
        if !self.is_stalled() {
            self.write(|own, cx| own.author_update(cx, draft));
        }
    }

    fn on_want_manifest(&mut self, from: PeerId, run: Hash) {
        if run == self.set.fold.run() {
            let bytes = self.manifest.clone();
            self.send(from, &Message::Manifest { bytes });
        }
    }
}
