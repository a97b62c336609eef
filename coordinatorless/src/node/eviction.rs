//! Evictions: reporting this peer's own, and hearings for other evicted peers.
//!
//! A peer accepts that it is evicted only when its own fold proves it, because any peer can close a connection with
//! any code. So the connection of an evicted peer is not closed at once. The peer gets a *hearing*: it receives a
//! digest and may request the entries that it lacks, among them the proof. Its other messages are ignored. A hearing
//! is short, and the next one starts only after a pause, so that a hostile peer gains little by an eviction.
//!
//! Contract:
//! - [`Evictions::on_voided`] is told of every peer whose updates become void, and [`Evictions::give_hearing`] when an
//!   evicted peer connects.
//! - While [`Evictions::hears`] holds, messages of that peer go to [`Evictions::on_message`] and nowhere else.
//! - [`Evictions::check_own`] is called after every input; it looks at the set only if that has changed.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::{PeerId, Voided};
use murmur_verification::audit::Input;

use super::{
    audits::{self, Audits},
    connectivity::Neighbours,
    context::Core,
    set::Set,
};
use crate::{
    Digest, Message, Time,
    message::{Notice, Request, Sorted},
};

#[cfg(test)]
mod tests;

/// The longest duration of a hearing: recent entries take a few round trips.
const HEARING: Duration = Duration::from_secs(10);

/// The time between the starts of two hearings of one peer.
const HEARING_EVERY: Duration = Duration::from_secs(60);

/// The number of hearings stored, at most. If all are taken, a further evicted peer is disconnected without a
/// hearing.
const HEARINGS_MAX: usize = 1024;

/// What follows from an eviction in machines that send, serve and connect.
#[derive(Debug)]
pub(crate) enum Event {
    /// The peer is evicted: its addresses are forgotten, and no dial expects it any more.
    Unwanted(PeerId),
    /// Its hearing begins, or goes on over a new connection: it is no neighbour any more, and is told what is held here.
    Opened(PeerId),
    /// It has no hearing now: its connection ends.
    Closed(PeerId),
    /// It says in its hearing what it holds, which does not count.
    Digest {
        /// The peer.
        from: PeerId,
        /// Its digest.
        digest: Box<Digest>,
    },
    /// It asks for something in its hearing.
    Request {
        /// The peer.
        from: PeerId,
        /// The request.
        request: Request,
    },
    /// It leaves.
    Goodbye(PeerId),
}

/// A hearing of one peer, under way or ended lately.
#[derive(Clone, Copy, Debug)]
struct Hearing {
    ends_at: Time,
    open: bool,
}

/// The hearings of evicted peers, and whether this peer is evicted itself.
#[derive(Default, Debug)]
pub(crate) struct Evictions {
    hearings: BTreeMap<PeerId, Hearing>,
    /// The change count of the set that [`Evictions::check_own`] examined last.
    checked_at: Option<u64>,
    /// Whether this peer's own eviction was reported.
    reported: bool,
}

impl Evictions {
    /// The time at which [`Evictions::end`] has work.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.hearings.values().filter(|hearing| hearing.open).map(|hearing| hearing.ends_at).min()
    }

    /// Whether `peer` has a hearing now.
    pub(crate) fn hears(&self, peer: &PeerId) -> bool {
        self.hearings.get(peer).is_some_and(|hearing| hearing.open)
    }

    /// Whether the evicted `peer` may stay connected at `now`, for the hearing under way or for a new one.
    fn admits(&mut self, peer: PeerId, now: Time) -> bool {
        self.hearings.retain(|_, hearing| hearing.open || now < hearing.ends_at + (HEARING_EVERY - HEARING));
        if !self.hearings.contains_key(&peer) && self.hearings.len() < HEARINGS_MAX {
            self.hearings.insert(peer, Hearing { ends_at: now + HEARING, open: true });
        }
        self.hears(&peer)
    }

    /// Ends the hearings that have timed out, and returns their peers.
    fn end(&mut self, now: Time) -> Vec<PeerId> {
        let over = self.hearings.iter_mut().filter(|(_, hearing)| hearing.open && hearing.ends_at <= now);
        over.map(|(peer, hearing)| {
            hearing.open = false;
            *peer
        })
        .collect()
    }
}

/// What evictions may touch.
pub(crate) struct Context<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) set: &'a Set,
    pub(crate) neighbours: &'a Neighbours,
    pub(crate) audits: &'a mut Audits,
}

impl Evictions {
    /// Updates of `peer` became void: nobody audits them any more, the trainer is told, and the peer gets a hearing. An own
    /// eviction is told by [`Evictions::check_own`] alone, so that it is told once wherever the proof came from.
    pub(crate) fn on_voided(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        let Context { core, set, neighbours, audits } = cx;
        audits.handle(&mut audits::Context { core, set, neighbours }, Input::Evicted(peer));
        let Some(why) = cx.set.fold.voided(&peer).filter(|_| peer != cx.core.id()) else { return };
        cx.core.tell(crate::Event::Evicted { peer, why });
        self.give_hearing(cx, peer);
    }

    /// Gives an evicted peer, if it is connected, its hearing; or ends the connection if it had that lately.
    pub(crate) fn give_hearing(&mut self, cx: &mut Context<'_>, peer: PeerId) {
        cx.core.raise(Event::Unwanted(peer));
        if !cx.neighbours.is_connected(&peer) {
            return;
        }
        let admitted = self.admits(peer, cx.core.now);
        cx.core.raise(if admitted { Event::Opened(peer) } else { Event::Closed(peer) });
    }

    /// Ends hearings that have lasted long enough.
    pub(crate) fn handle_timeout(&mut self, core: &mut Core) {
        for peer in self.end(core.now) {
            core.raise(Event::Closed(peer));
        }
    }

    /// Takes what an evicted peer says in its hearing: it may ask, and nothing else that it says counts.
    pub(crate) fn on_message(&mut self, core: &mut Core, from: PeerId, message: Message) {
        match message.into() {
            Sorted::Request(request) => core.raise(Event::Request { from, request }),
            Sorted::Notice(Notice::Digest(digest)) => core.raise(Event::Digest { from, digest }),
            Sorted::Notice(Notice::Goodbye) => core.raise(Event::Goodbye(from)),
            Sorted::Notice(_) | Sorted::Response(_) => {}
        }
    }

    /// Reports this peer's own eviction as soon as its fold proves it. The proof may come from a neighbour, a final
    /// frontier, or the disk, so this is checked after every change of the set.
    pub(crate) fn check_own(&mut self, core: &mut Core, set: &Set) {
        if self.reported || self.checked_at.replace(set.changes()) == Some(set.changes()) {
            return;
        }
        let peer = core.id();
        let why: Option<Voided> = set.fold.voided(&peer);
        self.reported = why.is_some();
        why.into_iter().for_each(|why| core.tell(crate::Event::Evicted { peer, why }));
    }
}
