//! What finality remembers of connected peers.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::{Hash, PeerId};

use crate::Time;

/// From this many requested frontiers on the older ones of one peer are forgotten, so that strangers' votes, which name
/// frontiers freely, cost bounded memory.
const REQUESTED_MAX: usize = 16;

#[derive(Default, Debug)]
struct Peer {
    /// When it was last sent certificates without having asked.
    shown_at: Option<Time>,
    /// Whether its final history lost against the one here.
    superseded: bool,
    /// Frontiers it was asked for although no known voter has named them.
    requested: BTreeSet<Hash>,
}

/// The connected peers.
#[derive(Default, Debug)]
pub(super) struct Peers(BTreeMap<PeerId, Peer>);

impl Peers {
    pub(super) fn connected(&mut self, peer: PeerId) {
        self.0.insert(peer, Peer::default());
    }

    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    pub(super) fn is_superseded(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|peer| peer.superseded)
    }

    pub(super) fn set_superseded(&mut self, peer: &PeerId, superseded: bool) {
        if let Some(peer) = self.0.get_mut(peer) {
            peer.superseded = superseded;
        }
    }

    pub(super) fn forget_superseded(&mut self) {
        self.0.values_mut().for_each(|peer| peer.superseded = false);
    }

    /// Whether `peer` may be sent certificates without asking now; if so, not again before `every` has passed.
    pub(super) fn may_show(&mut self, peer: &PeerId, now: Time, every: Duration) -> bool {
        let Some(peer) = self.0.get_mut(peer) else { return false };
        let may = peer.shown_at.is_none_or(|at| now >= at + every);
        if may {
            peer.shown_at = Some(now);
        }
        may
    }

    /// `peer` is asked for frontiers that no known voter has named: its answer is looked at all the same.
    pub(super) fn request<'a>(&mut self, peer: &PeerId, names: impl Iterator<Item = &'a Hash>) {
        let Some(peer) = self.0.get_mut(peer) else { return };
        if peer.requested.len() >= REQUESTED_MAX {
            peer.requested.clear();
        }
        peer.requested.extend(names);
    }

    /// Whether `peer` was asked for this frontier. One request admits one answer.
    pub(super) fn take_requested(&mut self, peer: &PeerId, name: &Hash) -> bool {
        self.0.get_mut(peer).is_some_and(|peer| peer.requested.remove(name))
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.0.values().map(|peer| size_of::<Peer>() + size_of::<Hash>() * peer.requested.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId([1; 32]);

    fn connected() -> Peers {
        let mut peers = Peers::default();
        peers.connected(PEER);
        peers
    }

    #[test]
    fn one_request_admits_one_answer_of_that_peer() {
        let mut peers = connected();
        let name = Hash([7; 32]);
        peers.request(&PEER, [name].iter());
        assert!(!peers.take_requested(&PeerId([2; 32]), &name));
        assert!(peers.take_requested(&PEER, &name));
        assert!(!peers.take_requested(&PEER, &name));
    }

    #[test]
    fn requests_do_not_pile_up() {
        let mut peers = connected();
        for n in 0..200 {
            peers.request(&PEER, [Hash([n; 32])].iter());
        }
        assert!(peers.held_bytes() <= size_of::<Peer>() + REQUESTED_MAX * size_of::<Hash>());
    }

    #[test]
    fn proof_is_shown_once_in_a_while_and_a_new_connection_begins_afresh() {
        let mut peers = connected();
        let every = Duration::from_secs(1);
        assert!(peers.may_show(&PEER, Time(0), every));
        assert!(!peers.may_show(&PEER, Time(999_999), every));
        assert!(peers.may_show(&PEER, Time(1_000_000), every));
        peers.set_superseded(&PEER, true);
        peers.connected(PEER);
        assert!(!peers.is_superseded(&PEER) && peers.may_show(&PEER, Time(1_000_000), every));
    }
}
