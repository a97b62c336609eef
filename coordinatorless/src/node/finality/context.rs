//! What finality may touch of the peer around it.

use std::collections::BTreeSet;

use murmur_collectives::{Hash, PeerId, Rules, VersionVector};

use super::super::{
    context::{Core, Network},
    membership::Membership,
    replication::Replication,
    set::Set,
};
use crate::{Config, Time};

/// How far this peer is with joining.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Joining {
    /// It began with an empty disk and holds nothing yet.
    Blank,
    /// It looks for neighbours to learn from, or pulls what they hold.
    Behind,
    /// It fetches a final state. The set is about to be replaced, so comparisons with it say nothing.
    Fetching,
    /// It holds what its neighbours hold: it votes.
    CaughtUp,
}

/// The machines below finality, and where the peer is with joining.
pub(crate) struct Context<'a> {
    pub(super) net: Network<'a>,
    pub(super) set: &'a mut Set,
    pub(super) joining: Joining,
    membership: &'a Membership,
    replication: &'a mut Replication,
}

impl<'a> Context<'a> {
    /// Of replication only this is used: what neighbours are known to hold, and payloads that are wanted.
    pub(crate) fn new(
        net: Network<'a>,
        set: &'a mut Set,
        membership: &'a Membership,
        replication: &'a mut Replication,
        joining: Joining,
    ) -> Self {
        Self { net, set, joining, membership, replication }
    }

    pub(super) fn core(&mut self) -> &mut Core {
        self.net.core
    }

    pub(super) fn now(&self) -> Time {
        self.net.core.now
    }

    pub(super) fn config(&self) -> &Config {
        &self.net.core.config
    }

    /// Members that are up, as far as this peer knows, and itself.
    pub(super) fn live_members(&self) -> BTreeSet<PeerId> {
        self.membership.members().map(|member| member.peer).chain([self.net.core.id()]).collect()
    }

    /// What each connected peer is known to hold, at least.
    pub(super) fn held_by_peers(&self) -> impl Iterator<Item = (PeerId, &VersionVector)> {
        self.net.peers().filter_map(|peer| Some((peer, self.replication.known(&peer)?)))
    }

    /// The newest final epoch of each connected peer and the name of its frontier, by the peer's own account.
    pub(super) fn epochs_of_peers(&self) -> impl Iterator<Item = (PeerId, (u32, Hash))> {
        self.net.peers().map(|peer| (peer, self.replication.epoch_at(&peer)))
    }

    /// Has payloads fetched of entries that are held without them.
    pub(super) fn want_payloads(&mut self, names: &[(PeerId, u32)]) {
        self.replication.want_payloads(names);
    }

    /// No payload is wanted any more. Whatever still needs one asks for it again.
    pub(super) fn forget_wanted_payloads(&mut self) {
        self.replication.forget_wanted_payloads();
    }

    /// Tokens that are not final.
    pub(super) fn tokens_since_final(&mut self) -> u64 {
        self.set.clock().saturating_sub(self.set.fold.epochs().newest().frontier.clock)
    }

    /// Whether enough tokens are not final for the weights of the newest frontier's voters to fade.
    pub(super) fn is_fading(&mut self, rules: &Rules) -> bool {
        self.set.clock() >= self.set.fold.epochs().newest().frontier.fades_at(rules)
    }
}
