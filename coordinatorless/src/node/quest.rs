//! The search for a way to a peer that could not be dialed where others said it is, or not soon.
//!
//! In this order, each step when the one before has failed or taken too long:
//! 1. Ask a mutual neighbour to bring both together: both dial each other at once, so that both translators let the other
//!    in. Two rounds, with a small random spread; one if this peer's own mapping varies, as then it rarely helps, and the
//!    next step is taken beside it. A first round that takes longer than a dial should gets a relay beside it, too.
//! 2. Dial through a neighbour that volunteers as a relay, those first who spoke of the peer.
//!
//! A relayed connection is not the end: the smaller of the two asks the relay now and then to bring both together, and
//! either does when it has a new address of its own; a straight connection takes over. A quest that has tried everything is
//! given up; it begins anew when the next dial fails.

use core::time::Duration;
use std::collections::BTreeSet;

use murmur_collectives::PeerId;
use rand_chacha::rand_core::Rng;

use super::{Node, dialing::Purpose, reach::Mapping};
use crate::{Output, Reach, Time};

/// Quests at once, at most.
const QUESTS_MAX: usize = 64;

/// Rounds of punching until a relay is sought.
const PUNCH_ROUNDS: u32 = 2;

/// Relays tried in one quest, at most.
const RELAYS_TRIED_MAX: usize = 3;

/// Doublings of the time between attempts to replace a relayed connection.
const UPGRADE_DOUBLINGS_MAX: u32 = 5;

/// Up to this much is added to each time, so that many quests do not move in step.
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
pub(super) struct Quest {
    stage: Stage,
    /// What the connection is for.
    pub(super) purpose: Purpose,
    /// When the next step is due.
    pub(super) at: Time,
    /// Who spoke of the peer, and so may be its neighbour.
    introducers: BTreeSet<PeerId>,
}

impl Node {
    /// Dialing `peer` has failed or takes long: looks for another way. False if there is none to look for.
    pub(super) fn begin_search(&mut self, peer: PeerId, purpose: Purpose) -> bool {
        if self.neighbours.is_connected(&peer) || self.reaching.quests.contains_key(&peer) {
            return true;
        }
        let introducers = self.reaching.introducers_of(&peer);
        let hopeless = purpose == Purpose::Heal || self.set.fold.is_evicted(&peer);
        if !hopeless {
            self.punch_or_relay(peer, 0, introducers, purpose);
        }
        self.reaching.quests.contains_key(&peer)
    }

    /// What a search for `peer` is for, if one is under way.
    pub(super) fn quest_purpose(&self, peer: &PeerId) -> Option<Purpose> {
        self.reaching.quests.get(peer).map(|quest| quest.purpose)
    }

    fn begin_quest(&mut self, peer: PeerId, stage: Stage, introducers: BTreeSet<PeerId>, purpose: Purpose) {
        let wait = match stage {
            Stage::Relaying(_) => self.core.config.reach_patience,
            Stage::Meeting => self.doubt_after().min(self.core.config.reach_patience),
            Stage::Punching(_) => self.core.config.reach_patience + ROUND_SLACK,
            Stage::Upgrading(_) => {
                self.core.config.reach_upgrade_after.min(self.core.config.reach_patience + ROUND_SLACK)
            }
        };
        if self.reaching.quests.len() < QUESTS_MAX && !self.own_chain.is_finishing() {
            let at = self.after(wait);
            self.reaching.quests.insert(peer, Quest { stage, purpose, at, introducers });
        }
    }

    /// `wait` from now and a little more.
    fn after(&mut self, wait: Duration) -> Time {
        let spread = SPREAD.min(wait).max(Duration::from_micros(1));
        let micros = self.core.rng.next_u64() % (spread.as_micros() as u64);
        self.core.now + wait + Duration::from_micros(micros)
    }

    /// A connection is up. If it is relayed, a better one is sought from now on.
    pub(super) fn end_quest(&mut self, peer: PeerId, reach: Reach) {
        let purpose = self.reaching.quests.remove(&peer).map_or(Purpose::Contact, |quest| quest.purpose);
        if let Reach::Relayed { by } = reach {
            self.begin_quest(peer, Stage::Upgrading(0), BTreeSet::from([by]), purpose);
        }
    }

    /// A connection is gone. One that took more than a dial is sought again the same way, as a dial would not bring it back.
    pub(super) fn lost_quest(&mut self, peer: PeerId, reach: Reach) {
        self.reaching.quests.remove(&peer);
        match reach {
            Reach::Direct => {}
            Reach::Punched => self.begin_quest(peer, Stage::Punching(0), BTreeSet::new(), Purpose::Lost),
            Reach::Relayed { by } => self.begin_quest(peer, Stage::Punching(0), BTreeSet::from([by]), Purpose::Lost),
        }
    }

    /// Takes every step that is due.
    pub(super) fn quests_due(&mut self) {
        let now = self.core.now;
        let due: Vec<PeerId> =
            self.reaching.quests.iter().filter(|(_, quest)| quest.at <= now).map(|(peer, _)| *peer).collect();
        for peer in due {
            if let Some(quest) = self.reaching.quests.remove(&peer) {
                self.step(peer, quest);
            }
        }
    }

    fn step(&mut self, peer: PeerId, quest: Quest) {
        if self.set.fold.is_evicted(&peer) {
            return;
        }
        let Quest { stage, introducers, purpose, .. } = quest;
        match stage {
            Stage::Meeting => {
                self.relay_beside(peer, &introducers);
                self.begin_quest(peer, Stage::Punching(1), introducers, purpose);
            }
            Stage::Punching(round) => self.punch_or_relay(peer, round, introducers, purpose),
            Stage::Relaying(tried) => self.relay(peer, tried, introducers, purpose),
            Stage::Upgrading(attempts) => self.upgrade(peer, attempts, introducers, purpose),
        }
        if !self.neighbours.is_connected(&peer) && !self.reaching.quests.contains_key(&peer) {
            self.give_up_reaching(peer);
        }
    }

    fn punch_or_relay(&mut self, peer: PeerId, round: u32, introducers: BTreeSet<PeerId>, purpose: Purpose) {
        let varies = self.mapping() == Mapping::Varies;
        let rounds = if varies { 1 } else { PUNCH_ROUNDS };
        match self.go_between(peer, round, &introducers).filter(|_| round < rounds) {
            Some(neighbour) => {
                self.ask_to_meet(neighbour, peer);
                if varies {
                    self.relay(peer, Vec::new(), introducers.clone(), purpose);
                }
                if !self.reaching.quests.contains_key(&peer) {
                    let stage = if round == 0 { Stage::Meeting } else { Stage::Punching(round + 1) };
                    self.begin_quest(peer, stage, introducers, purpose);
                }
            }
            None => self.relay(peer, Vec::new(), introducers, purpose),
        }
    }

    /// Whether anybody can be asked to bring this peer and `peer` together.
    pub(super) fn has_go_between(&self, peer: &PeerId) -> bool {
        self.reaching.paths.keys().any(|candidate| candidate != peer && self.reaching.can_ask(candidate, self.core.now))
    }

    /// Whom to ask in this round: one who spoke of the peer if still there, else any straight neighbour.
    fn go_between(&mut self, peer: PeerId, round: u32, introducers: &BTreeSet<PeerId>) -> Option<PeerId> {
        let straight = |candidate: &PeerId| *candidate != peer && self.reaching.can_ask(candidate, self.core.now);
        let mut candidates: Vec<PeerId> = introducers.iter().copied().filter(straight).collect();
        if candidates.is_empty() {
            candidates = self.reaching.paths.keys().copied().filter(straight).collect();
        }
        let choice = self.core.rng.next_u64().wrapping_add(u64::from(round)) % (candidates.len().max(1) as u64);
        candidates.get(choice as usize).copied()
    }

    fn relay(&mut self, peer: PeerId, mut tried: Vec<PeerId>, introducers: BTreeSet<PeerId>, purpose: Purpose) {
        let candidates = self.relays(&introducers);
        let next = candidates.into_iter().find(|relay| *relay != peer && !tried.contains(relay));
        if let Some(relay) = next.filter(|_| tried.len() < RELAYS_TRIED_MAX) {
            self.core.outputs.push_back(Output::DialThrough { relay, peer });
            tried.push(relay);
            self.begin_quest(peer, Stage::Relaying(tried), introducers, purpose);
        }
    }

    /// Dials through the first relay while punching goes on. If that leads nowhere, all have their turn after it.
    fn relay_beside(&mut self, peer: PeerId, introducers: &BTreeSet<PeerId>) {
        if let Some(relay) = self.relays(introducers).into_iter().find(|relay| *relay != peer) {
            self.core.outputs.push_back(Output::DialThrough { relay, peer });
        }
    }

    /// A port was mapped, say: those that are sought, or reached through relays, may be reached straight now.
    pub(super) fn meet_anew(&mut self) {
        let quests: Vec<(PeerId, BTreeSet<PeerId>)> =
            self.reaching.quests.iter().map(|(peer, quest)| (*peer, quest.introducers.clone())).collect();
        for (peer, introducers) in quests {
            let mut able = introducers.into_iter().filter(|by| *by != peer && self.reaching.can_ask(by, self.core.now));
            if let Some(neighbour) = able.next() {
                self.ask_to_meet(neighbour, peer);
            }
        }
    }

    fn upgrade(&mut self, peer: PeerId, attempts: u32, introducers: BTreeSet<PeerId>, purpose: Purpose) {
        let relay = introducers.first().copied().filter(|_| self.id() < peer);
        if let Some(relay) = relay.filter(|relay| self.reaching.can_ask(relay, self.core.now)) {
            self.ask_to_meet(relay, peer);
        }
        let wait = self.core.config.reach_upgrade_after * (2 << attempts.min(UPGRADE_DOUBLINGS_MAX - 1));
        let (at, stage) = (self.after(wait), Stage::Upgrading(attempts + 1));
        self.reaching.quests.insert(peer, Quest { stage, purpose, at, introducers });
    }
}
