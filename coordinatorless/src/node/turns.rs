//! When a round of making work final begins and ends, whose turn it is to offer, and how much work there may be that is not.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Node,
    frontier::{INSISTS_UNTIL_ROUND, TELLS_A_ROUND},
};
use crate::{Event, Time};
use murmur_collectives::{Hash, Patience, PeerId, Rounds};

/// A round lasts at most this many times the first.
const ROUND_GROWTH_MAX: u32 = 10;

/// With more epochs' work than this not final, none is added: memory and disk stay bounded.
const OPEN_EPOCHS_MAX: u64 = 12;

/// As much again may be added after this many rounds without a decision, up to so many times as much. A quarter of all work
/// not final is then of those who had reached the bound and are gone, at most: those who are left outweigh them.
const ROUNDS_UNTIL_MORE: u32 = 4;
const MORE_MAX: u32 = 4;

/// With so many epochs' work not final, a round begins whoever is at work: weights have not begun to fade then. So it does when
/// nobody has added anything for [`PATIENCE`].
const HURRIES_AFTER: u64 = 3;

/// First rounds' time without a decision after which work alone may decide, and a lock may fade.
const PATIENCE: u32 = 4;

impl Node {
    fn round_timeout(&self) -> core::time::Duration {
        let round = self.finality.rounds.as_ref().map_or(0, Rounds::round);
        self.core.config.round_timeout * round.saturating_add(1).min(ROUND_GROWTH_MAX)
    }

    /// When this peer's turn to offer comes in the present round.
    pub(super) fn turn_at(&self) -> Option<Time> {
        let rounds = self.finality.rounds.as_ref()?;
        let began = self.finality.round_began?;
        let turn = began + self.core.config.propose_stagger * self.finality.rank;
        // Somebody's offer is not acceptable yet: what it lacks may be on its way.
        let hopeful = |name: &Hash| self.finality.refused.get(name).is_none_or(|(_, hope)| *hope);
        let heard = rounds.proposed_now().any(|name| hopeful(&name));
        Some(if heard { turn.max(began + self.round_timeout() / 2) } else { turn })
    }

    pub(super) fn next_final_deadline(&self) -> Option<Time> {
        let Some(began) = self.finality.round_began else {
            return self.finality.hurries_at.filter(|_| self.finality.pending.is_none());
        };
        let over = self.finality.over_at;
        let offered = self.finality.rounds.as_ref().is_some_and(Rounds::has_proposed);
        let turn = self.turn_at().filter(|at| *at > self.core.now && !offered);
        Some(turn.map_or(over, |turn| turn.min(over)).min(self.finality.tell_at.max(began)))
    }

    /// A round that did not decide is over, a late one as soon as it is split for good; or it is time to tell again what was
    /// heard.
    pub(super) fn finality_due(&mut self) {
        let Some(began) = self.finality.round_began.filter(|_| self.catch_up.is_done()) else { return };
        let spoken = self.rounds().has_proposed() || self.rounds().proposed_now().next().is_some();
        let late = self.core.now >= self.finality.over_at;
        if late && !spoken {
            // Nobody had anything to offer. Whoever does so later is to find everyone in the same round.
            self.finality.over_at = self.core.now + self.round_timeout();
            self.wait_on();
        } else if late || self.is_in_vain(began) {
            self.wait_on();
            self.rounds().next_round();
            self.rounds().follow();
            self.begin_round();
            self.finality.refused.clear();
        }
        if self.core.now >= self.finality.tell_at {
            self.finality.tell_at = self.core.now + self.core.config.round_timeout / TELLS_A_ROUND;
            self.tell_again();
        }
    }

    /// Whether the first round of an epoch may begin: enough was done, and everybody who is there has added what it was at
    /// when the newest frontier became final. That may have begun too early to name that frontier; then the next one is to
    /// contain it, or else leaves it out for good. Where peers are many and epochs short, that would be much of all work.
    pub(super) fn is_due(&mut self) -> bool {
        let (clock, now, since) = (self.set.clock(), self.core.now, self.tokens_since_final());
        if self.finality.grown.0 != clock {
            self.finality.grown = (clock, now);
        }
        let every = self.finality.rules.frontier_every_tokens;
        let hurries_at = self.finality.grown.1 + self.core.config.round_timeout * PATIENCE;
        let hurries = since / HURRIES_AFTER >= every || now >= hurries_at;
        let waits = since >= every && !hurries && self.is_anyone_at_work();
        self.finality.hurries_at = waits.then_some(hurries_at);
        since >= every && !waits
    }

    /// Whether somebody who is there still has to add what it was at when the newest frontier became final.
    fn is_anyone_at_work(&mut self) -> bool {
        let log = self.set.fold.log();
        self.finality.at_work.retain(|author, had| log.segments(author) <= *had && !log.is_forked(author));
        let at_work = &self.finality.at_work;
        !at_work.is_empty() && self.there().iter().any(|peer| at_work.contains_key(peer))
    }

    /// Those who did work lately, and how many updates each has added.
    pub(super) fn at_work(&self) -> BTreeMap<PeerId, u32> {
        let (log, newest) = (self.set.fold.log(), self.set.fold.epochs().newest());
        let is_open = |peer: &PeerId| log.last_update(peer).is_some_and(|r| !newest.view.contains(peer, r.entry.seq()));
        let authors = log.version().iter().map(|(author, _)| author);
        let worked = authors.filter(|peer| newest.frontier.weight(peer) > 0 || is_open(peer));
        worked.map(|peer| (peer, log.segments(&peer))).collect()
    }

    pub(super) fn begin_round(&mut self) {
        (self.finality.round_began, self.finality.over_at) =
            (Some(self.core.now), self.core.now + self.round_timeout());
        self.finality.undecided_since.get_or_insert(self.core.now);
        // A neighbour may be known to nobody else yet.
        let there: BTreeSet<PeerId> = self.there().into_iter().chain(self.neighbours()).collect();
        let fading = self.is_fading();
        let rounds = self.rounds();
        // Those who did the work have turns, too, when weights fade; who they are, everyone sees a little differently.
        let rivals = there.iter().filter(|peer| fading || rounds.previous().weight(peer) > 0);
        self.finality.rank = rounds.rank(rivals);
    }

    /// Members that are up, as far as this peer knows, and itself.
    pub(super) fn there(&self) -> BTreeSet<PeerId> {
        self.membership.members().map(|member| member.peer).chain([self.finality.me]).collect()
    }

    /// For what this peer has waited as long as several first rounds last.
    pub(super) fn patience(&self) -> Patience {
        let long = |since: Time| self.core.now >= since + self.core.config.round_timeout * PATIENCE;
        let Some(since) = self.finality.undecided_since else { return Patience::default() };
        Patience { undecided: long(since), committed: long(since.max(self.finality.committed_at)) }
    }

    /// Whether weights fade: there is so much work that is not final.
    pub(super) fn is_fading(&mut self) -> bool {
        self.set.clock() >= self.set.fold.epochs().newest().frontier.fades_at(&self.finality.rules)
    }

    /// Whether a late round cannot decide any more: at once if it is split for good, and after the time that a first round
    /// has, if it would be so without those who are gone.
    fn is_in_vain(&mut self, began: Time) -> bool {
        if self.rounds().round() < INSISTS_UNTIL_ROUND && !self.is_fading() {
            return false;
        }
        let there = self.there();
        let ripe = self.core.now >= began + self.core.config.round_timeout;
        self.rounds().is_split(|peer| !ripe || there.contains(peer))
    }

    pub(super) fn tokens_since_final(&mut self) -> u64 {
        self.set.clock().saturating_sub(self.set.fold.epochs().newest().frontier.clock)
    }

    /// Whether so much work is not final that none is to be added. Told once.
    pub(super) fn is_stalled(&mut self) -> bool {
        let (tokens, stalled) = (self.tokens_since_final(), self.has_too_much_open());
        if stalled && !self.finality.stalled {
            self.finality.stalled = true;
            self.core.tell(Event::Stalled { tokens });
        }
        stalled
    }

    fn has_too_much_open(&mut self) -> bool {
        let times = u64::from((1 + self.finality.waited / ROUNDS_UNTIL_MORE).min(MORE_MAX));
        let most = self.finality.rules.frontier_every_tokens.saturating_mul(OPEN_EPOCHS_MAX * times);
        self.finality.is_on() && self.tokens_since_final() >= most
    }

    /// A round's time is over, and nothing was decided in it.
    fn wait_on(&mut self) {
        self.finality.waited = self.finality.waited.saturating_add(1);
        if self.finality.stalled && !self.has_too_much_open() {
            self.finality.stalled = false;
            self.core.tell(Event::Resumed);
        }
    }
}
