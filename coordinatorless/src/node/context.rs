//! What every machine may use, and how what one machine raises reaches the others.
//!
//! Machines call only those below them. What concerns one above is *raised*: the node hands it on as soon as the machine
//! has returned, and whatever that raises in turn before anything raised later. So raising is a call that happens at the
//! end, and the order of outputs is that of nested calls.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Entry, Hash, Identity, PeerId, Rules};
use murmur_verification::{
    Lottery,
    audit::{Input, carry_bytes_max},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    Node,
    audits::{self, Audits},
    contents::Wanted,
    dialing::Purpose,
    eviction::{self, Evictions},
    limits,
    limits::Limits,
    neighbours::Neighbours,
};
use crate::{Closing, Config, EntryName, Event, Message, Output, Time};

/// Something that a machine raised for others to act on.
#[derive(Debug)]
pub(crate) enum Raised {
    /// By the limits.
    Limits(limits::Event),
    /// By the audits.
    Audits(audits::Event),
    /// By evictions.
    Eviction(eviction::Event),
}

impl From<limits::Event> for Raised {
    fn from(event: limits::Event) -> Self {
        Self::Limits(event)
    }
}

impl From<audits::Event> for Raised {
    fn from(event: audits::Event) -> Self {
        Self::Audits(event)
    }
}

impl From<eviction::Event> for Raised {
    fn from(event: eviction::Event) -> Self {
        Self::Eviction(event)
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

    /// What was raised since the last call, in order.
    pub(crate) fn take_raised(&mut self) -> Vec<Raised> {
        core::mem::take(&mut self.raised).into()
    }
}

/// The way to other peers, for machines above those that make and guard connections.
pub(crate) struct Network<'a> {
    pub(crate) core: &'a mut Core,
    limits: &'a mut Limits,
    neighbours: &'a Neighbours,
}

impl Network<'_> {
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
                Raised::Audits(event) => self.on_audits(event),
                Raised::Eviction(event) => self.on_eviction(event),
            }
            self.route();
            self.core.raised = later;
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
        Network { core: &mut self.core, limits: &mut self.limits, neighbours: &self.neighbours }
    }
}

/// Audits.
impl Node {
    /// The audits, and what they may touch.
    fn audits(&mut self) -> (&mut Audits, audits::Context<'_>) {
        let epoch = self.epoch_to_say();
        let Self { audits, core, set, neighbours, .. } = self;
        (audits, audits::Context { core, set, neighbours, epoch })
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
                self.seek(author, Purpose::Contact);
                if !self.is_sought(&author) {
                    self.on_carry_lost(root);
                }
            }
            audits::Event::Verdict(verdict) => self.author_verdict(verdict),
        }
    }

    fn is_sought(&self, peer: &PeerId) -> bool {
        self.dialing.seeks(peer) || self.reaching.seeks(peer)
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
        let Self { audits, core, set, neighbours, blobs, dialing, reaching, .. } = self;
        let mut cx = audits::Context { core, set, neighbours, epoch };
        let is_sought = |author: &PeerId| dialing.seeks(author) || reaching.seeks(author);
        audits.give_up_carries(&mut cx, |author, root| blobs.has_hope(root) || is_sought(author));
        self.route();
    }

    /// A peer is connected: carries that only it serves can be fetched.
    pub(super) fn on_reached(&mut self, peer: PeerId) {
        self.audit(Input::Reached(peer));
    }

    /// A peer could not be dialed: the carries that only it serves cannot be had, unless it has connected itself.
    pub(super) fn on_unreachable(&mut self, peer: PeerId) {
        if !self.neighbours.is_connected(&peer) {
            self.audit(Input::Unreachable(peer));
        }
    }

    /// A blob is complete: it may be a carry.
    pub(super) fn on_carry_complete(&mut self, root: Hash) {
        if let Some(bytes) = self.blobs.take(&root) {
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
        let Self { evictions, core, set, neighbours, audits, .. } = self;
        (evictions, eviction::Context { core, set, neighbours, audits, epoch })
    }

    fn on_eviction(&mut self, event: eviction::Event) {
        match event {
            eviction::Event::Unwanted(peer) => self.part_for_good(peer),
            eviction::Event::Opened(peer) => {
                self.set_evicted(peer);
                self.send_digest(peer, false);
            }
            eviction::Event::Closed(peer) => self.send_away(peer, Closing::Evicted),
            eviction::Event::Digest { from, lost, reply } => {
                if let Some(neighbour) = self.neighbours.entry(&from).filter(|_| lost) {
                    neighbour.told = None;
                }
                if reply {
                    self.send_digest(from, false);
                }
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
