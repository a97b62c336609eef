//! A decided frontier whose entries stop coming.
//!
//! The peers that held them may have pruned them since, or may have begun at a final frontier themselves, without the
//! payloads. Then no peer serves what is missing, and waiting would never end: this peer gives up on the log, and has the
//! newest final state fetched that a neighbour knows.

use core::time::Duration;

use murmur_collectives::{Hash, Proposal, VersionVector};

use super::{Context, Finality, Joining};
use crate::Time;

/// How often it is checked that entries of a decided frontier still come. As long as a request and its retries take, so that
/// a single slow neighbour is not taken for all.
const CHECK_EVERY: Duration = Duration::from_secs(20);

/// How fetching the entries of a decided frontier goes.
#[derive(Default, Debug)]
pub(super) struct FetchProgress {
    /// Entries and payloads that were missing at the last check.
    missing: u64,
    check_at: Time,
    is_hopeless: bool,
}

impl FetchProgress {
    fn begin(missing: u64, now: Time) -> Self {
        Self { missing, check_at: now + CHECK_EVERY, is_hopeless: false }
    }

    /// Whether nothing came for long while a neighbour was past this frontier: then certificates are followed by state, not
    /// by log.
    pub(super) fn is_hopeless(&self) -> bool {
        self.is_hopeless
    }

    /// Counts what is `missing` now. Whether nothing came since the last check.
    fn check(&mut self, missing: u64, now: Time) -> bool {
        let is_stuck = missing >= self.missing;
        self.missing = missing;
        self.check_at = now + CHECK_EVERY;
        is_stuck
    }
}

impl Finality {
    /// A frontier was decided whose entries may have to come first. If `before`, the frontier that was waited for until now,
    /// is the same one, its time goes on: else every repetition of the proof would prolong it.
    pub(super) fn begin_fetch(&mut self, cx: &Context<'_>, before: Option<Hash>) {
        if self.decision.as_ref().map(|decision| decision.name()) != before {
            self.progress = FetchProgress::begin(self.missing(cx), cx.now());
        }
    }

    pub(super) fn next_fetch_deadline(&self, joining: Joining) -> Option<Time> {
        let waits = self.decision.is_some() && joining != Joining::Fetching;
        waits.then_some(self.progress.check_at)
    }

    /// Checks whether entries of a decided frontier still come. If none did and a neighbour is past it, follows that one.
    pub(super) fn fetch_due(&mut self, cx: &mut Context<'_>) {
        if self.next_fetch_deadline(cx.joining).is_none_or(|at| at > cx.now()) {
            return;
        }
        let is_stuck = self.progress.check(self.missing(cx), cx.now());
        let number = cx.set.fold.epochs().number();
        let epochs = cx.epochs_of_peers().map(|(peer, (epoch, _))| (epoch, peer));
        let newest = epochs.filter(|(epoch, _)| *epoch > number).max();
        if let Some((epoch, peer)) = newest.filter(|_| is_stuck) {
            self.progress.is_hopeless = true;
            self.seek_epoch(cx, peer, epoch);
        }
    }

    /// Entries and payloads that the decided frontier takes and that are not here.
    fn missing(&self, cx: &Context<'_>) -> u64 {
        let Some(decision) = &self.decision else { return 0 };
        let payloads = cx.set.fold.payloads_to_finalize(decision.proposal()).len() as u64;
        entries_missing(decision.proposal(), cx.set.fold.log().version()) + payloads
    }
}

fn entries_missing(proposal: &Proposal, held: &VersionVector) -> u64 {
    proposal.rows.iter().map(|row| u64::from(row.count.saturating_sub(held.count(&row.author)))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_stuck_when_as_much_is_missing_as_at_the_last_check() {
        let mut progress = FetchProgress::begin(10, Time(0));
        assert_eq!(progress.check_at, Time(20_000_000));
        assert!(!progress.check(9, Time(20_000_000)));
        assert!(progress.check(9, Time(40_000_000)));
        assert_eq!(progress.check_at, Time(60_000_000));
        assert!(progress.check(12, Time(60_000_000)), "more than before is no progress either");
    }
}
