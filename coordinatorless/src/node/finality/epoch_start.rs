//! When the first round of an epoch may begin: after enough work, and after the segments have arrived that were under way
//! when the newest frontier became final.
//!
//! A segment under way at that moment may have begun too early to name the newest frontier. Then the next frontier has to
//! contain it, or excludes it for good. Where peers are many and epochs short, not waiting would cost much of all work.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use murmur_collectives::PeerId;

use super::{Context, Finality, pacemaker::PATIENCE_ROUNDS};
use crate::Time;

/// With this many epochs' work not final, a round begins although segments are under way: weights begin to fade with one
/// more, and then fewer votes decide.
const HURRIES_AFTER: u64 = 3;

/// What the first round of an epoch waits for.
#[derive(Default, Debug)]
pub(super) struct EpochStart {
    /// Authors whose segments may have been under way when the newest frontier became final, and how many updates each had
    /// added then.
    under_way: BTreeMap<PeerId, u32>,
    /// Tokens of the set, and since when there are that many.
    grown: (u64, Time),
    /// When those segments are not waited for any longer, if they are now.
    hurries_at: Option<Time>,
}

/// The work that is open when it is asked whether a round may begin.
struct Open {
    /// Tokens of the set.
    clock: u64,
    /// Tokens that are not final.
    tokens: u64,
    /// Tokens between two frontiers.
    epoch_tokens: u64,
}

impl EpochStart {
    /// A frontier has become final: forgets what the one before it waited for.
    pub(super) fn end_epoch(&mut self) {
        self.hurries_at = None;
    }

    /// The segments that the next frontier waits for.
    pub(super) fn wait_for(&mut self, under_way: BTreeMap<PeerId, u32>) {
        self.under_way = under_way;
    }

    pub(super) fn hurries_at(&self) -> Option<Time> {
        self.hurries_at
    }

    /// Whether a round may begin. `is_awaited` says whether one of the segments under way may still arrive. It is not waited
    /// for when nobody has added anything for `patience`, or when much more work is open than an epoch takes.
    fn is_due(
        &mut self,
        now: Time,
        open: &Open,
        patience: Duration,
        is_awaited: impl FnOnce(&mut BTreeMap<PeerId, u32>) -> bool,
    ) -> bool {
        if self.grown.0 != open.clock {
            self.grown = (open.clock, now);
        }
        let hurries_at = self.grown.1 + patience;
        let enough = open.tokens >= open.epoch_tokens;
        let hurries = open.tokens / HURRIES_AFTER >= open.epoch_tokens || now >= hurries_at;
        let waits = enough && !hurries && is_awaited(&mut self.under_way);
        self.hurries_at = waits.then_some(hurries_at);
        enough && !waits
    }
}

impl Finality {
    /// Whether the first round of an epoch may begin.
    pub(super) fn is_epoch_due(&mut self, cx: &mut Context<'_>) -> bool {
        let open = Open {
            clock: cx.set.clock(),
            tokens: cx.tokens_since_final(),
            epoch_tokens: self.rules.frontier_every_tokens,
        };
        let patience = cx.config().round_timeout * PATIENCE_ROUNDS;
        self.epoch_start.is_due(cx.now(), &open, patience, |under_way| {
            let log = cx.set.fold.log();
            under_way.retain(|author, had| log.segments(author) <= *had && !log.is_forked(author));
            !under_way.is_empty() && is_any_live(under_way, &cx.live_members())
        })
    }
}

fn is_any_live(under_way: &BTreeMap<PeerId, u32>, live: &BTreeSet<PeerId>) -> bool {
    live.iter().any(|peer| under_way.contains_key(peer))
}

/// Authors that worked lately, and how many updates each has added.
pub(super) fn segments_under_way(cx: &Context<'_>) -> BTreeMap<PeerId, u32> {
    let (log, newest) = (cx.set.fold.log(), cx.set.fold.epochs().newest());
    let is_open = |peer: &PeerId| log.last_update(peer).is_some_and(|r| !newest.view.contains(peer, r.entry.seq()));
    let authors = log.version().iter().map(|(author, _)| author);
    let worked = authors.filter(|peer| newest.frontier.weight(peer) > 0 || is_open(peer));
    worked.map(|peer| (peer, log.segments(&peer))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(12);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn open(clock: u64) -> Open {
        Open { clock, tokens: clock, epoch_tokens: 100 }
    }

    #[test]
    fn a_round_begins_with_enough_work_if_no_segment_is_awaited() {
        let mut start = EpochStart::default();
        assert!(!start.is_due(at(0), &open(99), PATIENCE, |_| false));
        assert!(start.is_due(at(0), &open(100), PATIENCE, |_| false));
    }

    #[test]
    fn segments_are_awaited_until_nothing_has_come_for_long() {
        let mut start = EpochStart::default();
        assert!(!start.is_due(at(1), &open(100), PATIENCE, |_| true));
        assert_eq!(start.hurries_at(), Some(at(13)));
        assert!(!start.is_due(at(9), &open(150), PATIENCE, |_| true), "something came");
        assert!(!start.is_due(at(20), &open(150), PATIENCE, |_| true));
        assert!(start.is_due(at(21), &open(150), PATIENCE, |_| true));
        assert_eq!(start.hurries_at(), None);
    }

    #[test]
    fn segments_are_not_awaited_before_weights_fade() {
        let mut start = EpochStart::default();
        assert!(!start.is_due(at(1), &open(299), PATIENCE, |_| true));
        assert!(start.is_due(at(1), &open(300), PATIENCE, |_| true));
    }
}
