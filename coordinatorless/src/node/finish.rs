//! Finishing: author nothing more, and leave when everyone who finishes, too, holds the same set and state.
//!
//! No vote is needed: when all neighbours are idle and equal, nothing new can arise among them.

use core::time::Duration;

use murmur_collectives::{PeerId, VersionVector};

use super::{Node, replication::Replication};
use crate::{Event, Message, Time};

/// How long it is tried at most to agree, whatever neighbours do.
const HARD_LIMIT: Duration = Duration::from_secs(120);

/// How often it is told why finishing is not over yet.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Delays that are listed in words.
const LISTED: usize = 3;

/// Why a peer that finishes may not leave yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delay {
    /// It replays updates of others.
    Audits {
        /// How many.
        open: usize,
    },
    /// It waits for entries or payloads it asked for.
    Entries {
        /// How many requests wait for an answer.
        asked: usize,
        /// How many payloads are wanted of whoever has them.
        wanted: usize,
    },
    /// A neighbour that finishes, too, is not idle.
    Busy(PeerId),
    /// A neighbour that finishes, too, has told another set or state.
    Differs(PeerId),
    /// A neighbour still trains, and patience is not over.
    Trains(PeerId),
    /// Too few neighbours hold all that this peer said.
    TooFewHold,
}

impl Delay {
    /// The first few of them in one line, and how many more there are.
    pub fn list(delays: &[Self]) -> String {
        let mut said: Vec<String> = delays.iter().take(LISTED).map(ToString::to_string).collect();
        if delays.len() > LISTED {
            said.push(format!("and {} more", delays.len() - LISTED));
        }
        said.join(", ")
    }
}

impl core::fmt::Display for Delay {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Audits { open } => write!(f, "{open} audits are under way"),
            Self::Entries { asked, wanted } => write!(f, "{asked} requests and {wanted} payloads are on their way"),
            Self::Busy(peer) => write!(f, "{} is not idle", peer.petname()),
            Self::Differs(peer) => write!(f, "{} holds another set", peer.petname()),
            Self::Trains(peer) => write!(f, "{} still trains", peer.petname()),
            Self::TooFewHold => f.write_str("too few hold its own updates"),
        }
    }
}

/// The state of finishing.
#[derive(Default, Debug)]
pub(super) struct Finish {
    begun: Option<Times>,
    /// When it is told next why it is not over.
    tell_at: Time,
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
        [times.patience_until, times.limit, self.tell_at].into_iter().filter(|at| *at > now).min()
    }
}

impl Node {
    pub(super) fn begin_finish(&mut self, patience: Duration) {
        if !self.finish.is_begun() {
            let (patience_until, limit) = (self.core.now + patience, self.core.now + patience.max(HARD_LIMIT));
            self.finish.begun = Some(Times { patience_until, limit });
            self.finish.tell_at = self.core.now + TOLD_EVERY;
            self.replicate(Replication::anti_entropy_now);
        }
    }

    /// Nothing will be authored here unless something new arrives.
    pub(super) fn is_idle(&self) -> bool {
        self.finish.is_begun() && self.own_delays().is_empty()
    }

    /// Neighbours that still train were waited for long enough: from now on entries are pulled only from those who finish,
    /// too. So what they hold together no longer grows, and they come to agree while the others train on.
    pub(super) fn is_closing(&self) -> bool {
        self.finish.begun.is_some_and(|times| self.core.now >= times.patience_until)
    }

    pub(super) fn check_finished(&mut self) {
        let Some(times) = self.finish.begun else { return };
        if self.finish.told.as_ref() == Some(self.set.fold.log().version()) {
            return;
        }
        let agreed = self.is_idle() && self.delays().is_empty();
        if agreed || self.core.now >= times.limit {
            self.finish.told = Some(self.set.fold.log().version().clone());
            self.core.tell(Event::Finished { agreed });
        } else if self.core.now >= self.finish.tell_at {
            self.finish.tell_at = self.core.now + TOLD_EVERY;
            let delays = self.delays();
            self.core.tell(Event::Unfinished { delays });
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        let neighbours: Vec<PeerId> = self.neighbours();
        neighbours.into_iter().for_each(|peer| self.send(peer, &Message::Goodbye));
    }

    /// What keeps a peer that finishes from leaving: nothing, if it is idle, every finishing neighbour is so, too, and equals
    /// it, and the own chain is safe with those who stay.
    pub fn delays(&mut self) -> Vec<Delay> {
        let Some(times) = self.finish.begun else { return Vec::new() };
        let waiting = self.core.now < times.patience_until;
        let (me, root) = (self.id(), self.set.state_root());
        let version = self.set.fold.log().version();
        let own = version.count(&me);
        let mut delays = self.own_delays();
        let mut holders = 0;
        for (peer, _) in self.connectivity.neighbours().iter() {
            let claims = self.replication.claims(&peer);
            let equal = claims.is_some_and(|claims| claims.vector == *version && claims.root == root);
            match claims.is_some_and(|claims| claims.is_finishing) {
                true if claims.is_some_and(|claims| !claims.is_idle) => delays.push(Delay::Busy(peer)),
                true if !equal => delays.push(Delay::Differs(peer)),
                false if waiting => delays.push(Delay::Trains(peer)),
                true | false => {}
            }
            holders += usize::from(self.replication.known(&peer).is_some_and(|known| known.count(&me) >= own));
        }
        if holders < self.connectivity.neighbours().iter().count().min(2) {
            delays.push(Delay::TooFewHold);
        }
        delays
    }

    fn own_delays(&self) -> Vec<Delay> {
        let open = self.audits_open();
        let audits = (open > 0).then_some(Delay::Audits { open });
        let (asked, wanted) = self.replication.awaited();
        let entries = (asked + wanted > 0).then_some(Delay::Entries { asked, wanted });
        audits.into_iter().chain(entries).collect()
    }
}
