//! The pacemaker's timers: when a round began and ends, when this voter's turn to propose comes in it, when votes are told
//! again, and for how long nothing was decided.

use core::time::Duration;

use murmur_collectives::Patience;

use crate::{Config, Time};

/// A round lasts at most this many times the first. Rounds grow until one is long enough for the network at hand; the
/// bound keeps a swarm that was split for long from waiting as long again once it has healed.
const ROUND_GROWTH_MAX: u32 = 10;

/// How often votes are told again during the first round.
const TELLS_A_ROUND: u32 = 3;

/// After as long as this many first rounds without a decision, work alone may decide, and a lock may fade.
pub(super) const PATIENCE_ROUNDS: u32 = 4;

/// The timers of one epoch. The rank and the moments of a round are void while none is running.
#[derive(Default, Debug)]
pub(super) struct Pacemaker {
    /// When the present round began here; none before enough work was done to decide on.
    began_at: Option<Time>,
    /// When the present round is over.
    over_at: Time,
    /// How many others' turns to propose come before this voter's in it.
    rank: u32,
    /// No proposal is tried before: the last attempt found too few live voters to decide on one.
    propose_after: Time,
    /// When a neighbour is told again what was heard.
    tell_at: Time,
    /// When the first round of this epoch began here.
    undecided_since: Option<Time>,
    /// When this voter last signed a precommit in this epoch.
    precommitted_at: Time,
}

impl Pacemaker {
    pub(super) fn is_running(&self) -> bool {
        self.began_at.is_some()
    }

    pub(super) fn began_at(&self) -> Option<Time> {
        self.began_at
    }

    pub(super) fn begin_round(&mut self, now: Time, lasts: Duration) {
        self.began_at = Some(now);
        self.over_at = now + lasts;
        self.undecided_since.get_or_insert(now);
    }

    /// Nobody had anything to propose: the same round goes on.
    pub(super) fn extend_round(&mut self, now: Time, lasts: Duration) {
        self.over_at = now + lasts;
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        now >= self.over_at
    }

    pub(super) fn set_rank(&mut self, rank: u32) {
        self.rank = rank;
    }

    /// When this voter's turn to propose comes. If somebody's offer is on the table that may still become acceptable, half a
    /// round later: the entries that it takes may be on their way, and two offers would split the votes.
    pub(super) fn turn_at(&self, config: &Config, lasts: Duration, has_offer: bool) -> Option<Time> {
        let began = self.began_at?;
        let turn = began + config.propose_stagger * self.rank;
        Some(if has_offer { turn.max(began + lasts / 2) } else { turn })
    }

    /// Whether it is this voter's turn, given when it comes in the present round.
    pub(super) fn may_propose(&self, now: Time, turn_at: Time) -> bool {
        now >= turn_at.max(self.propose_after)
    }

    /// Nothing could be proposed: it is tried again when all whose turn is earlier have had another one.
    pub(super) fn propose_later(&mut self, now: Time, config: &Config) {
        self.propose_after = now + config.propose_stagger * (1 + self.rank);
    }

    pub(super) fn precommitted(&mut self, now: Time) {
        self.precommitted_at = now;
    }

    pub(super) fn schedule_retelling(&mut self, now: Time, config: &Config) {
        self.tell_at = now + config.round_timeout / TELLS_A_ROUND;
    }

    /// Whether votes are to be told again now; if so, the next time is scheduled.
    pub(super) fn is_retelling_due(&mut self, now: Time, config: &Config) -> bool {
        let due = now >= self.tell_at;
        if due {
            self.schedule_retelling(now, config);
        }
        due
    }

    /// When something is due in the present round: its end, a turn, or telling votes again.
    pub(super) fn next_deadline(&self, turn_at: Option<Time>) -> Option<Time> {
        let began = self.began_at?;
        let turn_or_end = turn_at.map_or(self.over_at, |turn| turn.min(self.over_at));
        Some(turn_or_end.min(self.tell_at.max(began)))
    }

    /// What this voter has waited for as long as several first rounds last.
    pub(super) fn patience(&self, now: Time, config: &Config) -> Patience {
        let Some(since) = self.undecided_since else { return Patience::default() };
        let long = |since: Time| now >= since + config.round_timeout * PATIENCE_ROUNDS;
        Patience { undecided: long(since), committed: long(since.max(self.precommitted_at)) }
    }

    /// The epoch is over. When votes were last told is kept, so that a new epoch does not tell them more often.
    pub(super) fn end_epoch(&mut self) {
        self.began_at = None;
        self.propose_after = Time::default();
        self.undecided_since = None;
        self.precommitted_at = Time::default();
    }
}

/// How long a round lasts: each longer than the one before, up to a bound.
pub(super) fn round_lasts(config: &Config, round: u32) -> Duration {
    config.round_timeout * round.saturating_add(1).min(ROUND_GROWTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let (round_timeout, propose_stagger) = (Duration::from_secs(3), Duration::from_millis(500));
        Config { round_timeout, propose_stagger, ..Config::default() }
    }

    fn at(millis: u64) -> Time {
        Time(millis * 1000)
    }

    #[test]
    fn each_round_is_longer_up_to_ten_times_the_first() {
        let lasts = |round| round_lasts(&config(), round).as_secs();
        assert_eq!([0, 1, 8, 9, 10, u32::MAX].map(lasts), [3, 6, 27, 30, 30, 30]);
    }

    #[test]
    fn turns_are_staggered_by_rank_and_wait_for_an_offer_that_may_pass() {
        let mut pacemaker = Pacemaker::default();
        assert_eq!(pacemaker.turn_at(&config(), Duration::from_secs(3), false), None);
        pacemaker.begin_round(at(1000), Duration::from_secs(3));
        pacemaker.set_rank(2);
        assert_eq!(pacemaker.turn_at(&config(), Duration::from_secs(3), false), Some(at(2000)));
        assert_eq!(pacemaker.turn_at(&config(), Duration::from_secs(3), true), Some(at(2500)));
        assert!(pacemaker.may_propose(at(2000), at(2000)));
        pacemaker.propose_later(at(2000), &config());
        assert!(!pacemaker.may_propose(at(3499), at(2000)) && pacemaker.may_propose(at(3500), at(2000)));
    }

    #[test]
    fn patience_is_counted_from_the_first_round_and_from_the_newest_precommit() {
        let mut pacemaker = Pacemaker::default();
        assert_eq!(pacemaker.patience(at(60_000), &config()), Patience::default());
        pacemaker.begin_round(at(0), Duration::from_secs(3));
        pacemaker.begin_round(at(3000), Duration::from_secs(6));
        pacemaker.precommitted(at(4000));
        assert_eq!(pacemaker.patience(at(11_999), &config()), Patience::default());
        assert_eq!(pacemaker.patience(at(12_000), &config()), Patience { undecided: true, committed: false });
        assert_eq!(pacemaker.patience(at(16_000), &config()), Patience { undecided: true, committed: true });
        pacemaker.end_epoch();
        assert_eq!(pacemaker.patience(at(60_000), &config()), Patience::default());
    }

    #[test]
    fn the_next_deadline_is_the_earliest_of_turn_end_and_retelling() {
        let mut pacemaker = Pacemaker::default();
        assert_eq!(pacemaker.next_deadline(None), None);
        pacemaker.begin_round(at(1000), Duration::from_secs(3));
        assert_eq!(pacemaker.next_deadline(None), Some(at(1000)), "it was never told");
        assert!(pacemaker.is_retelling_due(at(1000), &config()) && !pacemaker.is_retelling_due(at(1999), &config()));
        assert_eq!(pacemaker.next_deadline(None), Some(at(2000)));
        assert_eq!(pacemaker.next_deadline(Some(at(1500))), Some(at(1500)));
    }
}
