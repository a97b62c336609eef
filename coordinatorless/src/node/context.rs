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

use super::{Node, finality, finality::Finality, limits, limits::Limits, neighbours::Neighbours};
use crate::{Closing, Config, Event, Message, Output, Time};

/// Something that a machine raised for others to act on.
#[derive(Debug)]
pub(crate) enum Raised {
    /// By the limits.
    Limits(limits::Event),
    /// By finality.
    Finality(finality::Event),
}

impl From<limits::Event> for Raised {
    fn from(event: limits::Event) -> Self {
        Self::Limits(event)
    }
}

impl From<finality::Event> for Raised {
    fn from(event: finality::Event) -> Self {
        Self::Finality(event)
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

    /// What was raised and not handed on.
    #[cfg(test)]
    pub(crate) fn take_raised(&mut self) -> Vec<Raised> {
        self.raised.drain(..).collect()
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
                Raised::Finality(finality::Event::Finalized) => self.on_finalized(),
                Raised::Finality(finality::Event::FetchFinal { from, chain, proposal }) => {
                    self.begin_staging(from, chain, *proposal);
                }
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
        Network::new(&mut self.core, &mut self.limits, &self.neighbours)
    }

    /// Has finality do something, and hands on what it raised.
    pub(crate) fn with_finality<R>(&mut self, act: impl FnOnce(&mut Finality, &mut finality::Context<'_>) -> R) -> R {
        let joining = self.catch_up.joining();
        let net = Network::new(&mut self.core, &mut self.limits, &self.neighbours);
        let (membership, gossip, neighbours) = (&self.membership, &mut self.gossip, &self.neighbours);
        let mut cx = finality::Context::new(net, &mut self.set, membership, gossip, neighbours, joining);
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
        let Some(state) = self.serve_final() else { return };
        let Some((root, foundation)) = self.finals.newest(&state) else { return };
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
}
