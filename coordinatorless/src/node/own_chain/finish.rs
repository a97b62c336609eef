//! Finishing: author nothing more, and leave when everyone who finishes, too, holds the same set and state.
//!
//! No vote is needed: when all neighbours are idle and equal, nothing new can arise among them.

use core::time::Duration;

use murmur_collectives::{PeerId, VersionVector};

use super::{Context, Event, OwnChain};
use crate::{Message, Time};

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

/// How far finishing is.
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

impl OwnChain {
    /// Begins to finish. Neighbours that still train are waited for no longer than `patience`.
    pub(crate) fn begin_finish(&mut self, cx: &mut Context<'_>, patience: Duration) {
        if !self.is_finishing() {
            let now = cx.net.core.now;
            let (patience_until, limit) = (now + patience, now + patience.max(HARD_LIMIT));
            self.finish.begun = Some(Times { patience_until, limit });
            self.finish.tell_at = now + TOLD_EVERY;
            cx.net.core.raise(Event::FinishBegun);
        }
    }

    pub(crate) fn is_finishing(&self) -> bool {
        self.finish.begun.is_some()
    }

    /// Neighbours that still train were waited for long enough: from now on entries are pulled only from those who finish,
    /// too. So what they hold together no longer grows, and they come to agree while the others train on.
    pub(crate) fn is_closing(&self, now: Time) -> bool {
        self.finish.begun.is_some_and(|times| now >= times.patience_until)
    }

    /// When finishing has to be looked at again.
    pub(crate) fn next_deadline(&self, now: Time) -> Option<Time> {
        let times = self.finish.begun?;
        [times.patience_until, times.limit, self.finish.tell_at].into_iter().filter(|at| *at > now).min()
    }

    /// Tells the trainer once that finishing is over, and now and then why it is not.
    pub(crate) fn check_finished(&mut self, cx: &mut Context<'_>) {
        let Some(times) = self.finish.begun else { return };
        let now = cx.net.core.now;
        if self.finish.told.as_ref() == Some(cx.set.fold.log().version()) {
            return;
        }
        let agreed = own_delays(cx).is_empty() && self.delays(cx).is_empty();
        if agreed || now >= times.limit {
            self.finish.told = Some(cx.set.fold.log().version().clone());
            cx.net.core.tell(crate::Event::Finished { agreed });
        } else if now >= self.finish.tell_at {
            self.finish.tell_at = now + TOLD_EVERY;
            let delays = self.delays(cx);
            cx.net.core.tell(crate::Event::Unfinished { delays });
        }
    }

    /// Says goodbye to all neighbours.
    pub(crate) fn say_goodbye(&self, cx: &mut Context<'_>) {
        let neighbours: Vec<PeerId> = cx.net.peers().collect();
        neighbours.into_iter().for_each(|peer| cx.net.send(peer, &Message::Goodbye));
    }

    /// What keeps a peer that finishes from leaving: nothing, if it is idle, every finishing neighbour is so, too, and equals
    /// it, and the own chain is safe with those who stay.
    pub(crate) fn delays(&self, cx: &mut Context<'_>) -> Vec<Delay> {
        let Some(times) = self.finish.begun else { return Vec::new() };
        let waiting = cx.net.core.now < times.patience_until;
        let (me, root) = (cx.id(), cx.set.state_root());
        let version = cx.set.fold.log().version();
        let own = version.count(&me);
        let mut delays = own_delays(cx);
        let needed = cx.net.peers().count().min(2);
        let mut holders = 0;
        for peer in cx.net.peers() {
            let claims = cx.replication.claims(&peer);
            let equal = || claims.is_some_and(|claims| claims.root == root && claims.vector == *version);
            match claims.is_some_and(|claims| claims.is_finishing) {
                true if claims.is_some_and(|claims| !claims.is_idle) => delays.push(Delay::Busy(peer)),
                true if !equal() => delays.push(Delay::Differs(peer)),
                false if waiting => delays.push(Delay::Trains(peer)),
                true | false => {}
            }
            let holds = || cx.replication.known(&peer).is_some_and(|known| known.count(&me) >= own);
            holders += usize::from(holders < needed && holds());
        }
        if holders < needed {
            delays.push(Delay::TooFewHold);
        }
        delays
    }
}

/// What keeps this peer itself busy.
fn own_delays(cx: &Context<'_>) -> Vec<Delay> {
    let open = cx.audits_open;
    let audits = (open > 0).then_some(Delay::Audits { open });
    let (asked, wanted) = cx.replication.awaited();
    let entries = (asked + wanted > 0).then_some(Delay::Entries { asked, wanted });
    audits.into_iter().chain(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use crate::node::replication::testing::id;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn delays(bench: &mut Bench) -> Vec<Delay> {
        let mut delays = Vec::new();
        bench.act(|own, cx| delays = own.delays(cx));
        delays
    }

    fn finishes(bench: &mut Bench) -> Vec<bool> {
        bench.act(|own, cx| own.check_finished(cx));
        let finished = |event| if let crate::Event::Finished { agreed } = event { Some(agreed) } else { None };
        bench.told().into_iter().filter_map(finished).collect()
    }

    #[test]
    fn a_peer_without_neighbours_finishes_at_once_and_is_told_so_once() {
        let mut bench = Bench::new(&[]);
        assert_eq!(finishes(&mut bench), []);
        bench.act(|own, cx| own.begin_finish(cx, PATIENCE));
        assert_eq!(finishes(&mut bench), [true]);
        assert_eq!(finishes(&mut bench), []);
    }

    #[test]
    fn a_neighbour_that_trains_is_waited_for_until_patience_is_over_and_the_limit_ends_it() {
        let mut bench = Bench::new(&[1]);
        bench.act(|own, cx| own.start(cx));
        bench.act(|own, cx| own.begin_finish(cx, PATIENCE));
        assert_eq!(delays(&mut bench), [Delay::Trains(id(1)), Delay::TooFewHold]);
        assert!(!bench.own.is_closing(bench.lower.now()));
        bench.lower.pass(PATIENCE);
        assert!(bench.own.is_closing(bench.lower.now()));
        assert_eq!(delays(&mut bench), [Delay::TooFewHold]);
        assert_eq!(finishes(&mut bench), []);
        bench.lower.pass(HARD_LIMIT);
        assert_eq!(finishes(&mut bench), [false]);
    }

    #[test]
    fn audits_and_requests_keep_a_peer() {
        let mut bench = Bench::new(&[]);
        bench.act(|own, cx| own.begin_finish(cx, PATIENCE));
        bench.audits_open = 2;
        bench.lower.machine.want_payloads(&[(id(10), 0)]);
        assert_eq!(delays(&mut bench), [Delay::Audits { open: 2 }, Delay::Entries { asked: 0, wanted: 1 }]);
        assert_eq!(finishes(&mut bench), []);
    }

    #[test]
    fn finishing_is_told_of_to_neighbours_once() {
        let mut bench = Bench::new(&[]);
        for begun in [1, 1] {
            bench.act(|own, cx| own.begin_finish(cx, PATIENCE));
            assert_eq!(bench.begun, begun);
        }
    }
}
