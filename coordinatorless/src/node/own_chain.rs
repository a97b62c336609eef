//! The own chain: it is started, continued after a restart, never forked, and ended when the peer finishes.
//!
//! Contract:
//! - [`OwnChain::start`] follows catching up, and enrolls.
//! - [`OwnChain::author_update`] takes what the trainer has made of a segment that began at a [`Snapshot`]. Before, the node
//!   asks finality whether too much work is not final.
//! - [`OwnChain::author_verdict`], [`OwnChain::author_evidence`] and [`OwnChain::repeat_evidence`] author what this peer has
//!   to say of others. Nothing is signed before it is sure that no other process has this identity, nor at a position that
//!   may have been signed before the start: two entries at one position are a fork, for which a peer is evicted.
//! - An enrolment, and all that follows from it, comes before the entry for which it is needed. So that entry is authored in
//!   a second step, which is raised as [`Event::Resume`] and which the node gives back to [`OwnChain::resume`].
//! - [`OwnChain::begin_finish`] begins the end; [`OwnChain::check_finished`] follows every input from then on.

mod authoring;
mod finish;
mod position;
#[cfg(test)]
mod testing;

use murmur_collectives::{Body, PeerId};

use self::finish::Finish;
pub use self::{finish::Delay, position::Snapshot};
use super::{
    catch_up::CatchUp,
    context::Network,
    own_carries::OwnCarries,
    replication::{self, Replication},
    set::Set,
};
use crate::Draft;

/// What the own chain raises.
#[derive(Debug)]
pub(crate) enum Event {
    /// The rest of an operation: to be given to [`OwnChain::resume`] when all that was raised before it is done.
    Resume(Step),
    /// The peer has begun to finish: neighbours are to be told.
    FinishBegun,
}

/// The rest of an operation.
#[derive(Debug)]
pub(crate) struct Step(Work);

#[derive(Debug)]
enum Work {
    /// Authors an update.
    Update(Box<Draft>),
    /// Authors an entry whose causal past is everything known then.
    Now(Box<Body>),
}

/// What the own chain may touch.
pub(crate) struct Context<'a> {
    pub(crate) net: Network<'a>,
    pub(crate) set: &'a mut Set,
    pub(crate) replication: &'a mut Replication,
    /// What replication is told of machines above it.
    pub(crate) mode: replication::Mode,
    pub(crate) own_carries: &'a mut OwnCarries,
    pub(crate) catch_up: &'a CatchUp,
    /// Whether it is clear that no other process has this identity.
    pub(crate) is_alone: bool,
    /// Audits under way here.
    pub(crate) audits_open: usize,
}

impl Context<'_> {
    fn id(&self) -> PeerId {
        self.net.core.id()
    }

    fn replication(&mut self) -> (&mut Replication, replication::Context<'_>) {
        let cx = replication::Context { net: self.net.reborrow(), set: self.set, mode: self.mode };
        (self.replication, cx)
    }

    /// Tells the user why an own entry was not added.
    fn refuse(&mut self, reason: String) {
        let peer = self.id();
        self.net.core.tell(crate::Event::BadInput { peer, reason });
    }
}

/// Authors own entries until the peer finishes.
#[derive(Default, Debug)]
pub(crate) struct OwnChain {
    finish: Finish,
}

impl OwnChain {
    /// Does the next step of an operation.
    pub(crate) fn resume(&mut self, cx: &mut Context<'_>, step: Step) {
        match step.0 {
            Work::Update(draft) => self.update(cx, *draft),
            Work::Now(body) => self.say_now(cx, *body),
        }
    }
}
