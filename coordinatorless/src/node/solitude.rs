//! Being alone with one's identity: what a peer makes sure of before it signs anything.
//!
//! Two processes with one identity, as a copied folder makes them, sign different entries for one position: a fork, for
//! which both are evicted. Cards tell them apart (see [`Card`](super::membership::Card)), but only once news of the second
//! process has reached the first and its objection has come back. So a process signs nothing until a neighbour has
//! *vouched* for it, and the connection has held for [`Config::alone_after`](crate::Config::alone_after) since.
//!
//! A neighbour vouches by addressing a frame to this process's card, or by showing it: it knows of no later start, and has
//! begun to tell others of this one. Whatever it knew before, it shows whenever a connection comes up.
//!
//! Why the connection has to hold: a pair has one connection, and a transport cannot tell a restarted peer from a second
//! process. So the second process takes the place of the first at each neighbour that both have. The first finds its
//! connection gone, dials again, takes its place back, is shown the second one's card, and objects; when the second dials
//! again, it is shown the objection, and stops. A first process that is dead does none of that.
//!
//! A founder that has nothing stored begins a run and waits for nobody. A restarted peer without any neighbour goes on
//! alone, as after [`Config::lonely_after`](crate::Config::lonely_after) it does in everything.

use core::time::Duration;
use std::net::SocketAddr;

use murmur_collectives::PeerId;

use super::Node;
use crate::{Closing, Event, Output, Time};

/// How often a neighbour that has not vouched is asked again: the question or the answer may have been lost.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A neighbour may have no room to remember one more member. It counts as having vouched after so many times the patience.
const UNHEARD_TIMES: u32 = 5;

/// A process that was connected and is no more waits so many times longer before it goes on alone: the first process with its
/// identity may have taken the connection back, and is met again once a dial gets through.
const LOST_TIMES: u32 = 6;

/// What a process knows of others with its identity.
#[derive(Debug)]
pub(super) struct Solitude {
    sure: bool,
    /// Whether anybody was connected since the start. Who lost that connection may have lost it to another process.
    met: bool,
    /// Since when nobody is connected, if nobody is; `None` until this process is told the time.
    unconnected_since: Option<Time>,
    ask_at: Time,
}

impl Solitude {
    /// `founding`: nobody can have signed anything with this identity yet.
    pub(super) fn new(founding: bool) -> Self {
        Self { sure: founding, met: false, unconnected_since: None, ask_at: Time::default() }
    }

    /// Whether this process may sign.
    pub(super) fn is_sure(&self) -> bool {
        self.sure
    }

    /// The last connection is gone.
    pub(super) fn note_unconnected(&mut self, now: Time) {
        (self.met, self.unconnected_since) = (true, Some(now));
    }
}

impl Node {
    pub(super) fn next_solitude(&self) -> Option<Time> {
        if self.solitude.sure {
            return None;
        }
        let begins = self.solitude.unconnected_since.is_none();
        let asks = (begins || !self.neighbours.all_vouch()).then_some(self.solitude.ask_at);
        self.sure_at().into_iter().chain(asks).min()
    }

    /// When this process may take it that it is alone, if nothing happens until then.
    fn sure_at(&self) -> Option<Time> {
        if self.neighbours.len() == 0 {
            let since = self.solitude.unconnected_since?;
            let times = if self.solitude.met { LOST_TIMES } else { 1 };
            return Some(since + self.core.config.lonely_after * times);
        }
        let patience = self.core.config.alone_after;
        let held = |(vouched_at, since): (Option<Time>, Time)| {
            vouched_at.map_or(since + patience * UNHEARD_TIMES, |at| at + patience)
        };
        self.neighbours.vouchers().map(held).min()
    }

    /// Asks those who have not vouched yet, and notes when this process can be sure to be alone.
    pub(super) fn solitude_due(&mut self) {
        if self.solitude.sure {
            return;
        }
        self.solitude.unconnected_since.get_or_insert(self.core.now);
        self.solitude.sure = self.sure_at().is_some_and(|at| at <= self.core.now);
        if self.solitude.ask_at <= self.core.now {
            self.solitude.ask_at = self.core.now + ASK_EVERY;
            let silent: Vec<PeerId> = self.neighbours.silent_on_identity().collect();
            silent.into_iter().for_each(|peer| self.announce_to(peer));
        }
    }

    /// `from` knows this process by its present start.
    pub(super) fn on_vouched(&mut self, from: PeerId) {
        let now = self.core.now;
        if let Some(neighbour) = self.neighbours.entry(&from) {
            neighbour.vouched_at.get_or_insert(now);
        }
    }

    /// A living process with the same identity is at `address`. One that is not sure to be alone yet has only just started, and
    /// stops; one that is will be told in time that the other stopped, or who of the two it is.
    pub(super) fn on_twin(&mut self, address: SocketAddr) {
        self.on_dial_failed(address, false);
        if !self.solitude.sure {
            self.become_second();
        }
    }

    /// An earlier process with the same identity is alive: this one stops, and leaves all connections to that one. It says no
    /// goodbye, as that would be taken for the other's.
    pub(super) fn become_second(&mut self) {
        if self.membership.is_second() {
            return;
        }
        self.membership.stop_as_second();
        self.core.tell(Event::IdentityInUse);
        let peers: Vec<PeerId> = self.neighbours.iter_all().map(|(peer, _)| peer).collect();
        peers.into_iter().for_each(|peer| self.part(peer, Closing::Idle));
        self.dialing = super::Dialing::default();
        self.reaching = super::Reaching::default();
    }

    /// Whatever still happens to a second process: it takes part in nothing.
    pub(super) fn decline(&mut self, input: &crate::Input) {
        if let crate::Input::Connected { peer, .. } = input {
            self.core.outputs.push_back(Output::Close { peer: *peer, reason: Closing::Idle });
        }
    }
}
