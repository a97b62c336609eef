//! The whole peer as a state machine without input or output of its own. This file only routes: inputs, timeouts and
//! messages, in the order of their tables, to the machine that handles each.
//!
//! Contract:
//! - [`Node::handle`] takes one [`Input`] and the time; then drain [`Node::poll_output`] until `None`, carrying out each
//!   output before taking the next.
//! - [`Node::poll_timeout`] says when [`Node::handle_timeout`] is due; it may change after every call above.
//! - Time never goes backwards. The same inputs at the same times give the same outputs, bit for bit.

mod audits;
#[cfg(test)]
mod bench;
mod catch_up;
mod connectivity;
mod context;
mod environment;
mod eviction;
mod finality;
mod footprint;
mod identity_guard;
mod limits;
mod membership;
mod own_carries;
mod own_chain;
mod replication;
mod set;
#[cfg(test)]
#[path = "../../collectives/tests/support/mod.rs"]
mod support;
mod transfer;

use std::sync::Arc;

use murmur_collectives::{Fold, Founder, Hash, Identity, PeerId, Rules, State};
use murmur_verification::{Lottery, audit};

use crate::{
    Config, Draft, Input, Message, Output, PeerAddress, StoredEntry, Time,
    message::{Notice, Request, Response, Sorted},
};
pub use audits::AuditJob;
pub use connectivity::{Mapping, MemberState, NeighbourView};
pub use footprint::Footprint;
pub use membership::Member;
pub use own_chain::{Delay, Snapshot};
pub use transfer::Fetched;
use {audits::Audits, catch_up::CatchUp, finality::Finality, own_carries::OwnCarries, own_chain::OwnChain};
use {
    connectivity::Connectivity, context::Core, eviction::Evictions, identity_guard::IdentityGuard, limits::Limits,
    membership::Membership, replication::Replication, set::Set, transfer::Transfer,
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
    connectivity: Connectivity,
    limits: Limits,
    identity_guard: IdentityGuard,
    evictions: Evictions,
    replication: Replication,
    own_carries: OwnCarries,
    transfer: Transfer,
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
        let identity_guard = IdentityGuard::new(catch_up.is_done());
        let membership = Membership::new(&identity, run, incarnation, config.swim, seed);
        let core = Core::new(identity, class, Arc::new(rules.clone()), config, seed);
        let mut node = Self {
            manifest,
            audits: Audits::new(&core),
            core,
            set: Set::new(Fold::new(run, rules, genesis)),
            membership,
            connectivity: Connectivity::new(&address_book),
            limits: Limits::default(),
            identity_guard,
            evictions: Evictions::default(),
            replication: Replication::default(),
            own_carries: OwnCarries::default(),
            transfer: Transfer::default(),
            catch_up,
            own_chain: OwnChain::default(),
            finality,
        };
        node.restore(stored);
        node.with_own_chain(OwnChain::start);
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
            Input::Datagram { from, bytes } => {
                return self.with_membership(|membership, cx| membership.on_datagram(cx, from, &bytes));
            }
            Input::DialFailed { address, retry } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_dial_failed(cx, address, retry));
            }
            Input::Disconnected { peer } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_disconnected(cx, peer));
            }
            Input::Finish { patience } => self.with_own_chain(|own, cx| own.begin_finish(cx, patience)),
            Input::Introduce { address } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_introduced(cx, address));
            }
            Input::Judged { update, passed, replay } => {
                self.audit(audit::Input::Judged { update: update.into(), passed, replay });
            }
            Input::Leave => self.leave(),
            Input::Moved { peer, address } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_moved(cx, peer, address));
            }
            Input::Message { from, bytes } => self.on_message(from, &bytes),
            Input::OwnAddresses { addresses } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_own_addresses(cx, addresses));
            }
            Input::Twin { address } => self.on_twin(address),
            Input::Unjudged { update } => self.audit(audit::Input::Unjudged { update: update.into() }),
        }
        self.settle();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.core.now = self.core.now.max(now);
        if self.membership.is_second() {
            return;
        }
        self.with_membership(|membership, cx| membership.membership_due(cx));
        if self.poll_timeout_of_the_rest().is_some_and(|due| due <= self.core.now) {
            self.identity_guard_due();
            self.with_connectivity(|connectivity, cx| connectivity.dials_due(cx));
            self.with_connectivity(|connectivity, cx| connectivity.traversals_due(cx));
            self.look_due();
            self.with_connectivity(|connectivity, cx| connectivity.view_due(cx));
            self.with_evictions(|evictions, cx| evictions.handle_timeout(cx.core));
            self.requests_waiting_due();
            self.with_replication(Replication::requests_due);
            self.with_transfer(Transfer::handle_timeout);
            self.with_replication(Replication::anti_entropy_due);
            self.with_catch_up(CatchUp::handle_timeout);
            self.with_finality(Finality::handle_timeout);
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
            self.connectivity.next_deadline(&self.core),
            self.identity_guard.next_deadline(&self.core),
            self.evictions.next_deadline(),
            self.limits.next_deadline(&self.core.config),
            self.transfer.next_deadline(),
            Some(self.replication.next_deadline()),
            self.catch_up.next_deadline(&self.core),
            self.own_chain.next_deadline(self.core.now),
            self.finality.next_deadline(&self.core, self.catch_up.joining()),
        ];
        due.into_iter().flatten().min()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// What follows from any change: being evicted, more to pull, being caught up, something final, being finished.
    fn settle(&mut self) {
        self.evictions.check_own(&mut self.core, &self.set);
        self.with_replication(Replication::pull);
        self.check_caught_up();
        self.check_final();
        self.with_own_chain(OwnChain::check_finished);
    }

    fn on_message(&mut self, from: PeerId, bytes: &[u8]) {
        self.connectivity.neighbours_mut().heard(&from, self.core.now);
        if !self.limits.admit_message(&self.core, &from, bytes.len()) {
            return;
        }
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.strike(from, error.to_string()),
        };
        if self.evictions.hears(&from) {
            return self.with_evictions(|evictions, cx| evictions.on_message(cx.core, from, message));
        }
        match message.into() {
            Sorted::Request(request) => self.serve(from, request),
            Sorted::Response(response) => self.on_response(from, response),
            Sorted::Notice(notice) => self.on_notice(from, notice),
        }
    }

    fn on_response(&mut self, from: PeerId, response: Response) {
        match response {
            Response::Absent { root } => self.with_transfer(|transfer, cx| transfer.on_absent(cx, from, root)),
            Response::Certificates { chain } => {
                self.with_finality(|finality, cx| finality.on_certificates(cx, from, chain));
            }
            Response::Chunk { root, index, bytes } => {
                self.with_transfer(|transfer, cx| transfer.on_chunk(cx, from, root, index, bytes));
            }
            Response::ChunkHashes { root, from: first, hashes } => {
                self.with_transfer(|transfer, cx| transfer.on_chunk_hashes(cx, from, root, first, hashes));
            }
            Response::ChunkList { root, length, hashes } => {
                self.with_transfer(|transfer, cx| transfer.on_chunk_list(cx, from, root, length, hashes));
            }
            Response::Entries { items } => self.with_replication(|machine, cx| machine.on_entries(cx, from, items)),
            Response::Frontier(proposal) => {
                self.with_finality(|finality, cx| finality.on_frontier(cx, from, *proposal));
            }
            Response::Manifest => self.strike(from, "sent a manifest that nobody asked for".to_owned()),
        }
    }

    fn on_notice(&mut self, from: PeerId, notice: Notice) {
        match notice {
            Notice::Announce { entries } => {
                self.with_replication(|machine, cx| machine.on_announce(cx, from, &entries));
            }
            Notice::Candidates { addresses } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_candidates(cx, from, &addresses));
            }
            Notice::Digest(digest) => self.with_replication(|machine, cx| machine.on_digest(cx, from, digest)),
            Notice::Goodbye => self.on_goodbye(from),
            Notice::Meet { peer } => self.with_connectivity(|connectivity, cx| connectivity.on_meet(cx, from, peer)),
            Notice::Observed { address, relay } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_observed(cx, from, address, relay));
            }
            Notice::Peers { peers } => {
                self.with_connectivity(|connectivity, cx| connectivity.on_peers(cx, from, &peers));
            }
            Notice::Punch { peer } => self.with_connectivity(|connectivity, cx| connectivity.on_punch(cx, peer)),
            Notice::Votes { votes } => self.with_finality(|finality, cx| finality.on_votes(cx, from, &votes)),
        }
    }

    /// Answers a request now if its sender's rate allows, else later.
    fn serve(&mut self, from: PeerId, request: Request) {
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

    fn answer(&mut self, from: PeerId, request: Request) {
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
    fn on_request(&mut self, from: PeerId, request: Request) {
        match request {
            Request::Entries(want) => self.with_replication(|machine, cx| machine.on_want(cx, from, want)),
            Request::Certificates { from: first } => {
                self.with_finality(|finality, cx| finality.on_want_certificates(cx, from, first));
            }
            Request::ChunkHashes { root, from: first } => {
                self.with_transfer(|transfer, cx| transfer.on_want_chunk_hashes(cx, from, root, first));
            }
            Request::ChunkList { root } => {
                self.with_transfer(|transfer, cx| transfer.on_want_chunk_list(cx, from, root));
            }
            Request::Chunks { root, indices } => {
                self.with_transfer(|transfer, cx| transfer.on_want_chunks(cx, from, root, &indices));
            }
            Request::Frontier { name } => {
                self.with_finality(|finality, cx| finality.on_want_frontier(cx, from, name));
            }
            Request::Manifest { run } => self.on_want_manifest(from, run),
        }
    }

    /// Takes an update of the trainer, unless too many tokens are not final.
    fn author_update(&mut self, draft: Box<Draft>) {
        if !self.with_finality(Finality::is_stalled) {
            self.with_own_chain(|own, cx| own.author_update(cx, draft));
        }
    }

    fn on_want_manifest(&mut self, from: PeerId, run: Hash) {
        if run == self.set.fold.run() {
            let bytes = self.manifest.clone();
            self.core.send(from, &Message::Manifest { bytes });
        }
    }
}
