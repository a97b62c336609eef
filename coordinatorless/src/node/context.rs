//! What every machine may use, and how what one machine raises reaches the others.
//!
//! Machines call only those below them. What concerns one above is *raised*: the node hands it on as soon as the machine
//! has returned, and whatever that raises in turn before anything raised later. So raising is a call that happens at the
//! end, and the order of outputs is that of nested calls.

use core::time::Duration;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use murmur_collectives::{Certificate, Entry, Fold, Hash, Identity, PeerId, Proposal, Rules, State, Verdict};
use murmur_verification::{
    Lottery,
    audit::{Input, carry_bytes_max},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    Node, Stored,
    audits::{self, Audits},
    catch_up::{self, CatchUp, Known, Replacement, Restored, read_checkpoint},
    connectivity::{self, Connectivity, Neighbours, Purpose},
    eviction::{self, Evictions},
    finality::{self, Finality},
    limits::{self, Limits},
    membership::{self, Membership},
    own_chain::{self, OwnChain},
    replication::{self, Replication, Room, checked},
    transfer::{self, Checkpoint, Transfer, Wanted},
};
use crate::{Closing, Config, EntryName, Event, Message, Output, StoredEntry, Time};

/// Something that a machine raised for others to act on.
#[derive(Debug)]
pub(crate) enum Raised {
    Limits(limits::Event),
    Connectivity(connectivity::Event),
    Membership(membership::Event),
    CatchUp(catch_up::Event),
    Transfer(transfer::Event),
    Replication(replication::Event),
    Finality(finality::Event),
    Audits(audits::Event),
    Eviction(eviction::Event),
    OwnChain(own_chain::Event),
}

macro_rules! raised {
    ($($machine:ident => $variant:ident),*) => {
        $(impl From<$machine::Event> for Raised {
            fn from(event: $machine::Event) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

raised!(own_chain => OwnChain, audits => Audits, eviction => Eviction, catch_up => CatchUp, connectivity => Connectivity, finality => Finality, limits => Limits, membership => Membership, replication => Replication, transfer => Transfer);

/// The time, this peer's settings, keys and random choices, and what it wants done.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) now: Time,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) lottery: Lottery,
    pub(crate) class: Hash,
    /// The constants of the fold.
    pub(crate) rules: Arc<Rules>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) outputs: VecDeque<Output>,
    raised: VecDeque<Raised>,
}

impl Core {
    pub(crate) fn new(identity: Identity, class: Hash, rules: Arc<Rules>, config: Config, seed: u64) -> Self {
        Self {
            now: Time::default(),
            config,
            lottery: Lottery::of(&identity),
            identity,
            class,
            rules,
            rng: ChaCha8Rng::seed_from_u64(seed),
            outputs: VecDeque::new(),
            raised: VecDeque::new(),
        }
    }

    /// Who this peer is.
    pub(crate) fn id(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Tells the trainer or the user.
    pub(crate) fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Puts a message out. A machine does so by way of the limits, which have to know of requests.
    pub(crate) fn post(&mut self, to: PeerId, message: &Message) {
        let (kind, bytes) = (message.kind(), message.encode());
        self.outputs.push_back(Output::Send { to, kind, bytes });
    }

    /// Has an entry stored.
    pub(crate) fn append(&mut self, record: StoredEntry, durable: bool) {
        self.outputs.push_back(Output::Append { record, durable });
    }

    /// Raises something for the node to hand on.
    pub(crate) fn raise(&mut self, event: impl Into<Raised>) {
        self.raised.push_back(event.into());
    }

    /// What was raised first, for tests that stand in for the node.
    #[cfg(test)]
    pub(crate) fn next_raised(&mut self) -> Option<Raised> {
        self.raised.pop_front()
    }

    /// What was raised and not handed on, for tests of one machine.
    #[cfg(test)]
    pub(crate) fn take_raised(&mut self) -> Vec<Raised> {
        core::mem::take(&mut self.raised).into()
    }

    /// A random number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.rng.next_u64()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Between seven and nine eighths of `duration`, so that peers do not act in step.
    pub(crate) fn jittered(&mut self, duration: Duration) -> Duration {
        let part = u32::try_from(self.below(256)).unwrap_or(0);
        duration * (896 + part) / 1024
    }
}

#[cfg(test)]
impl Core {
    /// A peer in a run with these rules, with nothing but what tests of one machine need.
    pub(crate) fn for_test(identity: Identity, class: Hash, rules: &Rules) -> Self {
        Self::new(identity, class, Arc::new(rules.clone()), Config::default(), 1)
    }
}

/// The way to other peers, for machines above those that make and guard connections.
pub(crate) struct Network<'a> {
    pub(crate) core: &'a mut Core,
    limits: &'a mut Limits,
    neighbours: &'a Neighbours,
}

impl<'a> Network<'a> {
    pub(super) fn new(core: &'a mut Core, limits: &'a mut Limits, neighbours: &'a Neighbours) -> Self {
        Self { core, limits, neighbours }
    }
}

impl Network<'_> {
    /// The same, for a machine below.
    pub(crate) fn reborrow(&mut self) -> Network<'_> {
        Network::new(self.core, self.limits, self.neighbours)
    }

    /// Sends a message to a neighbour.
    pub(crate) fn send(&mut self, to: PeerId, message: &Message) {
        self.limits.expect_answer(&self.core.rules, &to, message);
        self.core.post(to, message);
    }

    /// Counts an offence of `peer`. What follows from that is raised.
    pub(crate) fn strike(&mut self, peer: PeerId, reason: String) {
        self.limits.strike(self.core, peer, reason);
    }

    /// When an answer to `request` is overdue.
    pub(crate) fn overdue_at(&self, request: &Message) -> Time {
        limits::overdue_at(self.core, &self.core.rules, request)
    }

    /// Connected peers, ascending, without those that are evicted.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.neighbours.iter().map(|(peer, _)| peer)
    }

    /// Those of [`Network::peers`] with whom entries are exchanged.
    pub(crate) fn near(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.neighbours.iter().filter(|(_, neighbour)| neighbour.is_near()).map(|(peer, _)| peer)
    }

    /// Whether `peer` is connected, evicted or not.
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.neighbours.is_connected(peer)
    }

    /// How many are connected, evicted or not.
    pub(crate) fn connected_count(&self) -> usize {
        self.neighbours.len()
    }
}

impl Node {
    /// Hands on what was raised, the first before the second, and all that follows from the first before the second.
    pub(crate) fn route(&mut self) {
        while let Some(event) = self.core.raised.pop_front() {
            // Set aside, so that a handler that routes on its own hands on only what it raised itself.
            let later = core::mem::take(&mut self.core.raised);
            match event {
                Raised::Limits(limits::Event::Banned(peer)) => self.send_away(peer, Closing::Misbehaved),
                Raised::Connectivity(event) => self.on_connectivity(event),
                Raised::Membership(membership::Event::Vouched(peer)) => {
                    self.identity_guard.vouched(&peer, self.core.now)
                }
                Raised::Membership(membership::Event::Second) => self.stop_as_second(),
                Raised::CatchUp(event) => self.on_catch_up_event(event),
                Raised::Transfer(event) => self.on_transfer_event(event),
                Raised::Replication(event) => self.on_replication(event),
                Raised::Finality(finality::Event::Finalized) => self.on_finalized(),
                Raised::Finality(finality::Event::FetchFinal { from, chain, proposal }) => {
                    self.begin_staging(from, chain, *proposal);
                }
                Raised::Audits(event) => self.on_audits(event),
                Raised::Eviction(event) => self.on_eviction(event),
                Raised::OwnChain(own_chain::Event::Resume(step)) => {
                    let (machine, mut cx) = self.own_chain();
                    machine.resume(&mut cx, step);
                }
                Raised::OwnChain(own_chain::Event::FinishBegun) => self.replicate(Replication::anti_entropy_now),
            }
            // Not by recursion: an operation of many steps raises each from the one before.
            let first = core::mem::replace(&mut self.core.raised, later);
            first.into_iter().rev().for_each(|event| self.core.raised.push_front(event));
        }
    }

    fn on_replication(&mut self, event: replication::Event) {
        use replication::Event;
        match event {
            Event::Resume(step) => {
                let (machine, mut cx) = self.replication();
                machine.resume(&mut cx, step);
            }
            Event::Greeted(peer) => self.connectivity.greeted(&mut self.core, peer),
            Event::OtherRun(peer) => self.send_away(peer, Closing::OtherRun),
            Event::EpochTold { peer, epoch, frontier } => self.compare_epochs(peer, epoch, frontier),
            Event::EpochAhead { peer, epoch } => self.seek_epoch(peer, epoch),
            Event::Applied(entry) => self.consider_audits(&entry),
            Event::Evicted(peer) => self.on_evicted(peer),
            Event::ForkProven { forger, proof } => {
                self.on_evicted(forger);
                self.write(|own, cx| own.repeat_evidence(cx, &proof));
            }
            Event::Forks { held, other } => self.write(|own, cx| own.author_evidence(cx, &held, &other)),
            Event::Staged { entry, payload } => self.stage(*entry, payload),
            Event::AnswerStaged(authors) => self.stage_more(&authors),
        }
    }

    fn on_transfer_event(&mut self, event: transfer::Event) {
        match event {
            transfer::Event::Chunk { root, index, bytes } => {
                self.in_catch_up(|catch_up, cx| catch_up.on_chunk(cx, root, index, bytes));
            }
            transfer::Event::Complete(root) => {
                let (catch_up, mut cx) = self.catch_up();
                if !catch_up.on_blob_complete(&mut cx, root) {
                    self.on_carry_complete(root);
                }
            }
            transfer::Event::Lost(root) => {
                self.catch_up.on_blob_lost(&root);
                self.on_carry_lost(root);
            }
            transfer::Event::Continue(root) => {
                let (transfer, mut context) = self.transfer();
                transfer.advance(&mut context, root);
            }
        }
    }

    fn on_catch_up_event(&mut self, event: catch_up::Event) {
        match event {
            catch_up::Event::CaughtUp => self.start(),
            catch_up::Event::Follows => self.pull(),
            catch_up::Event::Keeps { entry, payload } => {
                self.replication.keep(*entry, payload, Room::of(&self.core.config));
            }
            catch_up::Event::Restores { entry, payload } => self.replication.hold(*entry, payload, Room::BOUNDLESS),
            catch_up::Event::Replaces(replacement) => {
                let old = self.replace_fold(*replacement);
                self.finality.forget_superseded();
                self.in_catch_up(|catch_up, cx| catch_up.on_replaced(cx, old));
                self.keep_final();
                self.retry_all_pending();
            }
            catch_up::Event::Seeks { peer, epoch } => self.seek_epoch(peer, epoch),
        }
    }

    /// Counts an offence of `peer`.
    pub(crate) fn strike(&mut self, peer: PeerId, reason: String) {
        self.limits.strike(&mut self.core, peer, reason);
        self.route();
    }

    /// Sends a message to a neighbour.
    pub(crate) fn send(&mut self, to: PeerId, message: &Message) {
        self.network().send(to, message);
    }

    /// The way to other peers.
    pub(crate) fn network(&mut self) -> Network<'_> {
        Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours())
    }

    fn on_connectivity(&mut self, event: connectivity::Event) {
        match event {
            connectivity::Event::Lost { peer, departed, closing } => {
                self.identity_guard.disconnected(&peer, self.core.now);
                self.replication.disconnected(&peer);
                self.finality.disconnected(&peer);
                self.forget_requests_to(peer);
                if departed {
                    self.core.tell(Event::Departed { peer });
                }
                closing.into_iter().for_each(|reason| self.core.outputs.push_back(Output::Close { peer, reason }));
            }
            connectivity::Event::Evicted { peer, departed } => {
                self.forget_requests_to(peer);
                if departed {
                    self.core.tell(Event::Departed { peer });
                }
            }
            connectivity::Event::Unreachable(peer) => self.on_unreachable(peer),
        }
    }

    /// Lets connectivity do something, and hands on what it raises.
    pub(crate) fn connect<T>(&mut self, act: impl FnOnce(&mut Connectivity, &mut connectivity::Context<'_>) -> T) -> T {
        let swarm = self.membership.swarm(self.own_chain.is_finishing());
        let Self { core, limits, set, connectivity, .. } = self;
        let outcome = act(connectivity, &mut connectivity::Context { core, limits, set, swarm });
        self.route();
        outcome
    }

    /// Lets membership do something, and hands on what it raises.
    pub(crate) fn member<T>(&mut self, act: impl FnOnce(&mut Membership, &mut membership::Context<'_>) -> T) -> T {
        let is_finishing = self.own_chain.is_finishing();
        let Self { core, limits, set, connectivity, membership, .. } = self;
        let outcome = act(membership, &mut membership::Context { core, limits, set, connectivity, is_finishing });
        self.route();
        outcome
    }

    /// Ends the connection with `peer` and does not seek it again.
    pub(crate) fn send_away(&mut self, peer: PeerId, reason: Closing) {
        self.connect(|connectivity, cx| connectivity.send_away(cx, peer, reason));
    }

    /// Peers connected now, ascending.
    pub fn neighbours(&self) -> Vec<PeerId> {
        self.connectivity.neighbours().iter().map(|(peer, _)| peer).collect()
    }

    fn transfer(&mut self) -> (&mut Transfer, transfer::Context<'_>) {
        let net = Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours());
        (&mut self.transfer, transfer::Context { net, set: &self.set })
    }

    /// Lets the transfer act, and hands on what it raised.
    pub(super) fn in_transfer(&mut self, act: impl FnOnce(&mut Transfer, &mut transfer::Context<'_>)) {
        let (transfer, mut context) = self.transfer();
        act(transfer, &mut context);
        self.route();
    }

    /// Starts fetching a blob, or adds a source for it.
    pub(super) fn fetch(&mut self, root: Hash, wanted: Wanted, source: PeerId) {
        self.in_transfer(|transfer, cx| transfer.fetch(cx, root, wanted, source));
    }

    /// What `peer` was asked for does not come.
    pub(super) fn forget_source(&mut self, peer: PeerId) {
        self.in_transfer(|transfer, cx| transfer.drop_source(cx, peer));
    }

    fn replication_mode(&self) -> replication::Mode {
        replication::Mode {
            is_staging: self.is_staging(),
            pulls: self.catch_up.pulls(),
            is_caught_up: self.catch_up.is_done(),
            is_finishing: self.own_chain.is_finishing(),
            is_closing: self.own_chain.is_closing(self.core.now),
            is_done_auditing: self.audits_open() == 0,
            signed_before: self.catch_up.own_count(),
        }
    }

    /// Replication, and what it may touch.
    pub(crate) fn replication(&mut self) -> (&mut Replication, replication::Context<'_>) {
        let mode = self.replication_mode();
        let net = Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours());
        (&mut self.replication, replication::Context { net, set: &mut self.set, mode })
    }

    /// Lets replication act, and hands on what it raises.
    pub(crate) fn replicate<T>(&mut self, act: impl FnOnce(&mut Replication, &mut replication::Context<'_>) -> T) -> T {
        let (machine, mut cx) = self.replication();
        let done = act(machine, &mut cx);
        self.route();
        done
    }

    /// Pulls what is lacking.
    pub(crate) fn pull(&mut self) {
        self.replicate(Replication::pull);
    }

    /// Tells `to` what this peer holds.
    pub(crate) fn send_digest(&mut self, to: PeerId, reply: bool) {
        self.replicate(|machine, cx| machine.send_digest(cx, to, reply));
    }

    /// Tries the entries that wait for chains that have grown.
    pub(crate) fn retry_pending(&mut self) {
        self.replicate(|machine, cx| machine.retry(cx.net.core));
    }

    /// Tries all entries that wait.
    pub(crate) fn retry_all_pending(&mut self) {
        self.replicate(|machine, cx| machine.retry_all(cx.net.core));
    }

    /// What `peer` was asked for is asked of others.
    pub(crate) fn forget_requests_to(&mut self, peer: PeerId) {
        self.replication.forget_requests_to(&peer);
        self.forget_source(peer);
    }

    /// The own chain, and what it may touch.
    fn own_chain(&mut self) -> (&mut OwnChain, own_chain::Context<'_>) {
        let (mode, audits_open, is_alone) =
            (self.replication_mode(), self.audits_open(), self.identity_guard.is_sure());
        let cx = own_chain::Context {
            net: Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours()),
            set: &mut self.set,
            replication: &mut self.replication,
            mode,
            transfer: &mut self.transfer,
            catch_up: &self.catch_up,
            is_alone,
            audits_open,
        };
        (&mut self.own_chain, cx)
    }

    /// Lets the own chain act, and hands on what it raises.
    pub(super) fn write<T>(&mut self, act: impl FnOnce(&mut OwnChain, &mut own_chain::Context<'_>) -> T) -> T {
        let (machine, mut cx) = self.own_chain();
        let done = act(machine, &mut cx);
        self.route();
        done
    }

    /// Begins the own chain, if nothing must be fetched first.
    pub(super) fn start(&mut self) {
        self.write(OwnChain::start);
    }

    /// Publishes the result of an audit.
    pub(super) fn author_verdict(&mut self, verdict: Verdict) {
        self.write(|own, cx| own.author_verdict(cx, verdict));
    }

    /// The epoch that an own verdict names.
    pub(super) fn epoch_to_say(&self) -> u32 {
        own_chain::epoch_to_say(&self.set, &self.id())
    }

    /// Puts back what was on disk.
    pub(super) fn restore(&mut self, stored: Stored) {
        let Stored { entries, compacted, fetched, signing: _, head, carries } = stored;
        let head = head.and_then(checked);
        // First of all, so that nothing before it is taken for the newest.
        head.iter().for_each(|(entry, _)| self.catch_up.expect_own(entry.seq() + 1));
        self.transfer.resume_from(fetched);
        match compacted {
            Some((proof, state)) => self.restore_compacted(&proof, state, entries),
            None => self.replication.put_back(&mut self.set, entries.into_iter().filter_map(checked)),
        }
        for bytes in carries {
            self.transfer.serve_blob(bytes, self.core.config.carries_kept);
        }
        if let Some((entry, payload)) = head {
            self.replication.hold(entry, payload, Room::of(&self.core.config));
        }
        self.retry_pending();
    }

    /// Has finality do something, and hands on what it raised.
    pub(crate) fn with_finality<R>(&mut self, act: impl FnOnce(&mut Finality, &mut finality::Context<'_>) -> R) -> R {
        let joining = self.catch_up.joining();
        let net = Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours());
        let mut cx = finality::Context::new(net, &mut self.set, &self.membership, &mut self.replication, joining);
        let result = act(&mut self.finality, &mut cx);
        self.route();
        result
    }

    /// Makes final what has been decided, then goes on deciding; in two calls, see the contract of [`Finality`].
    pub(crate) fn check_final(&mut self) {
        self.with_finality(Finality::finalize);
        self.with_finality(Finality::advance);
    }

    /// A frontier became final.
    fn on_finalized(&mut self) {
        self.forget_audits_of_the_excluded();
        self.keep_final();
        self.retry_all_pending();
    }

    /// The newest final frontier begins to be served, and the disk follows.
    pub(crate) fn keep_final(&mut self) {
        let Some(Checkpoint { foundation, state, root }) = self.transfer.serve_final(&self.set) else { return };
        self.with_finality(|finality, cx| finality.store(cx, state, root, &foundation));
    }

    /// `peer` knows that `epoch` is final: asks it for the proof, now and then.
    pub(crate) fn seek_epoch(&mut self, peer: PeerId, epoch: u32) {
        self.with_finality(|finality, cx| finality.seek_epoch(cx, peer, epoch));
    }

    /// Compares what is final at `peer` with what is final here.
    pub(crate) fn compare_epochs(&mut self, peer: PeerId, epoch: u32, name: Hash) {
        self.with_finality(|finality, cx| finality.compare_epochs(cx, peer, epoch, name));
    }

    /// Whether so much work is not final that this peer must add none.
    pub(crate) fn is_stalled(&mut self) -> bool {
        self.with_finality(Finality::is_stalled)
    }

    fn catch_up(&mut self) -> (&mut CatchUp, catch_up::Context<'_>) {
        let Self { core, limits, set, connectivity, transfer, replication, finality, identity_guard, catch_up, .. } =
            self;
        let known = connectivity.neighbours().iter().map(|(peer, _)| Known {
            peer,
            epoch: replication.epoch_at(&peer),
            fallen: finality.is_superseded(&peer),
            digest: replication.claims(&peer).map(|claims| (&claims.vector, claims.root)),
        });
        let known = known.collect();
        let context = catch_up::Context {
            net: Network::new(core, limits, connectivity.neighbours()),
            set,
            transfer,
            known,
            is_finality_on: finality.is_on(),
            awaits_decided: finality.awaits_entries(),
            is_alone: identity_guard.is_sure(),
        };
        (catch_up, context)
    }

    /// Lets catching up act, and hands on what it raised.
    pub(super) fn in_catch_up(&mut self, act: impl FnOnce(&mut CatchUp, &mut catch_up::Context<'_>)) {
        let (catch_up, mut context) = self.catch_up();
        act(catch_up, &mut context);
        self.route();
    }

    /// Looks whether the next stage of catching up begins.
    pub(super) fn check_caught_up(&mut self) {
        if !self.catch_up.is_done() {
            self.in_catch_up(CatchUp::check);
        }
    }

    /// Whether a final frontier is being fetched.
    pub(super) fn is_staging(&self) -> bool {
        self.catch_up.is_staging()
    }

    /// Begins to fetch the newest frontier of a chain of certificates that were checked.
    pub(super) fn begin_staging(&mut self, from: PeerId, chain: Vec<Certificate>, proposal: Proposal) {
        self.in_catch_up(|catch_up, cx| catch_up.begin_staging(cx, from, chain, proposal));
    }

    /// Takes an entry while a final frontier is fetched.
    pub(super) fn stage(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) {
        self.in_catch_up(|catch_up, cx| catch_up.stage(cx, entry, payload));
    }

    /// An answer came for entries of `authors` while a final frontier is fetched.
    pub(super) fn stage_more(&mut self, authors: &BTreeSet<PeerId>) {
        self.in_catch_up(|catch_up, cx| catch_up.stage_more(cx, authors));
    }

    /// Puts back what [`Output::Compact`] stored and what was appended since.
    pub(super) fn restore_compacted(&mut self, proof: &[u8], state: State, entries: Vec<StoredEntry>) {
        let Some(Restored { replacement, later }) = read_checkpoint(&self.set.fold, proof, state, entries) else {
            // Its parts do not belong together: everything comes again from the network.
            self.core.outputs.push_back(Output::Reset);
            return;
        };
        self.replace_fold(replacement);
        self.replication.put_back(&mut self.set, later);
        self.transfer.serve_final(&self.set);
    }

    /// Lets the set begin at a final frontier; gives the old fold back.
    fn replace_fold(&mut self, Replacement { fold, chain }: Replacement) -> Fold {
        self.with_finality(|finality, cx| finality.adopt(cx, chain));
        core::mem::replace(&mut self.set.fold, fold)
    }
}

/// Audits.
impl Node {
    /// The audits, and what they may touch.
    fn audits(&mut self) -> (&mut Audits, audits::Context<'_>) {
        let epoch = self.epoch_to_say();
        let Self { audits, core, set, connectivity, .. } = self;
        (audits, audits::Context { core, set, neighbours: connectivity.neighbours(), epoch })
    }

    /// Tells the audits what happened.
    fn audit(&mut self, input: Input<'_>) {
        let (audits, mut cx) = self.audits();
        audits.handle(&mut cx, input);
        self.route();
    }

    fn on_audits(&mut self, event: audits::Event) {
        match event {
            audits::Event::Fetch { author, root } => {
                let bytes_max = carry_bytes_max(self.set.fold.rules().parameters);
                self.fetch(root, Wanted::Bytes(bytes_max), author);
            }
            audits::Event::Seek { author, root } => {
                self.connect(|connectivity, cx| connectivity.seek(cx, author, Purpose::Contact));
                if !self.connectivity.is_seeking(&author) {
                    self.on_carry_lost(root);
                }
            }
            audits::Event::Verdict(verdict) => self.author_verdict(verdict),
        }
    }

    /// Audits under way here.
    pub(super) fn audits_open(&self) -> usize {
        self.audits.auditor().open_count()
    }

    /// An entry joined the set: it may call for a lottery. A peer that is catching up holds none.
    pub(super) fn consider_audits(&mut self, entry: &Entry) {
        if self.catch_up.is_done() {
            self.audit(Input::Joined(entry));
        }
    }

    /// Entries left the set.
    pub(super) fn forget_audits_of_the_excluded(&mut self) {
        self.audit(Input::Excluded);
    }

    /// Gives up carries that nobody is asked or dialed for any more.
    pub(super) fn give_up_lost_carries(&mut self) {
        let epoch = self.epoch_to_say();
        let Self { audits, core, set, connectivity, transfer, .. } = self;
        let mut cx = audits::Context { core, set, neighbours: connectivity.neighbours(), epoch };
        audits.give_up_carries(&mut cx, |author, root| transfer.has_hope(root) || connectivity.is_seeking(author));
        self.route();
    }

    /// A peer is connected: carries that only it serves can be fetched.
    pub(super) fn on_reached(&mut self, peer: PeerId) {
        self.audit(Input::Reached(peer));
    }

    /// A peer could not be dialed: the carries that only it serves cannot be had, unless it has connected itself.
    pub(super) fn on_unreachable(&mut self, peer: PeerId) {
        if !self.connectivity.neighbours().is_connected(&peer) {
            self.audit(Input::Unreachable(peer));
        }
    }

    /// A blob is complete: it may be a carry.
    pub(super) fn on_carry_complete(&mut self, root: Hash) {
        if let Some(bytes) = self.transfer.take(&root) {
            self.audit(Input::CarryArrived { root, sealed: bytes.into() });
        }
    }

    /// Nobody serves a blob, which may be a carry.
    pub(super) fn on_carry_lost(&mut self, root: Hash) {
        self.audit(Input::CarryLost { root });
    }

    /// The trainer replayed an update.
    pub(super) fn on_judged(&mut self, update: EntryName, passed: bool, replay: Hash) {
        self.audit(Input::Judged { update: update.into(), passed, replay });
    }

    /// The trainer could not replay an update.
    pub(super) fn on_unjudged(&mut self, update: EntryName) {
        self.audit(Input::Unjudged { update: update.into() });
    }
}

/// Evictions.
impl Node {
    /// Evictions, and what they may touch.
    fn evictions(&mut self) -> (&mut Evictions, eviction::Context<'_>) {
        let epoch = self.epoch_to_say();
        let Self { evictions, core, set, connectivity, audits, .. } = self;
        (evictions, eviction::Context { core, set, neighbours: connectivity.neighbours(), audits, epoch })
    }

    fn on_eviction(&mut self, event: eviction::Event) {
        match event {
            eviction::Event::Unwanted(peer) => self.connectivity.stop_seeking(&peer),
            eviction::Event::Opened(peer) => {
                self.connectivity.set_evicted(&mut self.core, peer);
                self.route();
                self.send_digest(peer, false);
            }
            eviction::Event::Closed(peer) => self.send_away(peer, Closing::Evicted),
            eviction::Event::Digest { from, digest } => {
                self.replicate(|machine, cx| machine.on_digest_of_evicted(cx, from, digest.lost, digest.reply));
            }
            eviction::Event::Request { from, request } => self.serve(from, request),
            eviction::Event::Goodbye(peer) => self.on_goodbye(peer),
        }
    }

    /// Updates of `peer` became void.
    pub(super) fn on_evicted(&mut self, peer: PeerId) {
        let (evictions, mut cx) = self.evictions();
        evictions.on_voided(&mut cx, peer);
        self.route();
    }

    /// An evicted peer is connected.
    pub(super) fn give_hearing(&mut self, peer: PeerId) {
        let (evictions, mut cx) = self.evictions();
        evictions.give_hearing(&mut cx, peer);
        self.route();
    }

    /// Ends hearings that have lasted long enough.
    pub(super) fn hearings_due(&mut self) {
        self.evictions.handle_timeout(&mut self.core);
        self.route();
    }

    /// An evicted peer says something in its hearing.
    pub(super) fn hear_out(&mut self, from: PeerId, message: Message) {
        self.evictions.on_message(&mut self.core, from, message);
        self.route();
    }

    /// Tells of the own eviction once it is proven.
    pub(super) fn check_own_eviction(&mut self) {
        self.evictions.check_own(&mut self.core, &self.set);
    }
}
