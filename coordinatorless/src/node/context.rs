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

use murmur_collectives::{Certificate, Entry, Fold, Hash, Identity, PeerId, Proposal, Rules, State};
use murmur_verification::Lottery;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    Node, catch_up,
    catch_up::{CatchUp, Known, Replacement, Restored, read_checkpoint, store_checkpoint},
    limits,
    limits::Limits,
    neighbours::Neighbours,
    transfer::{self, Transfer, Wanted},
};
use crate::{Closing, Config, Event, Message, Output, StoredEntry, Time};

/// Something that a machine raised for others to act on.
#[derive(Debug)]
pub(crate) enum Raised {
    /// By the limits.
    Limits(limits::Event),
    /// By catching up.
    CatchUp(catch_up::Event),
    /// By the transfer of blobs.
    Transfer(transfer::Event),
}

impl From<limits::Event> for Raised {
    fn from(event: limits::Event) -> Self {
        Self::Limits(event)
    }
}

impl From<catch_up::Event> for Raised {
    fn from(event: catch_up::Event) -> Self {
        Self::CatchUp(event)
    }
}

impl From<transfer::Event> for Raised {
    fn from(event: transfer::Event) -> Self {
        Self::Transfer(event)
    }
}

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

    /// Raises something for the node to hand on.
    pub(crate) fn raise(&mut self, event: impl Into<Raised>) {
        self.raised.push_back(event.into());
    }

    /// What was raised first, for tests that stand in for the node.
    #[cfg(test)]
    pub(crate) fn next_raised(&mut self) -> Option<Raised> {
        self.raised.pop_front()
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
            let later = core::mem::take(&mut self.core.raised);
            match event {
                Raised::Limits(limits::Event::Banned(peer)) => self.send_away(peer, Closing::Misbehaved),
                Raised::CatchUp(event) => self.on_catch_up_event(event),
                Raised::Transfer(event) => self.on_transfer_event(event),
            }
            self.route();
            self.core.raised = later;
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
            catch_up::Event::Replaces(replacement) => {
                let old = self.replace_fold(*replacement);
                self.neighbours.forget_fallen();
                self.in_catch_up(|catch_up, cx| catch_up.on_replaced(cx, old));
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
        Network::new(&mut self.core, &mut self.limits, &self.neighbours)
    }

    fn transfer(&mut self) -> (&mut Transfer, transfer::Context<'_>) {
        let net = Network::new(&mut self.core, &mut self.limits, &self.neighbours);
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

    fn catch_up(&mut self) -> (&mut CatchUp, catch_up::Context<'_>) {
        let room = self.room();
        let known = self.neighbours.iter().map(|(peer, neighbour)| Known {
            peer,
            epoch: neighbour.epoch,
            fallen: neighbour.fallen,
            digest: neighbour.digest.as_ref(),
        });
        let finality = &self.finality;
        let context = catch_up::Context {
            net: Network::new(&mut self.core, &mut self.limits, &self.neighbours),
            set: &self.set,
            transfer: &mut self.transfer,
            gossip: &mut self.gossip,
            room,
            known: known.collect(),
            chain: &finality.chain,
            is_finality_on: finality.is_on(),
            awaits_decided: finality.pending.is_some() && !finality.getting.is_hopeless,
            is_alone: self.solitude.is_sure(),
        };
        (&mut self.catch_up, context)
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

    /// The newest final frontier begins to be served, and the disk follows.
    pub(super) fn keep_final(&mut self) {
        store_checkpoint(&mut self.catch_up().1);
    }

    /// Puts back what [`Output::Compact`] stored and what was appended since.
    pub(super) fn restore_compacted(&mut self, proof: &[u8], state: State, entries: Vec<StoredEntry>) {
        let Some(Restored { replacement, later }) = read_checkpoint(&self.set.fold, proof, state, entries) else {
            // Its parts do not belong together: everything comes again from the network.
            self.core.outputs.push_back(Output::Reset);
            return;
        };
        self.replace_fold(replacement);
        self.put_back(later);
        self.transfer.serve_final(&self.set);
    }

    /// Lets the set begin at a final frontier; gives the old fold back.
    fn replace_fold(&mut self, Replacement { fold, chain }: Replacement) -> Fold {
        self.begin_epoch();
        self.finality.chain = chain;
        core::mem::replace(&mut self.set.fold, fold)
    }
}
