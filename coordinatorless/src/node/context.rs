//! What every machine may use, and how what one machine raises reaches the others.
//!
//! Machines call only those below them. What concerns one above is *raised*: the node hands it on as soon as the machine
//! has returned, and whatever that raises in turn before anything raised later. So raising is a call that happens at the
//! end, and the order of outputs is that of nested calls.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Hash, Identity, PeerId, Rules};
use murmur_verification::Lottery;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::{
    Node,
    connectivity::{self, Connectivity, Neighbours},
    limits::{self, Limits},
    membership::{self, Membership},
};
use crate::{Closing, Config, Event, Message, Output, Time};

/// Something that a machine raised for others to act on.
#[derive(Debug)]
pub(crate) enum Raised {
    Limits(limits::Event),
    Connectivity(connectivity::Event),
    Membership(membership::Event),
}

impl From<limits::Event> for Raised {
    fn from(event: limits::Event) -> Self {
        Self::Limits(event)
    }
}

impl From<connectivity::Event> for Raised {
    fn from(event: connectivity::Event) -> Self {
        Self::Connectivity(event)
    }
}

impl From<membership::Event> for Raised {
    fn from(event: membership::Event) -> Self {
        Self::Membership(event)
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
    /// A peer in a run with these rules, for tests of a single machine.
    pub(crate) fn for_test(identity: Identity, class: Hash, rules: &Rules) -> Self {
        Self::new(identity, class, Arc::new(rules.clone()), Config::default(), 1)
    }

    /// The events that were raised since the last call, in order.
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
                Raised::Connectivity(event) => self.on_connectivity(event),
                Raised::Membership(membership::Event::Vouched(peer)) => {
                    self.identity_guard.vouched(&peer, self.core.now)
                }
                Raised::Membership(membership::Event::Second) => self.stop_as_second(),
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
        Network { core: &mut self.core, limits: &mut self.limits, neighbours: self.connectivity.neighbours() }
    }

    fn on_connectivity(&mut self, event: connectivity::Event) {
        match event {
            connectivity::Event::Lost { peer, departed, closing } => {
                self.identity_guard.disconnected(&peer, self.core.now);
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
        let swarm = self.membership.swarm(self.finish.is_begun());
        let Self { core, limits, set, connectivity, .. } = self;
        let outcome = act(connectivity, &mut connectivity::Context { core, limits, set, swarm });
        self.route();
        outcome
    }

    /// Lets membership do something, and hands on what it raises.
    pub(crate) fn member<T>(&mut self, act: impl FnOnce(&mut Membership, &mut membership::Context<'_>) -> T) -> T {
        let is_finishing = self.finish.is_begun();
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
}
