//! What hosts, users and tests may ask a node.

use murmur_collectives::{Certificate, Fold, Hash, PeerId, VersionVector};

use crate::{
    EntryName, Reach,
    node::{AuditJob, Delay, Mapping, Member, MemberState, NeighbourView, Node, Snapshot},
};

impl Node {
    /// Who this peer is.
    pub fn id(&self) -> PeerId {
        self.core.identity.peer_id()
    }

    /// Whether this peer may train and serve.
    pub fn is_caught_up(&self) -> bool {
        self.catch_up.is_done()
    }

    /// The set and its model.
    pub fn fold(&self) -> &Fold {
        &self.set.fold
    }

    /// Certificates of all final frontiers, from the first on.
    pub fn certificates(&self) -> &[Certificate] {
        self.finality.certificates()
    }

    /// What the next segment starts from.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.set, &self.own_carries, &self.id())
    }

    /// What keeps a peer that finishes from leaving: nothing, if it is idle, every finishing neighbour is so, too, and equals
    /// it, and the own chain is safe with those who stay.
    pub fn delays(&mut self) -> Vec<Delay> {
        self.with_own_chain(|own, cx| own.delays(cx))
    }

    /// How often a neighbour with the same set had the same state, and how often another.
    pub fn roots_compared(&self) -> (u64, u64) {
        self.replication.roots_compared()
    }

    /// State root of the present set; computed once per change.
    pub fn state_root(&mut self) -> Hash {
        self.set.state_root()
    }

    /// Audits this peer was drawn for and could not do: too many at once, or the author's carry was not to be had.
    pub fn audits_missed(&self) -> u64 {
        self.audits.auditor().missed()
    }

    /// What is needed to replay `update`; `None` if it is no longer wanted or its base cannot be rebuilt.
    pub fn audit_job(&self, update: EntryName) -> Option<AuditJob> {
        self.audits.auditor().job(&self.set.fold, update.into())
    }

    /// The set and its parameters, if updates have joined since it was `base`, in epoch `epoch`. Not if part of `base` has left
    /// it: what such a segment did cannot be told from the present parameters any more.
    pub fn joined_since(&self, base: &VersionVector, epoch: u32) -> Option<(VersionVector, Vec<f32>)> {
        let log = self.set.fold.log();
        let version = log.version();
        let has_grown = version.includes(base) && log.update_count(version) > log.update_count(base);
        let joined = has_grown && log.is_whole_since(base, epoch);
        joined.then(|| (version.clone(), self.set.fold.parameters()))
    }

    /// Members of the swarm that are up, this peer not counted.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self.membership.members().collect();
        members.sort_by_key(|member| member.peer);
        members
    }

    /// How many members are up, this peer not counted.
    pub fn member_count(&self) -> usize {
        self.membership.count()
    }

    /// Peers connected now, ascending, with what is known of each.
    pub fn neighbour_list(&self) -> Vec<NeighbourView> {
        let members = self.members();
        let state = |peer: &PeerId| match members.binary_search_by_key(peer, |member| member.peer) {
            Ok(at) if members[at].suspected => MemberState::Suspected,
            Ok(_) => MemberState::Alive,
            Err(_) => MemberState::Unknown,
        };
        self.connectivity.views(state, |peer| self.replication.asked_of(peer))
    }

    /// How the packets of the connection to `peer` travel, if there is one.
    pub fn reach_of(&self, peer: &PeerId) -> Option<Reach> {
        self.connectivity.reach_of(peer)
    }

    /// How others see this peer's address.
    pub fn mapping(&self) -> Mapping {
        self.connectivity.mapping()
    }

    /// Peers connected now, ascending.
    pub fn neighbours(&self) -> Vec<PeerId> {
        self.connectivity.neighbours().iter().map(|(peer, _)| peer).collect()
    }
}
