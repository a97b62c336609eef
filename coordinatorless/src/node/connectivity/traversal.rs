//! NAT traversal: the search for a path to a peer that a dial does not reach, or not soon enough.
//!
//! The steps, each taken when the one before has failed or timed out:
//! 1. Hole punching: ask a mutual neighbour for an introduction. Both peers then dial each other at the same time, so
//!    that both NATs let the packets of the other side in. There are two rounds, with a small random spread. If this
//!    peer's own mapping varies there is only one round, which rarely helps, and step 2 is taken at the same time. If
//!    the first round takes longer than a usual dial, a relay is dialed beside it.
//! 2. Relays: dial through a neighbour that volunteers as a relay; neighbours that sent an address of the peer come
//!    first.
//!
//! A relayed connection is replaced as soon as possible. The peer with the smaller id requests an introduction from
//! the relay now and then, and either peer does when it gains an address; a direct connection then takes over. A
//! traversal that has tried all steps is given up, and the next failed dial starts a new one.

use core::time::Duration;
use std::collections::BTreeSet;

use murmur_collectives::PeerId;
use rand_chacha::rand_core::Rng;

use super::{Connectivity, Context, dialing::Purpose, reachability::Mapping};
use crate::{Output, Reach, Time};

/// The number of traversals at a time, at most.
const TRAVERSALS_MAX: usize = 64;

/// The number of rounds of hole punching before relays are dialed.
const PUNCH_ROUNDS: u32 = 2;

/// The number of relays dialed in one traversal, at most.
const RELAYS_TRIED_MAX: usize = 3;

/// The time between attempts to replace a relayed connection doubles this many times, at most.
const UPGRADE_DOUBLINGS_MAX: u32 = 5;

/// Up to this much is added to each timeout at random, so that many traversals do not act at the same moment.
const SPREAD: Duration = Duration::from_millis(500);

/// A round of hole punching waits this much longer than a dial, so that both sides have ended one round before the
/// next begins.
const ROUND_SLACK: Duration = Duration::from_secs(1);

/// The current step of a traversal.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// The first round of hole punching was requested, and no relay has been dialed beside it yet.
    FirstPunch,
    /// This many rounds of hole punching were requested.
    Punching(u32),
    /// These relays were dialed through.
    Relaying(Vec<PeerId>),
    /// Connected through a relay; this many attempts to replace the connection were made.
    Upgrading(u32),
}

/// A search for a path to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Traversal {
    stage: Stage,
    /// The purpose of the connection.
    pub(crate) purpose: Purpose,
    /// The time of the next step.
    pub(crate) at: Time,
    /// The neighbours that sent an address of the peer, and so are probably connected to it.
    introducers: BTreeSet<PeerId>,
}

impl Connectivity {
    /// A dial of `peer` failed or is slow: starts NAT traversal. Returns false if there is no step to take.
    pub(crate) fn start_traversal(&mut self, cx: &mut Context<'_>, peer: PeerId, purpose: Purpose) -> bool {
        if self.neighbours.is_connected(&peer) || self.reachability.traversals.contains_key(&peer) {
            return true;
        }
        let introducers = self.reachability.introducers_of(&peer);
        let futile = purpose == Purpose::Heal || cx.set.fold.is_evicted(&peer);
        if !futile {
            self.punch_or_relay(cx, peer, 0, introducers, purpose);
        }
        self.reachability.traversals.contains_key(&peer)
    }

    /// The purpose of the traversal for `peer`, if one is under way.
    pub(crate) fn traversal_purpose(&self, peer: &PeerId) -> Option<Purpose> {
        self.reachability.traversals.get(peer).map(|traversal| traversal.purpose)
    }

    /// Enters a step and sets its timeout. Does nothing if too many traversals are under way, or while this peer
    /// finishes.
    fn set_stage(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        stage: Stage,
        introducers: BTreeSet<PeerId>,
        purpose: Purpose,
    ) {
        let wait = match stage {
            Stage::Relaying(_) => cx.core.config.reach_patience,
            Stage::FirstPunch => self.doubt_after(cx).min(cx.core.config.reach_patience),
            Stage::Punching(_) => cx.core.config.reach_patience + ROUND_SLACK,
            Stage::Upgrading(_) => cx.core.config.reach_upgrade_after.min(cx.core.config.reach_patience + ROUND_SLACK),
        };
        if self.reachability.traversals.len() < TRAVERSALS_MAX && !cx.swarm.is_finishing {
            let at = self.jittered_deadline(cx, wait);
            self.reachability.traversals.insert(peer, Traversal { stage, purpose, at, introducers });
        }
    }

    /// The time `wait` from now, plus a random part of [`SPREAD`].
    fn jittered_deadline(&mut self, cx: &mut Context<'_>, wait: Duration) -> Time {
        let spread = SPREAD.min(wait).max(Duration::from_micros(1));
        let micros = cx.core.rng.next_u64() % (spread.as_micros() as u64);
        cx.core.now + wait + Duration::from_micros(micros)
    }

    /// A connection to `peer` came up, so its traversal ends. A relayed connection starts the search for a direct
    /// one.
    pub(crate) fn end_traversal(&mut self, cx: &mut Context<'_>, peer: PeerId, reach: Reach) {
        let purpose =
            self.reachability.traversals.remove(&peer).map_or(Purpose::Contact, |traversal| traversal.purpose);
        if let Reach::Relayed { by } = reach {
            self.set_stage(cx, peer, Stage::Upgrading(0), BTreeSet::from([by]), purpose);
        }
    }

    /// A connection to `peer` was lost. If it was not made by a plain dial, a dial alone would not bring it back, so
    /// NAT traversal is started at once.
    pub(crate) fn resume_traversal(&mut self, cx: &mut Context<'_>, peer: PeerId, reach: Reach) {
        self.reachability.traversals.remove(&peer);
        match reach {
            Reach::Direct => {}
            Reach::Punched => self.set_stage(cx, peer, Stage::Punching(0), BTreeSet::new(), Purpose::Lost),
            Reach::Relayed { by } => self.set_stage(cx, peer, Stage::Punching(0), BTreeSet::from([by]), Purpose::Lost),
        }
    }

    /// Takes all steps that are due.
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

    /// Takes the step that follows a timeout. If there is none, gives the peer up.
    fn step(&mut self, cx: &mut Context<'_>, peer: PeerId, traversal: Traversal) {
        if cx.set.fold.is_evicted(&peer) {
            return;
        }
        let Traversal { stage, introducers, purpose, .. } = traversal;
        match stage {
            Stage::FirstPunch => {
                self.dial_relay_in_parallel(cx, peer, &introducers);
                self.set_stage(cx, peer, Stage::Punching(1), introducers, purpose);
            }
            Stage::Punching(round) => self.punch_or_relay(cx, peer, round, introducers, purpose),
            Stage::Relaying(tried) => self.relay(cx, peer, tried, introducers, purpose),
            Stage::Upgrading(attempts) => self.upgrade(cx, peer, attempts, introducers, purpose),
        }
        if !self.neighbours.is_connected(&peer) && !self.reachability.traversals.contains_key(&peer) {
            self.give_up(cx, peer);
        }
    }

    /// Requests the next round of hole punching. After the last round, or without an introducer, dials through a
    /// relay.
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
        match self.choose_introducer(cx, peer, round, &introducers).filter(|_| round < rounds) {
            Some(neighbour) => {
                self.request_introduction(cx, neighbour, peer);
                if varies {
                    self.relay(cx, peer, Vec::new(), introducers.clone(), purpose);
                }
                if !self.reachability.traversals.contains_key(&peer) {
                    let stage = if round == 0 { Stage::FirstPunch } else { Stage::Punching(round + 1) };
                    self.set_stage(cx, peer, stage, introducers, purpose);
                }
            }
            None => self.relay(cx, peer, Vec::new(), introducers, purpose),
        }
    }

    /// Whether any neighbour can introduce this peer to `peer` now.
    pub(crate) fn has_introducer(&self, cx: &Context<'_>, peer: &PeerId) -> bool {
        self.reachability
            .paths
            .keys()
            .any(|candidate| candidate != peer && self.reachability.can_request_introduction(candidate, cx.core.now))
    }

    /// The neighbour to ask in this round: a random one of the introducers that are still connected directly, or else
    /// of all neighbours with a direct path.
    fn choose_introducer(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        round: u32,
        introducers: &BTreeSet<PeerId>,
    ) -> Option<PeerId> {
        let can_introduce = |candidate: &PeerId| {
            *candidate != peer && self.reachability.can_request_introduction(candidate, cx.core.now)
        };
        let mut candidates: Vec<PeerId> = introducers.iter().copied().filter(can_introduce).collect();
        if candidates.is_empty() {
            candidates = self.reachability.paths.keys().copied().filter(can_introduce).collect();
        }
        let choice = cx.core.rng.next_u64().wrapping_add(u64::from(round)) % (candidates.len().max(1) as u64);
        candidates.get(choice as usize).copied()
    }

    /// Dials through the next relay that was not tried yet. If there is none the traversal ends.
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
            self.set_stage(cx, peer, Stage::Relaying(tried), introducers, purpose);
        }
    }

    /// Dials through the first relay while hole punching goes on. If that fails, [`Stage::Relaying`] tries all
    /// relays, including this one.
    fn dial_relay_in_parallel(&mut self, cx: &mut Context<'_>, peer: PeerId, introducers: &BTreeSet<PeerId>) {
        if let Some(relay) = self.relays(introducers).into_iter().find(|relay| *relay != peer) {
            cx.core.outputs.push_back(Output::DialThrough { relay, peer });
        }
    }

    /// This peer gained an address, for example a port mapping: the peers of all traversals, including those
    /// connected through relays, may be reached directly now.
    pub(crate) fn repeat_introductions(&mut self, cx: &mut Context<'_>) {
        let traversals: Vec<(PeerId, BTreeSet<PeerId>)> = self
            .reachability
            .traversals
            .iter()
            .map(|(peer, traversal)| (*peer, traversal.introducers.clone()))
            .collect();
        for (peer, introducers) in traversals {
            let mut usable = introducers
                .into_iter()
                .filter(|by| *by != peer && self.reachability.can_request_introduction(by, cx.core.now));
            if let Some(neighbour) = usable.next() {
                self.request_introduction(cx, neighbour, peer);
            }
        }
    }

    /// Requests an introduction from the relay of a connection, to replace it. Only the peer with the smaller id
    /// does, so that the relay introduces the two once.
    fn upgrade(
        &mut self,
        cx: &mut Context<'_>,
        peer: PeerId,
        attempts: u32,
        introducers: BTreeSet<PeerId>,
        purpose: Purpose,
    ) {
        let relay = introducers.first().copied().filter(|_| cx.core.id() < peer);
        if let Some(relay) = relay.filter(|relay| self.reachability.can_request_introduction(relay, cx.core.now)) {
            self.request_introduction(cx, relay, peer);
        }
        let wait = cx.core.config.reach_upgrade_after * (2 << attempts.min(UPGRADE_DOUBLINGS_MAX - 1));
        let (at, stage) = (self.jittered_deadline(cx, wait), Stage::Upgrading(attempts + 1));
        self.reachability.traversals.insert(peer, Traversal { stage, purpose, at, introducers });
    }
}
