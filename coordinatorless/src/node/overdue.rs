//! A frontier that is decided and whose entries do not come. Those who held them may have pruned them since, or may have
//! begun at a final frontier themselves, without the payloads. Then nobody serves what is missing, and waiting on would be
//! for ever: this peer gives the log up and fetches the newest final state that a neighbour knows.

use core::time::Duration;

use murmur_collectives::{Hash, Proposal, VersionVector};

use super::Node;
use crate::Time;

/// What is missing of a decided frontier is waited for as long as some of it came within this time. As long as a fetch.
const OVERDUE_AFTER: Duration = Duration::from_secs(20);

/// How it stands with the entries of a decided frontier.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Getting {
    /// Entries and payloads missing when it was looked at last.
    missing: u64,
    /// When it is looked at again.
    look_at: Time,
    /// Nothing came for long: the log is given up, and the next final state is fetched.
    pub(super) is_hopeless: bool,
}

impl Node {
    /// A frontier was decided; what it takes may have to come first. One that was waited for already, and that somebody
    /// told of again, is waited for no longer.
    pub(super) fn begin_getting(&mut self, waited_for: Option<Hash>) {
        let name = self.finality.pending.as_ref().map(|(certificate, _)| certificate.frontier.name());
        if name != waited_for {
            let look_at = self.core.now + OVERDUE_AFTER;
            self.finality.getting = Getting { missing: self.missing_of_pending(), look_at, is_hopeless: false };
        }
    }

    /// When the entries of a decided frontier are looked for again.
    pub(super) fn next_getting(&self) -> Option<Time> {
        let waits = self.finality.pending.is_some() && !self.is_staging();
        waits.then_some(self.finality.getting.look_at)
    }

    /// Looks whether some of what a decided frontier takes came. If not, and a neighbour is past it, follows that one.
    pub(super) fn getting_due(&mut self) {
        if self.next_getting().is_none_or(|at| at > self.core.now) {
            return;
        }
        let missing = self.missing_of_pending();
        let number = self.set.fold.epochs().number();
        let past = self.connectivity.neighbours().iter().map(|(peer, _)| (self.replication.epoch_at(&peer).0, peer));
        let past = past.filter(|(epoch, _)| *epoch > number).max();
        let stuck = missing >= self.finality.getting.missing;
        self.finality.getting.missing = missing;
        self.finality.getting.look_at = self.core.now + OVERDUE_AFTER;
        if let Some((epoch, peer)) = past.filter(|_| stuck) {
            self.finality.getting.is_hopeless = true;
            self.seek_epoch(peer, epoch);
        }
    }

    /// Entries and payloads that the decided frontier takes and that are not here.
    fn missing_of_pending(&self) -> u64 {
        let Some((_, proposal)) = &self.finality.pending else { return 0 };
        let payloads = self.set.fold.payloads_to_finalize(proposal).len() as u64;
        entries_missing(proposal, self.set.fold.log().version()) + payloads
    }
}

fn entries_missing(proposal: &Proposal, held: &VersionVector) -> u64 {
    proposal.rows.iter().map(|row| u64::from(row.count.saturating_sub(held.count(&row.author)))).sum()
}
