//! Finality: voters decide on frontiers, and what a decided frontier contains can never change again.
//!
//! The rules of voting, and the argument for their safety, stand in [`murmur_collectives::Frontier`]; their bookkeeping is
//! [`Rounds`](murmur_collectives::Rounds), which has no clock. This machine adds the clock and the network:
//! - the *pacemaker* begins and ends rounds and gives every voter a turn to propose ([`pacemaker`], [`epoch_start`]);
//! - *proposals* are judged against the own set, and the own one is made of what most voters hold ([`proposals`]);
//! - *votes* travel from peer to peer, again and again, because any message may be lost ([`votes`]); a vote is durable
//!   before anybody sees it ([`vote_record`]);
//! - a *decision* takes effect once all entries of its frontier are held ([`decision`], [`fetch_progress`]);
//! - *certificates* prove decisions to peers that took no part ([`certificates`]);
//! - *backpressure* bounds how much work may be added before any of it is final ([`backpressure`]).
//!
//! Contract:
//! - [`Finality::connected`] and [`Finality::disconnected`] follow the connections.
//! - After every change of the set, and after every call of this machine, the owner calls [`Finality::finalize`], hands on
//!   what was raised, and then calls [`Finality::advance`]. In between because a decision that takes effect changes the
//!   epoch: what waited for it enters the set before the next round is judged.
//! - [`Finality::handle_timeout`] is due at [`Finality::next_deadline`], which any other call may change.
//! - An [`Event`] is raised at the very end of a call. All else that a call does are outputs and changes of the set.
//!
//! Training waits for none of this: a peer authors updates while rounds go by, until [`Finality::is_stalled`].

mod backpressure;
#[cfg(test)]
mod bench;
mod certificates;
mod consensus;
mod context;
mod decision;
mod epoch_start;
mod fetch_progress;
mod pacemaker;
mod peers;
mod proposals;
mod rounds;
mod store;
mod vote_record;
mod votes;

use std::sync::Arc;

use murmur_collectives::{Certificate, PeerId, Proposal, Rules};

use self::{
    backpressure::Backpressure, certificates::Certificates, consensus::Consensus, decision::Decision,
    epoch_start::EpochStart, fetch_progress::FetchProgress, pacemaker::Pacemaker, peers::Peers,
};
pub(crate) use self::{
    context::{Context, Joining},
    store::Proof,
};
use super::context::Core;
use crate::Time;

/// What follows from finality for machines above it.
#[derive(Debug)]
pub(crate) enum Event {
    /// The next frontier is final here. What it excluded has left the set, so whatever was kept per entry has to be looked
    /// through; and the disk and newcomers are to begin at this frontier from now on.
    Finalized,
    /// The entries up to a proven frontier are not served any more, or contradict the own history: its state is to be
    /// fetched, and the set replaced.
    FetchFinal {
        /// The neighbour that sent the proof.
        from: PeerId,
        /// Certificates of all epochs, from the first to that frontier; each was checked against the one before.
        chain: Vec<Certificate>,
        /// The frontier, with its rows.
        proposal: Box<Proposal>,
    },
}

/// One peer's part in deciding what is final.
#[derive(Debug)]
pub(crate) struct Finality {
    rules: Arc<Rules>,
    me: PeerId,
    consensus: Consensus,
    pacemaker: Pacemaker,
    epoch_start: EpochStart,
    backpressure: Backpressure,
    /// A certified frontier whose entries are not all held yet.
    decision: Option<Decision>,
    progress: FetchProgress,
    certificates: Certificates,
    peers: Peers,
}

impl Finality {
    /// Before any vote. `stored` is the newest [`crate::Output::Signing`], if the disk held one.
    pub(crate) fn new(rules: &Rules, me: PeerId, stored: Option<&[u8]>) -> Self {
        let rules = Arc::new(rules.clone());
        Self {
            consensus: Consensus::new(rules.clone(), me, stored),
            rules,
            me,
            pacemaker: Pacemaker::default(),
            epoch_start: EpochStart::default(),
            backpressure: Backpressure::default(),
            decision: None,
            progress: FetchProgress::default(),
            certificates: Certificates::default(),
            peers: Peers::default(),
        }
    }

    /// Whether anything becomes final in this run.
    pub(crate) fn is_on(&self) -> bool {
        self.rules.frontier_every_tokens > 0
    }

    /// Certificates of all final frontiers, from the first on.
    pub(crate) fn certificates(&self) -> &[Certificate] {
        self.certificates.chain()
    }

    /// Whether a decided frontier waits for entries that may still come one by one.
    pub(crate) fn awaits_entries(&self) -> bool {
        self.decision.is_some() && !self.progress.is_hopeless()
    }

    /// Whether the final history of `peer` lost against the one here: it is about to replace it, so what it holds is no
    /// measure for this peer.
    pub(crate) fn is_superseded(&self, peer: &PeerId) -> bool {
        self.peers.is_superseded(peer)
    }

    /// The set was replaced by one of another history: how neighbours compare with it is open again.
    pub(crate) fn forget_superseded(&mut self) {
        self.peers.forget_superseded();
    }

    /// A connection is up; what was said on one before it is void.
    pub(crate) fn connected(&mut self, peer: PeerId) {
        self.peers.connected(peer);
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.peers.disconnected(peer);
    }

    /// Bytes kept for connected peers.
    pub(crate) fn held_bytes(&self) -> usize {
        self.peers.held_bytes()
    }

    /// When [`Finality::handle_timeout`] is due.
    pub(crate) fn next_deadline(&self, core: &Core, joining: Joining) -> Option<Time> {
        let round = self.next_round_deadline(core).filter(|_| joining == Joining::CaughtUp);
        let fetch = self.next_fetch_deadline(joining);
        round.into_iter().chain(fetch).min()
    }

    /// Ends a round that is over, tells votes again, and looks whether entries of a decided frontier still come.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.round_due(cx);
        self.fetch_due(cx);
    }

    /// Begins the first round of an epoch if enough work was done, judges proposals, proposes in turn, and votes. A
    /// decision that waits for its entries comes first: votes for what follows it could not name it yet.
    pub(crate) fn advance(&mut self, cx: &mut Context<'_>) {
        if !self.is_on() || cx.joining != Joining::CaughtUp || self.decision.is_some() {
            return;
        }
        let (clock, patience) = (cx.set.clock(), self.patience(cx));
        self.consensus.rounds(cx).set_clock(clock, patience);
        if !self.pacemaker.is_running() && self.is_epoch_due(cx) {
            self.begin_round(cx);
            self.pacemaker.schedule_retelling(cx.now(), cx.config());
        }
        if self.pacemaker.is_running() {
            self.judge_proposals(cx);
            self.propose_in_turn(cx);
            self.cast_votes(cx);
        }
    }
}
