//! The whole peer as a state machine without input or output of its own. This file only routes.
//!
//! Contract:
//! - [`Node::handle`] takes one [`Input`] and the time; then drain [`Node::poll_output`] until `None`, carrying out each
//!   output before taking the next.
//! - [`Node::poll_timeout`] says when [`Node::handle_timeout`] is due; it may change after every call above.
//! - Time never goes backwards. The same inputs at the same times give the same outputs, bit for bit.

mod anti_entropy;
mod audits;
#[cfg(test)]
mod bench;
mod blobs;
mod catch_up;
mod certificates;
mod chain;
mod connectivity;
mod contents;
mod context;
mod eviction;
mod finals;
mod finish;
mod footprint;
mod frontier;
mod gossip;
mod identity_guard;
mod limits;
mod membership;
mod overdue;
mod pending;
mod pull;
mod set;
mod staging;
mod turns;
mod vow;

use std::{net::SocketAddr, sync::Arc};

use murmur_collectives::{Entry, Fold, Founder, Hash, Identity, Insertion, PeerId, Rules, State};
use murmur_verification::Lottery;

use crate::{Closing, Config, Event, Fetched, Input, Message, Output, PeerAddress, Reach, StoredEntry, Time};
pub use audits::AuditJob;
pub use chain::Snapshot;
pub use connectivity::{Mapping, MemberState, NeighbourView};
pub use finish::Delay;
pub use footprint::Footprint;
pub use membership::Member;
use {
    audits::Audits, blobs::Blobs, catch_up::CatchUp, finals::Finals, finish::Finish, frontier::Finality, gossip::Gossip,
};
use {
    connectivity::Connectivity, context::Core, eviction::Evictions, identity_guard::IdentityGuard, limits::Limits,
    membership::Membership, set::Set,
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
    connectivity: Connectivity,
    limits: Limits,
    identity_guard: IdentityGuard,
    evictions: Evictions,
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
        let identity_guard = IdentityGuard::new(catch_up.is_done());
        let membership = Membership::new(&identity, run, incarnation, config.swim, seed);
        let mut node = Self {
            manifest,
            core: Core::new(identity, class, Arc::new(rules.clone()), config, seed),
            set: Set::new(Fold::new(run, rules, genesis)),
            roots_compared: (0, 0),
            membership,
            connectivity: Connectivity::new(&address_book),
            limits: Limits::default(),
            identity_guard,
            evictions: Evictions::default(),
            gossip: Gossip::default(),
            blobs: Blobs::default(),
            finals: Finals::default(),
            catch_up,
            audits: Audits::default(),
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
            Input::Datagram { from, bytes } => {
                return self.member(|membership, cx| membership.on_datagram(cx, from, &bytes));
            }
            Input::DialFailed { address, retry } => {
                self.connect(|connectivity, cx| connectivity.on_dial_failed(cx, address, retry));
            }
            Input::Disconnected { peer } => self.connect(|connectivity, cx| connectivity.on_disconnected(cx, peer)),
            Input::Finish { patience } => self.begin_finish(patience),
            Input::Introduce { address } => self.connect(|connectivity, cx| connectivity.on_introduced(cx, address)),
            Input::Judged { update, passed, replay } => self.on_judged(update, passed, replay),
            Input::Leave => self.leave(),
            Input::Moved { peer, address } => self.connect(|connectivity, cx| connectivity.on_moved(cx, peer, address)),
            Input::Message { from, bytes } => self.on_message(from, &bytes),
            Input::OwnAddresses { addresses } => {
                self.connect(|connectivity, cx| connectivity.on_own_addresses(cx, addresses));
            }
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
        self.member(|membership, cx| membership.membership_due(cx));
        if self.poll_timeout_of_the_rest().is_some_and(|due| due <= self.core.now) {
            self.identity_guard_due();
            self.connect(|connectivity, cx| connectivity.dials_due(cx));
            self.connect(|connectivity, cx| connectivity.traversals_due(cx));
            self.look_due();
            self.connect(|connectivity, cx| connectivity.view_due(cx));
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
            self.connectivity.next_deadline(&self.core),
            self.identity_guard.next_deadline(&self.core),
            self.evictions.next_deadline(),
            self.limits.next_deadline(&self.core.config),
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

    /// What follows from any change: being evicted, more to pull, being caught up, something final, being finished.
    fn settle(&mut self) {
        self.evictions.check_own(&mut self.core, &self.set);
        self.pull();
        self.check_caught_up();
        self.check_final();
        self.check_finished();
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
            return self.hear_out(from, message);
        }
        match message {
            Message::Absent { root } => self.on_absent(from, root),
            Message::Announce { entries } => self.on_announce(from, &entries),
            Message::Candidates { addresses } => {
                self.connect(|connectivity, cx| connectivity.on_candidates(cx, from, &addresses));
            }
            Message::Certificates { chain } => self.on_certificates(from, chain),
            Message::Chunk { root, index, bytes } => self.on_chunk(from, root, index, &bytes),
            Message::ChunkList { root, length, hashes } => self.on_chunk_list(from, root, length, hashes),
            Message::Digest(digest) => self.on_digest(from, &digest),
            Message::Entries { items } => self.on_entries(from, items),
            Message::Frontier(proposal) => self.on_frontier(from, *proposal),
            Message::Goodbye => self.on_goodbye(from),
            Message::Manifest { .. } => self.strike(from, "sent a manifest that nobody asked for".to_owned()),
            Message::Meet { peer } => self.connect(|connectivity, cx| connectivity.on_meet(cx, from, peer)),
            Message::Observed { address, relay } => {
                self.connect(|connectivity, cx| connectivity.on_observed(cx, from, address, relay));
            }
            Message::Punch { peer } => self.connect(|connectivity, cx| connectivity.on_punch(cx, peer)),
            Message::Peers { peers } => self.connect(|connectivity, cx| connectivity.on_peers(cx, from, &peers)),
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
        self.member(|membership, cx| membership.leave_swarm(cx));
        self.say_goodbye();
    }

    fn on_connected(&mut self, peer: PeerId, address: SocketAddr, reach: Reach) {
        let purpose = match self.connect(|connectivity, cx| connectivity.admit(cx, peer, address)) {
            Ok(purpose) => purpose,
            Err(reason) => return self.core.outputs.push_back(Output::Close { peer, reason }),
        };
        if self.connectivity.neighbours().is_connected(&peer) {
            self.forget_requests_to(peer); // a new connection took the place of the old one, and what was asked is lost
        }
        self.identity_guard.connected(peer, self.core.now);
        self.connect(|connectivity, cx| connectivity.begin(cx, peer, address, reach));
        self.member(|membership, cx| membership.show_card(cx, peer));
        if self.set.fold.is_evicted(&peer) {
            return self.give_hearing(peer);
        }
        if self.connect(|connectivity, cx| connectivity.invites(cx, peer, purpose)) {
            self.send_digest(peer, true);
        }
        self.connect(|connectivity, cx| connectivity.welcome(cx, peer));
        self.member(|membership, cx| membership.announce_self(cx, peer));
        self.on_reached(peer);
    }

    fn on_goodbye(&mut self, from: PeerId) {
        self.connect(|connectivity, cx| connectivity.on_goodbye(cx, from));
        self.member(|membership, cx| membership.member_left(cx, from));
        self.core.outputs.push_back(Output::Close { peer: from, reason: Closing::Goodbye });
    }

    /// Looks after the neighbourhood, and after what was asked of peers that are no longer sought.
    fn look_due(&mut self) {
        if !self.connectivity.is_look_due(&mut self.core) {
            return;
        }
        self.connect(|connectivity, cx| connectivity.close_idle(cx));
        self.connect(|connectivity, cx| connectivity.look_around(cx));
        self.connect(|connectivity, cx| connectivity.thin_out(cx));
        // The first announcement to a neighbour may have been lost.
        let near: Vec<PeerId> = self.network().near().collect();
        near.into_iter().for_each(|peer| self.member(|membership, cx| membership.announce_self(cx, peer)));
        self.give_up_lost_carries();
    }

    fn identity_guard_due(&mut self) {
        for peer in self.identity_guard.due(&self.core) {
            self.member(|membership, cx| membership.announce_to(cx, peer));
        }
    }

    /// A living process with the same identity is at `address`. One that is not sure to be alone yet has only just started,
    /// and stops; one that is will be told in time that the other stopped, or who of the two it is.
    fn on_twin(&mut self, address: SocketAddr) {
        self.connect(|connectivity, cx| connectivity.on_dial_failed(cx, address, false));
        if !self.identity_guard.is_sure() && !self.membership.is_second() {
            self.membership.stop_as_second();
            self.stop_as_second();
        }
    }

    /// An earlier process with the same identity is alive: this one stops, and leaves all connections to that one. It says no
    /// goodbye, as that would be taken for the other's.
    pub(crate) fn stop_as_second(&mut self) {
        self.core.tell(Event::IdentityInUse);
        self.connect(|connectivity, cx| connectivity.stop(cx));
    }

    /// Whatever still happens to a second process: it takes part in nothing.
    fn decline(&mut self, input: &Input) {
        if let Input::Connected { peer, .. } = input {
            self.core.outputs.push_back(Output::Close { peer: *peer, reason: Closing::Idle });
        }
    }

    /// Updates of `peer` have become void.
    fn on_evicted(&mut self, peer: PeerId) {
        self.forget_audits_of(peer);
        let Some(why) = self.set.fold.voided(&peer).filter(|_| peer != self.id()) else { return };
        self.core.tell(Event::Evicted { peer, why });
        self.give_hearing(peer);
    }

    /// Tells an evicted peer, if it is connected, what this one holds; or ends the connection if it had its hearing.
    fn give_hearing(&mut self, peer: PeerId) {
        self.connectivity.stop_seeking(&peer);
        if !self.connectivity.neighbours().is_connected(&peer) {
            return;
        }
        if !self.evictions.admits(peer, self.core.now) {
            return self.send_away(peer, Closing::Evicted);
        }
        self.connectivity.set_evicted(&mut self.core, peer);
        self.route();
        self.send_digest(peer, false);
    }

    fn hearings_due(&mut self) {
        for peer in self.evictions.end(self.core.now) {
            self.send_away(peer, Closing::Evicted);
        }
    }

    /// What an evicted peer says: it may ask, and nothing else.
    fn hear_out(&mut self, from: PeerId, message: Message) {
        match message {
            Message::Digest(digest) => {
                if let Some(neighbour) = self.connectivity.neighbours_mut().entry(&from).filter(|_| digest.lost) {
                    neighbour.told = None;
                }
                if digest.reply {
                    self.send_digest(from, false);
                }
            }
            Message::Goodbye => self.on_goodbye(from),
            request @ (Message::Want(_)
            | Message::WantCertificates { .. }
            | Message::WantChunkList { .. }
            | Message::WantChunks { .. }
            | Message::WantFrontier { .. }
            | Message::WantManifest { .. }) => self.serve(from, request),
            Message::Absent { .. }
            | Message::Announce { .. }
            | Message::Candidates { .. }
            | Message::Certificates { .. }
            | Message::Chunk { .. }
            | Message::ChunkList { .. }
            | Message::Entries { .. }
            | Message::Frontier(_)
            | Message::Manifest { .. }
            | Message::Meet { .. }
            | Message::Observed { .. }
            | Message::Peers { .. }
            | Message::Punch { .. }
            | Message::Votes { .. } => {}
        }
    }

    /// Members of the swarm that are up, this peer not counted.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self.membership.members().collect();
        members.sort_by_key(|member| member.peer);
        members
    }

    /// How many members are up, this peer not counted.
    pub fn member_count(&self) -> usize {
        self.membership.count()
    }

    /// Peers connected now, ascending, with what is known of each.
    pub fn neighbour_list(&self) -> Vec<NeighbourView> {
        let members = self.members();
        let state = |peer: &PeerId| match members.binary_search_by_key(peer, |member| member.peer) {
            Ok(at) if members[at].suspected => MemberState::Suspected,
            Ok(_) => MemberState::Alive,
            Err(_) => MemberState::Unknown,
        };
        self.connectivity.views(state)
    }

    /// How the packets of the connection to `peer` travel, if there is one.
    pub fn reach_of(&self, peer: &PeerId) -> Option<Reach> {
        self.connectivity.reach_of(peer)
    }

    /// How others see this peer's address.
    pub fn mapping(&self) -> Mapping {
        self.connectivity.mapping()
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
