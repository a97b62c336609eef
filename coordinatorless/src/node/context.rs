//! What every machine may use, and how what one machine raises reaches the others.
//!
//! Machines call only those below them. What concerns one above is *raised*: the node hands it on as soon as the machine
//! has returned, and whatever that raises in turn before anything raised later. So raising is a call that happens at the
//! end, and the order of outputs is that of nested calls.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Hash, Identity, PeerId, Rules, Verdict};
use murmur_verification::Lottery;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    Node, Stored, limits,
    limits::Limits,
    neighbours::Neighbours,
    own_chain::{self, OwnChain},
    replication::{self, Replication, Room, checked},
};
use crate::{Closing, Config, Event, Message, Output, StoredEntry, Time};

/// Something that a machine raised for others to act on.
#[derive(Debug)]
pub(crate) enum Raised {
    /// By the limits.
    Limits(limits::Event),
    /// By replication.
    Replication(replication::Event),
    /// By the own chain.
    OwnChain(own_chain::Event),
}

impl From<own_chain::Event> for Raised {
    fn from(event: own_chain::Event) -> Self {
        Self::OwnChain(event)
    }
}

impl From<replication::Event> for Raised {
    fn from(event: replication::Event) -> Self {
        Self::Replication(event)
    }
}

impl From<limits::Event> for Raised {
    fn from(event: limits::Event) -> Self {
        Self::Limits(event)
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
            // Set aside, so that a handler that routes on its own hands on only what it raised itself.
            let later = core::mem::take(&mut self.core.raised);
            match event {
                Raised::Limits(limits::Event::Banned(peer)) => self.send_away(peer, Closing::Misbehaved),
                Raised::Replication(event) => self.on_replication(event),
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
            Event::Greeted(peer) => self.on_greeted(peer),
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
        let net = Network::new(&mut self.core, &mut self.limits, &self.neighbours);
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
        let (mode, audits_open, is_alone) = (self.replication_mode(), self.audits_open(), self.solitude.is_sure());
        let cx = own_chain::Context {
            net: Network::new(&mut self.core, &mut self.limits, &self.neighbours),
            set: &mut self.set,
            replication: &mut self.replication,
            mode,
            blobs: &mut self.blobs,
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
        self.blobs.keep_fetched(fetched);
        match compacted {
            Some((proof, state)) => self.restore_compacted(&proof, state, entries),
            None => self.replication.put_back(&mut self.set, entries.into_iter().filter_map(checked)),
        }
        for bytes in carries {
            self.blobs.keep_carry(bytes, self.core.config.carries_kept);
        }
        if let Some((entry, payload)) = head {
            self.replication.hold(entry, payload, Room::of(&self.core.config));
        }
        self.retry_pending();
    }
}
