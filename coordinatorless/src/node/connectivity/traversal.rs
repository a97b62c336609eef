//! The search for a way to a peer that could not be dialed where others said it is, or not soon.
//!
//! In this order, each step when the one before has failed or taken too long:
//! 1. Ask a mutual neighbour to bring both together: both dial each other at once, so that both translators let the other
//!    in. Two rounds, with a small random spread; one if this peer's own mapping varies, as then it rarely helps, and the
//!    next step is taken beside it. A first round that takes longer than a dial should gets a relay beside it, too.
//! 2. Dial through a neighbour that volunteers as a relay, those first who spoke of the peer.
//!
//! A relayed connection is not the end: the smaller of the two asks the relay now and then to bring both together, and
//! either does when it has a new address of its own; a straight connection takes over. A traversal that has tried everything is
//! given up; it begins anew when the next dial fails.

use core::time::Duration;
use std::collections::BTreeSet;

use murmur_collectives::PeerId;
use rand_chacha::rand_core::Rng;

use super::{Connectivity, Context, dialing::Purpose, reachability::Mapping};
use crate::{Output, Reach, Time};

/// Traversals at once, at most.
const TRAVERSALS_MAX: usize = 64;

/// Rounds of punching until a relay is sought.
const PUNCH_ROUNDS: u32 = 2;

/// Relays tried in one traversal, at most.
const RELAYS_TRIED_MAX: usize = 3;

/// Doublings of the time between attempts to replace a relayed connection.
const UPGRADE_DOUBLINGS_MAX: u32 = 5;

/// Up to this much is added to each time, so that many traversals do not move in step.
const SPREAD: Duration = Duration::from_millis(500);

/// A round of punching takes this much longer than a dial, so that the next finds both sides done with the one before.
const ROUND_SLACK: Duration = Duration::from_secs(1);

/// What is being tried.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// The first round of punching has just begun.
    Meeting,
    /// So many rounds of punching have begun.
    Punching(u32),
    /// These relays have been dialed through.
    Relaying(Vec<PeerId>),
    /// Connected through a relay; so many attempts to do without have begun.
    Upgrading(u32),
}

/// The search for a way to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Traversal {
    stage: Stage,
    /// What the connection is for.
    pub(crate) purpose: Purpose,
    /// When the next step is due.
    pub(crate) at: Time,
    /// Who spoke of the peer, and so may be its neighbour.
    introducers: BTreeSet<PeerId>,
}

impl Connectivity {
    /// Dialing `peer` has failed or takes long: looks for another way. False if there is none to look for.
    pub(crate) fn begin_search(&mut self, cx: &mut Context<'_>, peer: PeerId, purpose: Purpose) -> bool {
        if self.neighbours.is_connected(&peer) || self.reachability.traversals.contains_key(&peer) {
            return true;
        }
        let introducers = self.reachability.introducers_of(&peer);
        let hopeless = purpose == Purpose::Heal || cx.set.fold.is_evicted(&peer);
        if !hopeless {
            self.punch_or_relay(cx, peer, 0, introducers, purpose);
        }
        self.reachability.traversals.contains_key(&peer)
    }

    /// What a search for `peer` is for, if one is under way.
    pub(crate) fn traversal_purpose(&self, peer: &PeerId) -> Option<Purpose> {
        self.reachability.traversals.get(peer).map(|traversal| traversal.purpose)
    }

    fn begin_traversal(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        stage: Stage,
        introducers: BTreeSet<PeerId>,
        purpose: Purpose,
    ) {
        let wait = match stage {
            Stage::Relaying(_) => cx.core.config.reach_patience,
            Stage::Meeting => self.doubt_after(cx).min(cx.core.config.reach_patience),
            Stage::Punching(_) => cx.core.config.reach_patience + ROUND_SLACK,
            Stage::Upgrading(_) => cx.core.config.reach_upgrade_after.min(cx.core.config.reach_patience + ROUND_SLACK),
        };
        if self.reachability.traversals.len() < TRAVERSALS_MAX && !cx.swarm.is_finishing {
            let at = self.after(cx, wait);
            self.reachability.traversals.insert(peer, Traversal { stage, purpose, at, introducers });
        }
    }

    /// `wait` from now and a little more.
    fn after(&mut self, cx: &mut Context<'_>, wait: Duration) -> Time {
        let spread = SPREAD.min(wait).max(Duration::from_micros(1));
        let micros = cx.core.rng.next_u64() % (spread.as_micros() as u64);
        cx.core.now + wait + Duration::from_micros(micros)
    }

    /// A connection is up. If it is relayed, a better one is sought from now on.
    pub(crate) fn end_traversal(&mut self, cx: &mut Context<'_>, peer: PeerId, reach: Reach) {
        let purpose =
            self.reachability.traversals.remove(&peer).map_or(Purpose::Contact, |traversal| traversal.purpose);
        if let Reach::Relayed { by } = reach {
            self.begin_traversal(cx, peer, Stage::Upgrading(0), BTreeSet::from([by]), purpose);
        }
    }

    /// A connection is gone. One that took more than a dial is sought again the same way, as a dial would not bring it back.
    pub(crate) fn lost_traversal(&mut self, cx: &mut Context<'_>, peer: PeerId, reach: Reach) {
        self.reachability.traversals.remove(&peer);
        match reach {
            Reach::Direct => {}
            Reach::Punched => self.begin_traversal(cx, peer, Stage::Punching(0), BTreeSet::new(), Purpose::Lost),
            Reach::Relayed { by } => {
                self.begin_traversal(cx, peer, Stage::Punching(0), BTreeSet::from([by]), Purpose::Lost)
            }
        }
    }

    /// Takes every step that is due.
    pub(crate) fn traversals_due(&mut self, cx: &mut Context<'_>) {
        let now = cx.core.now;
        let due: Vec<PeerId> = self
            .reachability
            .traversals
            .iter()
            .filter(|(_, traversal)| traversal.at <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            if let Some(traversal) = self.reachability.traversals.remove(&peer) {
                self.step(cx, peer, traversal);
            }
        }
    }

    fn step(&mut self, cx: &mut Context<'_>, peer: PeerId, traversal: Traversal) {
        if cx.set.fold.is_evicted(&peer) {
            return;
        }
        let Traversal { stage, introducers, purpose, .. } = traversal;
        match stage {
            Stage::Meeting => {
                self.relay_beside(cx, peer, &introducers);
                self.begin_traversal(cx, peer, Stage::Punching(1), introducers, purpose);
            }
            Stage::Punching(round) => self.punch_or_relay(cx, peer, round, introducers, purpose),
            Stage::Relaying(tried) => self.relay(cx, peer, tried, introducers, purpose),
            Stage::Upgrading(attempts) => self.upgrade(cx, peer, attempts, introducers, purpose),
        }
        if !self.neighbours.is_connected(&peer) && !self.reachability.traversals.contains_key(&peer) {
            self.give_up_reachability(cx, peer);
        }
    }

    fn punch_or_relay(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        round: u32,
        introducers: BTreeSet<PeerId>,
        purpose: Purpose,
    ) {
        let varies = self.mapping() == Mapping::Varies;
        let rounds = if varies { 1 } else { PUNCH_ROUNDS };
        match self.go_between(cx, peer, round, &introducers).filter(|_| round < rounds) {
            Some(neighbour) => {
                self.ask_to_meet(cx, neighbour, peer);
                if varies {
                    self.relay(cx, peer, Vec::new(), introducers.clone(), purpose);
                }
                if !self.reachability.traversals.contains_key(&peer) {
                    let stage = if round == 0 { Stage::Meeting } else { Stage::Punching(round + 1) };
                    self.begin_traversal(cx, peer, stage, introducers, purpose);
                }
            }
            None => self.relay(cx, peer, Vec::new(), introducers, purpose),
        }
    }

    /// Whether anybody can be asked to bring this peer and `peer` together.
    pub(crate) fn has_go_between(&self, cx: &Context<'_>, peer: &PeerId) -> bool {
        self.reachability
            .paths
            .keys()
            .any(|candidate| candidate != peer && self.reachability.can_ask(candidate, cx.core.now))
    }

    /// Whom to ask in this round: one who spoke of the peer if still there, else any straight neighbour.
    fn go_between(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        round: u32,
        introducers: &BTreeSet<PeerId>,
    ) -> Option<PeerId> {
        let straight = |candidate: &PeerId| *candidate != peer && self.reachability.can_ask(candidate, cx.core.now);
        let mut candidates: Vec<PeerId> = introducers.iter().copied().filter(straight).collect();
        if candidates.is_empty() {
            candidates = self.reachability.paths.keys().copied().filter(straight).collect();
        }
        let choice = cx.core.rng.next_u64().wrapping_add(u64::from(round)) % (candidates.len().max(1) as u64);
        candidates.get(choice as usize).copied()
    }

    fn relay(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        mut tried: Vec<PeerId>,
        introducers: BTreeSet<PeerId>,
        purpose: Purpose,
    ) {
        let candidates = self.relays(&introducers);
        let next = candidates.into_iter().find(|relay| *relay != peer && !tried.contains(relay));
        if let Some(relay) = next.filter(|_| tried.len() < RELAYS_TRIED_MAX) {
            cx.core.outputs.push_back(Output::DialThrough { relay, peer });
            tried.push(relay);
            self.begin_traversal(cx, peer, Stage::Relaying(tried), introducers, purpose);
        }
    }

    /// Dials through the first relay while punching goes on. If that leads nowhere, all have their turn after it.
    fn relay_beside(&mut self, cx: &mut Context<'_>, peer: PeerId, introducers: &BTreeSet<PeerId>) {
        if let Some(relay) = self.relays(introducers).into_iter().find(|relay| *relay != peer) {
            cx.core.outputs.push_back(Output::DialThrough { relay, peer });
        }
    }

    /// A port was mapped, say: those that are sought, or reached through relays, may be reached straight now.
    pub(crate) fn meet_anew(&mut self, cx: &mut Context<'_>) {
        let traversals: Vec<(PeerId, BTreeSet<PeerId>)> = self
            .reachability
            .traversals
            .iter()
            .map(|(peer, traversal)| (*peer, traversal.introducers.clone()))
            .collect();
        for (peer, introducers) in traversals {
            let mut able =
                introducers.into_iter().filter(|by| *by != peer && self.reachability.can_ask(by, cx.core.now));
            if let Some(neighbour) = able.next() {
                self.ask_to_meet(cx, neighbour, peer);
            }
        }
    }

    fn upgrade(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        attempts: u32,
        introducers: BTreeSet<PeerId>,
        purpose: Purpose,
    ) {
        let relay = introducers.first().copied().filter(|_| cx.core.id() < peer);
        if let Some(relay) = relay.filter(|relay| self.reachability.can_ask(relay, cx.core.now)) {
            self.ask_to_meet(cx, relay, peer);
        }
        let wait = cx.core.config.reach_upgrade_after * (2 << attempts.min(UPGRADE_DOUBLINGS_MAX - 1));
        let (at, stage) = (self.after(cx, wait), Stage::Upgrading(attempts + 1));
        self.reachability.traversals.insert(peer, Traversal { stage, purpose, at, introducers });
    }
}
