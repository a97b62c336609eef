//! The node's part in the life of its machines: it lends each what that may touch, and hands on what they raise.
//!
//! Machines call only those below them. What concerns one above is *raised*: the node hands it on as soon as the machine
//! has returned, and whatever that raises in turn before anything raised later. So raising is a call that happens at the
//! end, and the order of outputs is that of nested calls.

mod calls;
mod connections;
mod events;
mod queries;
mod restart;

use murmur_collectives::PeerId;
use murmur_verification::audit::Input;

pub(crate) use super::environment::{Core, Network};
use super::{
    Node, audits,
    catch_up::{self, CatchUp, Known},
    connectivity::{self, Connectivity},
    eviction::{self, Evictions},
    finality::{self, Finality},
    limits,
    membership::{self, Membership},
    own_chain::{self, OwnChain},
    replication::{self, Replication},
    transfer::{self, Transfer},
};
use crate::Closing;

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
    ($($machine:ident => $variant:ident),* $(,)?) => {
        $(impl From<$machine::Event> for Raised {
            fn from(event: $machine::Event) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

raised! {
    limits => Limits,
    connectivity => Connectivity,
    membership => Membership,
    catch_up => CatchUp,
    transfer => Transfer,
    replication => Replication,
    finality => Finality,
    audits => Audits,
    eviction => Eviction,
    own_chain => OwnChain,
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
                    self.identity_guard.vouched(&peer, self.core.now);
                }
                Raised::Membership(membership::Event::Second) => self.stop_as_second(),
                Raised::CatchUp(event) => self.on_catch_up_event(event),
                Raised::Transfer(event) => self.on_transfer_event(event),
                Raised::Replication(event) => self.on_replication(event),
                Raised::Finality(finality::Event::Finalized) => self.on_finalized(),
                Raised::Finality(finality::Event::FetchFinal { from, chain, proposal }) => {
                    self.with_catch_up(|catch_up, cx| catch_up.begin_staging(cx, from, chain, *proposal));
                }
                Raised::Audits(event) => self.on_audits(event),
                Raised::Eviction(event) => self.on_eviction(event),
                Raised::OwnChain(own_chain::Event::Resume(step)) => {
                    let (machine, mut cx) = self.own_chain();
                    machine.resume(&mut cx, step);
                }
                Raised::OwnChain(own_chain::Event::FinishBegun) => self.with_replication(Replication::anti_entropy_now),
            }
            // Not by recursion: an operation of many steps raises each from the one before.
            let first = core::mem::replace(&mut self.core.raised, later);
            first.into_iter().rev().for_each(|event| self.core.raised.push_front(event));
        }
    }

    /// Counts an offence of `peer`.
    pub(crate) fn strike(&mut self, peer: PeerId, reason: String) {
        self.limits.strike(&mut self.core, peer, reason);
        self.route();
    }

    /// The way to other peers.
    pub(crate) fn network(&mut self) -> Network<'_> {
        Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours())
    }

    /// Lends connectivity what it may touch to `act`, and hands on what it raises.
    pub(crate) fn with_connectivity<T>(
        &mut self,
        act: impl FnOnce(&mut Connectivity, &mut connectivity::Context<'_>) -> T,
    ) -> T {
        let swarm = self.membership.swarm(self.own_chain.is_finishing());
        let Self { core, limits, set, connectivity, .. } = self;
        let outcome = act(connectivity, &mut connectivity::Context { core, limits, set, swarm });
        self.route();
        outcome
    }

    /// The same with membership.
    pub(crate) fn with_membership<T>(
        &mut self,
        act: impl FnOnce(&mut Membership, &mut membership::Context<'_>) -> T,
    ) -> T {
        let is_finishing = self.own_chain.is_finishing();
        let Self { core, limits, set, connectivity, membership, .. } = self;
        let outcome = act(membership, &mut membership::Context { core, limits, set, connectivity, is_finishing });
        self.route();
        outcome
    }

    /// The transfer, and what it may touch.
    pub(crate) fn transfer(&mut self) -> (&mut Transfer, transfer::Context<'_>) {
        let net = Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours());
        (&mut self.transfer, transfer::Context { net, set: &self.set, own_carries: &self.own_carries })
    }

    /// The same with the transfer.
    pub(crate) fn with_transfer<T>(&mut self, act: impl FnOnce(&mut Transfer, &mut transfer::Context<'_>) -> T) -> T {
        let (machine, mut cx) = self.transfer();
        let outcome = act(machine, &mut cx);
        self.route();
        outcome
    }

    /// What replication needs to know of the other machines.
    pub(crate) fn replication_mode(&self) -> replication::Mode {
        replication::Mode {
            is_staging: self.catch_up.is_staging(),
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

    /// The same with replication.
    pub(crate) fn with_replication<T>(
        &mut self,
        act: impl FnOnce(&mut Replication, &mut replication::Context<'_>) -> T,
    ) -> T {
        let (machine, mut cx) = self.replication();
        let outcome = act(machine, &mut cx);
        self.route();
        outcome
    }

    /// The own chain, and what it may touch.
    pub(crate) fn own_chain(&mut self) -> (&mut OwnChain, own_chain::Context<'_>) {
        let (mode, audits_open, is_alone) =
            (self.replication_mode(), self.audits_open(), self.identity_guard.is_sure());
        let cx = own_chain::Context {
            net: Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours()),
            set: &mut self.set,
            replication: &mut self.replication,
            mode,
            own_carries: &mut self.own_carries,
            catch_up: &self.catch_up,
            is_alone,
            audits_open,
        };
        (&mut self.own_chain, cx)
    }

    /// The same with the own chain.
    pub(crate) fn with_own_chain<T>(&mut self, act: impl FnOnce(&mut OwnChain, &mut own_chain::Context<'_>) -> T) -> T {
        let (machine, mut cx) = self.own_chain();
        let outcome = act(machine, &mut cx);
        self.route();
        outcome
    }

    /// The same with finality.
    pub(crate) fn with_finality<T>(&mut self, act: impl FnOnce(&mut Finality, &mut finality::Context<'_>) -> T) -> T {
        let joining = self.catch_up.joining();
        let net = Network::new(&mut self.core, &mut self.limits, self.connectivity.neighbours());
        let mut cx = finality::Context::new(net, &mut self.set, &self.membership, &mut self.replication, joining);
        let outcome = act(&mut self.finality, &mut cx);
        self.route();
        outcome
    }

    /// The same as [`Node::with_connectivity`] with catching up.
    pub(crate) fn with_catch_up<T>(&mut self, act: impl FnOnce(&mut CatchUp, &mut catch_up::Context<'_>) -> T) -> T {
        let Self { core, limits, set, connectivity, transfer, own_carries, replication, finality, .. } = self;
        let (identity_guard, catch_up) = (&self.identity_guard, &mut self.catch_up);
        let neighbours = connectivity.neighbours();
        let known = |peer| Known {
            peer,
            epoch: replication.epoch_at(&peer),
            fallen: finality.is_superseded(&peer),
            digest: replication.claims(&peer).map(|claims| (&claims.vector, claims.root)),
        };
        let mut context = catch_up::Context {
            net: Network::new(core, limits, neighbours),
            set,
            transfer,
            own_carries,
            known: &|| neighbours.iter().map(|(peer, _)| known(peer)).collect(),
            is_finality_on: finality.is_on(),
            awaits_decided: finality.awaits_entries(),
            is_alone: identity_guard.is_sure(),
        };
        let outcome = act(catch_up, &mut context);
        self.route();
        outcome
    }

    /// Tells the audits what happened, and hands on what they raise.
    pub(crate) fn audit(&mut self, input: Input<'_>) {
        let Self { audits, core, set, connectivity, .. } = self;
        audits.handle(&mut audits::Context { core, set, neighbours: connectivity.neighbours() }, input);
        self.route();
    }

    /// The same as [`Node::with_connectivity`] with evictions.
    pub(crate) fn with_evictions<T>(&mut self, act: impl FnOnce(&mut Evictions, &mut eviction::Context<'_>) -> T) -> T {
        let Self { evictions, core, set, connectivity, audits, .. } = self;
        let mut cx = eviction::Context { core, set, neighbours: connectivity.neighbours(), audits };
        let outcome = act(evictions, &mut cx);
        self.route();
        outcome
    }
}
