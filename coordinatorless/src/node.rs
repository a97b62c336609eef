//! The whole peer as a state machine without input or output of its own. This file only routes.
//!
//! Contract:
//! - [`Node::handle`] takes one [`Input`] and the time; then drain [`Node::poll_output`] until `None`, carrying out each
//!   output before taking the next.
//! - [`Node::poll_timeout`] says when [`Node::handle_timeout`] is due; it may change after every call above.
//! - Time never goes backwards. The same inputs at the same times give the same outputs, bit for bit.

mod address_book;
mod anti_entropy;
mod audits;
mod blobs;
mod candidates;
mod catch_up;
mod certificates;
mod chain;
mod contents;
mod context;
mod dialing;
mod eviction;
mod finals;
mod finish;
mod footprint;
mod frontier;
mod gossip;
mod limits;
mod membership;
mod neighbours;
mod overdue;
mod pace;
mod pending;
mod pull;
mod quest;
mod reach;
mod set;
mod solitude;
mod staging;
#[cfg(test)]
#[path = "../../collectives/tests/support/mod.rs"]
mod support;
mod turns;
mod view;
mod vow;

use std::sync::Arc;

use murmur_collectives::{Entry, Fold, Founder, Hash, Identity, Insertion, PeerId, Rules, State};
use murmur_verification::Lottery;

use crate::{Config, Event, Fetched, Input, Message, Output, PeerAddress, StoredEntry, Time};
pub use audits::AuditJob;
pub use chain::Snapshot;
pub use finish::Delay;
pub use footprint::Footprint;
pub use membership::Member;
pub use neighbours::{MemberState, NeighbourView};
pub use reach::Mapping;
use {
    address_book::AddressBook, context::Core, dialing::Dialing, eviction::Evictions, limits::Limits,
    membership::Membership, reach::Reaching, set::Set, solitude::Solitude, view::View,
};
use {
    audits::Audits, blobs::Blobs, catch_up::CatchUp, finals::Finals, finish::Finish, frontier::Finality,
    gossip::Gossip, neighbours::Neighbours,
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
    roots_compared: (u64, u64),
    membership: Membership,
    neighbours: Neighbours,
    address_book: AddressBook,
    dialing: Dialing,
    view: View,
    limits: Limits,
    solitude: Solitude,
    evictions: Evictions,
    reaching: Reaching,
    gossip: Gossip,
    blobs: Blobs,
    finals: Finals,
    catch_up: CatchUp,
    audits: Audits,
    finish: Finish,
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
        let core = Core::new(identity, class, Arc::new(rules.clone()), config, seed);
        let mut node = Self {
            manifest,
            audits: Audits::new(&core),
            core,
            set: Set::new(Fold::new(run, rules, genesis)),
            roots_compared: (0, 0),
            membership,
            neighbours: Neighbours::default(),
            address_book: AddressBook::restore(&address_book),
            dialing: Dialing::default(),
            view: View::default(),
            limits: Limits::default(),
            solitude,
            evictions: Evictions::default(),
            reaching: Reaching::default(),
            gossip: Gossip::default(),
            blobs: Blobs::default(),
            finals: Finals::default(),
            catch_up,
            finish: Finish::default(),
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
            Input::Author(draft) => self.author_update(*draft),
            Input::Connected { peer, address, reach } => self.on_connected(peer, address, reach),
            Input::Datagram { from, bytes } => return self.on_datagram(from, &bytes),
            Input::DialFailed { address, retry } => self.on_dial_failed(address, retry),
            Input::Disconnected { peer } => self.on_disconnected(peer),
            Input::Finish { patience } => self.begin_finish(patience),
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
            self.requests_due();
            self.fetches_due();
            self.finals_due();
            self.anti_entropy_due();
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
            self.gossip.next_deadline(),
            self.blobs.next_deadline(),
            self.finals.next_deadline(),
            Some(self.gossip.anti_entropy_at),
            self.catch_up.next_deadline(self.lonely_at(), self.core.now),
            self.finish.next_deadline(self.core.now),
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

    /// How often a neighbour with the same set had the same state, and how often another.
    pub fn roots_compared(&self) -> (u64, u64) {
        self.roots_compared
    }

    /// State root of the present set; computed once per change.
    pub fn state_root(&mut self) -> Hash {
        self.set.state_root()
    }

    /// Audits this peer was drawn for and could not do: too many at once, or the author's carry was not to be had.
    pub fn audits_missed(&self) -> u64 {
        self.audits.auditor().missed()
    }

    /// What is needed to replay `update`; `None` if it is no longer wanted or its base cannot be rebuilt.
    pub fn audit_job(&self, update: crate::EntryName) -> Option<AuditJob> {
        self.audits.auditor().job(&self.set.fold, update.into())
    }

    /// What follows from any change: being evicted, more to pull, being caught up, something final, being finished.
    fn settle(&mut self) {
        self.check_own_eviction();
        self.pull();
        self.check_caught_up();
        self.check_final();
        self.check_finished();
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
            Message::Announce { entries } => self.on_announce(from, &entries),
            Message::Candidates { addresses } => self.on_candidates(from, &addresses),
            Message::Certificates { chain } => self.on_certificates(from, chain),
            Message::Chunk { root, index, bytes } => self.on_chunk(from, root, index, &bytes),
            Message::ChunkList { root, length, hashes } => self.on_chunk_list(from, root, length, hashes),
            Message::Digest(digest) => self.on_digest(from, &digest),
            Message::Entries { items } => self.on_entries(from, items),
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
            Message::Want(want) => self.on_want(from, want),
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
        self.say_goodbye();
    }

    fn on_want_manifest(&mut self, from: PeerId, run: Hash) {
        if run == self.set.fold.run() {
            let bytes = self.manifest.clone();
            self.send(from, &Message::Manifest { bytes });
        }
    }

    /// Inserts into the set and tells the world what changed. The one place where the set changes.
    fn insert(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) -> Insertion {
        let (shared, kept) = (entry.clone(), payload.clone());
        let behind =
            self.set.fold.log().excluded(&entry.author()).filter(|late| late.seq() + 1 == entry.seq()).cloned();
        let insertion = self.set.fold.insert(entry, payload);
        if let Insertion::Applied { voided } = &insertion {
            self.set.changed();
            self.gossip.grow(shared.author());
            // Without the excluded entry that it follows, it would not fit after a restart.
            if let Some(late) = behind {
                let record = StoredEntry::new(&late, None);
                self.core.outputs.push_back(Output::Append { record, durable: false });
            }
            let record = StoredEntry::new(&shared, kept);
            // An own entry that comes back from others is not the newest: that one stays where it is.
            let durable = shared.author() == self.id() && self.catch_up.may_sign(shared.seq());
            self.core.outputs.push_back(Output::Append { record, durable });
            self.report(&shared, *voided);
            self.announce(&shared);
            self.consider_audits(&shared);
        }
        insertion
    }

    fn report(&mut self, entry: &Entry, voided: Option<PeerId>) {
        let name = crate::EntryName { author: entry.author(), seq: entry.seq() };
        if let Some(update) = entry.update() {
            let record = self.set.fold.log().record(&name.author, name.seq);
            let weight_q16 = record.map_or(0, |record| record.applied.q16());
            self.core.tell(Event::Applied { update: name, tokens: update.tokens, weight_q16 });
        }
        if let Some(verdict) = entry.verdict() {
            let update = crate::EntryName { author: verdict.author, seq: verdict.seq };
            self.core.tell(Event::Audited { update, auditor: name.author, passed: verdict.passed });
        }
        if let Some(peer) = voided {
            self.on_evicted(peer);
        }
    }
}
