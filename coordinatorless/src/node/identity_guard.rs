//! The identity guard: before it signs anything, a process makes sure that no other process uses its identity.
//!
//! Two processes with one identity, for example from a copied folder, sign different entries for the same position.
//! That is a fork, and the identity is evicted. Cards tell the processes apart (see
//! [`Card`](super::membership::Card)), but only after the first process has learned of the second and its objection
//! has come back. So a process signs nothing until a neighbour has *vouched* for it, and the connection has stayed up
//! for [`Config::alone_after`](crate::Config::alone_after) since then.
//!
//! A neighbour vouches when it addresses a frame to this process's card, or sends the process that card. That shows
//! that it knows of no later start of this identity, and has begun to gossip this one. If it knew a later card, it
//! would have sent that as soon as the connection came up.
//!
//! The connection must stay up for the following reason. Two peers have one connection, and a transport cannot tell a
//! restarted peer from a second process, so the second process takes over the connections of the first at their
//! common neighbours. The first process then finds its connection closed, dials again, takes the connection back,
//! receives the card of the second process, and objects to it. When the second process dials again it receives the
//! objection and stops. If the first process is dead, none of this happens.
//!
//! A founder with an empty disk starts a run and waits for no one. A restarted peer without any neighbour goes on
//! alone after [`Config::lonely_after`](crate::Config::lonely_after).

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::PeerId;

use super::context::Core;
use crate::Time;

/// The time between two requests to a neighbour that has not vouched; a request or its answer may have been lost.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A neighbour whose member list is full cannot vouch. It counts as having vouched after this many times the
/// patience.
const UNVOUCHED_FACTOR: u32 = 5;

/// A process that has lost all its connections waits this many times longer before it goes on alone. The first
/// process with its identity may have taken them over, and this process meets it again only when a dial succeeds.
const LOST_FACTOR: u32 = 6;

/// A connected peer, which can vouch for this process.
#[derive(Clone, Copy, Debug)]
struct Witness {
    /// The time at which the connection came up.
    since: Time,
    /// The time at which the peer first vouched on this connection.
    vouched_at: Option<Time>,
}

/// The evidence that no other process uses this identity.
///
/// Contract: [`IdentityGuard::connected`] and [`IdentityGuard::disconnected`] follow the connections, and
/// [`IdentityGuard::vouched`] follows membership. The node asks the peers that [`IdentityGuard::due`] returns to
/// vouch. Once [`IdentityGuard::is_sure`] is true, it stays true.
#[derive(Debug)]
pub(crate) struct IdentityGuard {
    is_sure: bool,
    witnesses: BTreeMap<PeerId, Witness>,
    /// Whether any connection was lost since the start. Another process may have taken it over.
    was_connected: bool,
    /// The time since which no peer is connected, if none is; `None` until the first call of [`IdentityGuard::due`].
    unconnected_since: Option<Time>,
    ask_at: Time,
}

impl IdentityGuard {
    /// `founding`: no process can have signed anything with this identity yet.
    pub(crate) fn new(founding: bool) -> Self {
        Self {
            is_sure: founding,
            witnesses: BTreeMap::new(),
            was_connected: false,
            unconnected_since: None,
            ask_at: Time::default(),
        }
    }

    /// Whether this process may sign.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// A connection to `peer` came up. An earlier vouch of the peer is void, because it may have been for another
    /// process.
    pub(crate) fn connected(&mut self, peer: PeerId, now: Time) {
        self.witnesses.insert(peer, Witness { since: now, vouched_at: None });
    }

    /// The connection to `peer` is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, now: Time) {
        if self.witnesses.remove(peer).is_some() && self.witnesses.is_empty() {
            (self.was_connected, self.unconnected_since) = (true, Some(now));
        }
    }

    /// `peer` vouched for this process.
    pub(crate) fn vouched(&mut self, peer: &PeerId, now: Time) {
        if let Some(witness) = self.witnesses.get_mut(peer) {
            witness.vouched_at.get_or_insert(now);
        }
    }

    /// The time at which [`IdentityGuard::due`] has work.
    pub(crate) fn next_deadline(&self, core: &Core) -> Option<Time> {
        if self.is_sure {
            return None;
        }
        let begins = self.unconnected_since.is_none();
        let asks = (begins || self.unvouched().next().is_some()).then_some(self.ask_at);
        self.sure_at(core).into_iter().chain(asks).min()
    }

    /// Updates [`IdentityGuard::is_sure`], and returns the peers that the node should ask to vouch.
    pub(crate) fn due(&mut self, core: &Core) -> Vec<PeerId> {
        if self.is_sure {
            return Vec::new();
        }
        self.unconnected_since.get_or_insert(core.now);
        self.is_sure = self.sure_at(core).is_some_and(|at| at <= core.now);
        if self.ask_at > core.now {
            return Vec::new();
        }
        self.ask_at = core.now + ASK_EVERY;
        self.unvouched().collect()
    }

    /// The connected peers that have not vouched.
    fn unvouched(&self) -> impl Iterator<Item = PeerId> {
        self.witnesses.iter().filter(|(_, witness)| witness.vouched_at.is_none()).map(|(peer, _)| *peer)
    }

    /// The time at which this process becomes sure, if nothing happens until then.
    fn sure_at(&self, core: &Core) -> Option<Time> {
        if self.witnesses.is_empty() {
            let since = self.unconnected_since?;
            let factor = if self.was_connected { LOST_FACTOR } else { 1 };
            return Some(since + core.config.lonely_after * factor);
        }
        let patience = core.config.alone_after;
        let sure_at = |witness: &Witness| match witness.vouched_at {
            Some(at) => at + patience,
            None => witness.since + patience * UNVOUCHED_FACTOR,
        };
        self.witnesses.values().map(sure_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::bench::{at_ms, core, peer};

    /// The guard of a restarted process that was started at time zero.
    fn started() -> (IdentityGuard, Core) {
        let (mut guard, core) = (IdentityGuard::new(false), core());
        assert_eq!(guard.due(&core), []);
        (guard, core)
    }

    /// Whether the guard is sure at `at`, when it is asked then.
    fn sure(guard: &mut IdentityGuard, core: &mut Core, at: Time) -> bool {
        core.now = at;
        guard.due(core);
        guard.is_sure()
    }

    fn just_before(time: Time) -> Time {
        Time(time.0 - 1)
    }

    #[test]
    fn a_founder_is_sure_from_the_start() {
        let guard = IdentityGuard::new(true);
        assert!(guard.is_sure() && guard.next_deadline(&core()).is_none());
    }

    #[test]
    fn a_process_that_reaches_no_peer_waits_for_lonely_after() {
        let (mut guard, mut core) = started();
        let lonely_after = core.config.lonely_after;
        assert_eq!(guard.next_deadline(&core), Some(Time::default() + lonely_after));
        assert!(!sure(&mut guard, &mut core, just_before(Time::default() + lonely_after)));
        assert!(sure(&mut guard, &mut core, Time::default() + lonely_after));
    }

    #[test]
    fn a_vouch_and_the_patience_make_a_process_sure() {
        let (mut guard, mut core) = started();
        core.now = at_ms(1000);
        guard.connected(peer(2), core.now);
        assert_eq!(guard.due(&core), [peer(2)], "it is asked to vouch");
        guard.vouched(&peer(2), at_ms(2000));
        guard.vouched(&peer(2), at_ms(4000));
        guard.vouched(&peer(3), at_ms(0));
        let sure_at = at_ms(2000) + core.config.alone_after;
        assert_eq!(guard.next_deadline(&core), Some(sure_at), "since the first vouch, and nothing more to ask");
        assert!(!sure(&mut guard, &mut core, just_before(sure_at)));
        assert!(sure(&mut guard, &mut core, sure_at));
        guard.disconnected(&peer(2), sure_at);
        assert!(sure(&mut guard, &mut core, sure_at), "it stays sure");
    }

    #[test]
    fn a_neighbour_that_cannot_vouch_is_asked_again_and_counts_later() {
        let (mut guard, mut core) = started();
        guard.connected(peer(2), core.now);
        core.now = at_ms(500);
        assert_eq!(guard.due(&core), [peer(2)]);
        assert_eq!((guard.due(&core), guard.next_deadline(&core)), (vec![], Some(at_ms(1000))));
        let sure_at = Time::default() + core.config.alone_after * 5;
        assert!(!sure(&mut guard, &mut core, just_before(sure_at)));
        assert!(sure(&mut guard, &mut core, sure_at));
    }

    #[test]
    fn a_vouch_does_not_outlive_its_connection() {
        let (mut guard, mut core) = started();
        guard.connected(peer(2), at_ms(0));
        guard.vouched(&peer(2), at_ms(0));
        guard.connected(peer(2), at_ms(1000));
        let patience = core.config.alone_after;
        assert!(!sure(&mut guard, &mut core, at_ms(1000) + patience));
    }

    #[test]
    fn a_lost_connection_makes_a_process_wait_longer() {
        let (mut guard, mut core) = started();
        guard.connected(peer(2), at_ms(0));
        guard.vouched(&peer(2), at_ms(0));
        guard.disconnected(&peer(2), at_ms(1000));
        let sure_at = at_ms(1000) + core.config.lonely_after * 6;
        assert!(!sure(&mut guard, &mut core, just_before(sure_at)));
        assert!(sure(&mut guard, &mut core, sure_at));
    }
}
