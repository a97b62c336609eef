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
use std::collections::BTreeMap;

use murmur_collectives::PeerId;

use super::context::Core;
use crate::Time;

/// How often a neighbour that has not vouched is asked again: the question or the answer may have been lost.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// A neighbour may have no room to remember one more member. It counts as having vouched after so many times the patience.
const UNHEARD_TIMES: u32 = 5;

/// A process that was connected and is no more waits so many times longer before it goes on alone: the first process with its
/// identity may have taken the connection back, and is met again once a dial gets through.
const LOST_TIMES: u32 = 6;

/// A connected peer, as a witness.
#[derive(Clone, Copy, Debug)]
struct Witness {
    /// When the connection came up.
    since: Time,
    /// When it first showed, on this connection, that it knows this process by its present start.
    vouched_at: Option<Time>,
}

/// What a process knows of others with its identity.
///
/// Contract: [`Solitude::connected`] and [`Solitude::disconnected`] follow the connections, [`Solitude::vouched`] the frames
/// of membership; whoever [`Solitude::due`] names is asked to vouch. Once [`Solitude::is_sure`], it stays so.
#[derive(Debug)]
pub(crate) struct Solitude {
    sure: bool,
    witnesses: BTreeMap<PeerId, Witness>,
    /// Whether anybody was connected since the start. Who lost that connection may have lost it to another process.
    met: bool,
    /// Since when nobody is connected, if nobody is; `None` until this process is told the time.
    unconnected_since: Option<Time>,
    ask_at: Time,
}

impl Solitude {
    /// `founding`: nobody can have signed anything with this identity yet.
    pub(crate) fn new(founding: bool) -> Self {
        Self {
            sure: founding,
            witnesses: BTreeMap::new(),
            met: false,
            unconnected_since: None,
            ask_at: Time::default(),
        }
    }

    /// Whether this process may sign.
    pub(crate) fn is_sure(&self) -> bool {
        self.sure
    }

    /// A connection with `peer` is up. Who vouched on an earlier one may have vouched for another process.
    pub(crate) fn connected(&mut self, peer: PeerId, now: Time) {
        self.witnesses.insert(peer, Witness { since: now, vouched_at: None });
    }

    /// The connection with `peer` is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId, now: Time) {
        if self.witnesses.remove(peer).is_some() && self.witnesses.is_empty() {
            (self.met, self.unconnected_since) = (true, Some(now));
        }
    }

    /// `peer` knows this process by its present start.
    pub(crate) fn vouched(&mut self, peer: &PeerId, now: Time) {
        if let Some(witness) = self.witnesses.get_mut(peer) {
            witness.vouched_at.get_or_insert(now);
        }
    }

    /// When [`Solitude::due`] has something to do.
    pub(crate) fn next_deadline(&self, core: &Core) -> Option<Time> {
        if self.sure {
            return None;
        }
        let begins = self.unconnected_since.is_none();
        let asks = (begins || self.silent().next().is_some()).then_some(self.ask_at);
        self.sure_at(core).into_iter().chain(asks).min()
    }

    /// Notes whether this process can be sure to be alone by now, and names those that are to be asked to vouch.
    pub(crate) fn due(&mut self, core: &Core) -> Vec<PeerId> {
        if self.sure {
            return Vec::new();
        }
        self.unconnected_since.get_or_insert(core.now);
        self.sure = self.sure_at(core).is_some_and(|at| at <= core.now);
        if self.ask_at > core.now {
            return Vec::new();
        }
        self.ask_at = core.now + ASK_EVERY;
        self.silent().collect()
    }

    /// Connected peers that have not vouched.
    fn silent(&self) -> impl Iterator<Item = PeerId> {
        self.witnesses.iter().filter(|(_, witness)| witness.vouched_at.is_none()).map(|(peer, _)| *peer)
    }

    /// When this process may take it that it is alone, if nothing happens until then.
    fn sure_at(&self, core: &Core) -> Option<Time> {
        if self.witnesses.is_empty() {
            let since = self.unconnected_since?;
            let times = if self.met { LOST_TIMES } else { 1 };
            return Some(since + core.config.lonely_after * times);
        }
        let patience = core.config.alone_after;
        let held = |witness: &Witness| match witness.vouched_at {
            Some(at) => at + patience,
            None => witness.since + patience * UNHEARD_TIMES,
        };
        self.witnesses.values().map(held).min()
    }
}
