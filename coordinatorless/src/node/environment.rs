//! What every machine may use: the time, settings, keys, random choices and outputs; and, above the limits, the network.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Hash, Identity, PeerId, Rules};
use murmur_verification::Lottery;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    connectivity::Neighbours,
    context::Raised,
    limits::{self, Limits},
};
use crate::{Config, Event, Message, Output, StoredEntry, Time, message::Request};

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
    pub(super) raised: VecDeque<Raised>,
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

    /// Sends a message that wants no answer. A request goes through [`Network::request`], because the limits must know of it.
    pub(crate) fn send(&mut self, to: PeerId, message: &Message) {
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

    /// Sends a neighbour a message that wants no answer.
    pub(crate) fn send(&mut self, to: PeerId, message: &Message) {
        self.core.send(to, message);
    }

    /// Sends a neighbour a request. The limits let its answer in.
    pub(crate) fn request(&mut self, to: PeerId, request: Request) {
        self.limits.expect_answer(self.core, &to, &request);
        self.core.send(to, &request.into());
    }

    /// Counts an offence of `peer`. What follows from that is raised.
    pub(crate) fn strike(&mut self, peer: PeerId, reason: String) {
        self.limits.strike(self.core, peer, reason);
    }

    /// When an answer to `request` is overdue.
    pub(crate) fn overdue_at(&self, request: &Request) -> Time {
        limits::overdue_at(self.core, request)
    }

    /// Connected peers, ascending, without those that are evicted.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.neighbours.iter().map(|(peer, _)| peer)
    }

    /// Those of [`Network::peers`] with whom entries are exchanged.
    pub(crate) fn near(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.neighbours.iter().filter(|(_, neighbour)| neighbour.is_near()).map(|(peer, _)| peer)
    }

    /// How many are connected, evicted or not.
    pub(crate) fn connected_count(&self) -> usize {
        self.neighbours.len()
    }
}
