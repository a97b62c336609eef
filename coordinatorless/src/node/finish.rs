//! Finishing: author nothing more, and leave when everyone who finishes, too, holds the same set and state.
//!
//! No vote is needed: when all neighbours are idle and equal, nothing new can arise among them.

use core::time::Duration;

use murmur_collectives::{PeerId, VersionVector};

use super::Node;
use crate::{Event, Message, Time};

/// How often it is tried at most to agree, whatever neighbours do.
const HARD_LIMIT: Duration = Duration::from_secs(120);

/// The state of finishing.
#[derive(Default, Debug)]
pub(super) struct Finish {
    begun: Option<Times>,
    /// The set that was agreed on last.
    told: Option<VersionVector>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    /// Until when neighbours that still train are waited for.
    patience_until: Time,
    /// Until when agreement is waited for.
    limit: Time,
}

impl Finish {
    pub(super) fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    pub(super) fn next_deadline(&self, now: Time) -> Option<Time> {
        let times = self.begun?;
        [times.patience_until, times.limit].into_iter().find(|at| *at > now)
    }
}

impl Node {
    pub(super) fn begin_finish(&mut self, patience: Duration) {
        if !self.finish.is_begun() {
            let (patience_until, limit) = (self.now + patience, self.now + patience.max(HARD_LIMIT));
            self.finish.begun = Some(Times { patience_until, limit });
            self.gossip.anti_entropy_at = self.now;
            self.anti_entropy_due();
        }
    }

    /// Nothing will be authored here unless something new arrives.
    pub(super) fn is_idle(&self) -> bool {
        self.finish.is_begun() && self.has_no_audits() && self.gossip.is_quiet()
    }

    /// Neighbours that still train were waited for long enough: from now on entries are pulled only from those who finish,
    /// too. So what they hold together no longer grows, and they come to agree while the others train on.
    pub(super) fn is_closing(&self) -> bool {
        self.finish.begun.is_some_and(|times| self.now >= times.patience_until)
    }

    pub(super) fn check_finished(&mut self) {
        let Some(times) = self.finish.begun else { return };
        if self.finish.told.as_ref() == Some(self.fold.log().version()) {
            return;
        }
        let agreed = self.is_idle() && self.agrees_with_all(times);
        if agreed || self.now >= times.limit {
            self.finish.told = Some(self.fold.log().version().clone());
            self.tell(Event::Finished { agreed });
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        let neighbours: Vec<PeerId> = self.neighbours();
        neighbours.into_iter().for_each(|peer| self.send(peer, &Message::Goodbye));
    }

    /// Every finishing neighbour equals this peer, and the own chain is safe with those who stay.
    fn agrees_with_all(&mut self, times: Times) -> bool {
        let waiting = self.now < times.patience_until;
        let (me, root) = (self.id(), self.state_root());
        let version = self.fold.log().version();
        let own = version.count(&me);
        let mut holders = 0;
        for (_, neighbour) in self.neighbours.iter() {
            let equal = neighbour.digest.as_ref().is_some_and(|(v, r)| v == version && *r == root);
            if neighbour.finishing && !(neighbour.idle && equal) {
                return false;
            }
            if !neighbour.finishing && waiting {
                return false;
            }
            holders += usize::from(neighbour.known.count(&me) >= own);
        }
        holders >= self.neighbours.len().min(2)
    }
}
