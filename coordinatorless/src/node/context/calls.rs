//! Steps that several routes share, each a few calls in an order that matters.

use murmur_collectives::PeerId;

use crate::{
    Closing,
    node::{Node, audits, catch_up::CatchUp, finality::Finality, transfer::Checkpoint},
};

impl Node {
    /// Ends the connection with `peer` and does not seek it again.
    pub(crate) fn send_away(&mut self, peer: PeerId, reason: Closing) {
        self.with_connectivity(|connectivity, cx| connectivity.send_away(cx, peer, reason));
    }

    /// What `peer` was asked for is asked of others.
    pub(crate) fn forget_requests_to(&mut self, peer: PeerId) {
        self.replication.forget_requests_to(&peer);
        self.with_transfer(|transfer, cx| transfer.drop_source(cx, peer));
    }

    /// Makes final what has been decided, then goes on deciding; in two calls, see the contract of [`Finality`].
    pub(crate) fn check_final(&mut self) {
        self.with_finality(Finality::finalize);
        self.with_finality(Finality::advance);
    }

    /// The newest final frontier begins to be served, and the disk follows.
    pub(crate) fn keep_final(&mut self) {
        let Some(Checkpoint { foundation, state, root }) = self.transfer.serve_final(&self.set) else { return };
        self.with_finality(|finality, cx| finality.store(cx, state, root, &foundation));
    }

    /// Looks whether the next stage of catching up begins.
    pub(crate) fn check_caught_up(&mut self) {
        if !self.catch_up.is_done() {
            self.with_catch_up(CatchUp::check);
        }
    }

    /// Audits under way here.
    pub(crate) fn audits_open(&self) -> usize {
        self.audits.auditor().open_count()
    }

    /// Gives up carries that nobody is asked or dialed for any more.
    pub(crate) fn give_up_lost_carries(&mut self) {
        let Self { audits, core, set, connectivity, transfer, .. } = self;
        let mut cx = audits::Context { core, set, neighbours: connectivity.neighbours() };
        audits.give_up_carries(&mut cx, |author, root| transfer.has_hope(root) || connectivity.is_seeking(author));
        self.route();
    }
}
