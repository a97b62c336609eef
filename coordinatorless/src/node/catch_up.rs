//! Catching up: a peer first takes over the newest final frontier that a neighbour knows, if there is one, then pulls the
//! rest of the log, until its set contains a neighbour's and the state of that part is the same. Until then it authors
//! nothing, and serves only entries, which prove themselves.
//!
//! A restarted peer begins with what its disk held. Its own chain must be back to its full length first, so that it cannot
//! sign a second entry for a position that it has signed before. If the missing part does not come, because no peer is left
//! that holds what it builds on, the peer votes and serves all the same, and authors nothing until a final frontier excludes
//! what it said. It must also know that no other process signs with its identity: see `identity_guard`.
//!
//! Contract:
//! - [`CatchUp::check`] is called after every change, [`CatchUp::handle_timeout`] at [`CatchUp::next_deadline`].
//! - [`CatchUp::begin_staging`] is given a chain of certificates that was checked. While [`CatchUp::is_staging`], the events
//!   of the transfer and the entries that come in belong here, and the set does not change.
//! - On [`Event::Replaces`] the node replaces the fold, and gives the former one to [`CatchUp::on_replaced`].
//! - [`CatchUp::expect_own`] is told of every own entry that may have been signed before, and [`CatchUp::may_sign`] is asked
//!   before the next is signed.

mod checkpoint;
mod staging;

use core::time::Duration;
use std::sync::Arc;

use murmur_collectives::{Certificate, Entry, Fold, Hash, PeerId, Rules, VersionVector};
use murmur_kernels::state_root;

pub(crate) use self::checkpoint::{Restored, read_checkpoint};
use self::staging::Staging;
use super::{
    Stored,
    context::{Core, Network},
    finality::Joining,
    own_carries::OwnCarries,
    set::Set,
    transfer::{self, Transfer},
};
use crate::Time;

/// A fetch of a final frontier is given up when nothing of it came for this long.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// A peer waits for the missing part of its own chain until this long after its start.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);

/// What catching up has come to.
#[derive(Debug)]
pub(crate) enum Event {
    /// This peer may train and serve.
    CaughtUp,
    /// Entries are pulled from now on.
    Follows,
    /// An entry came that is beyond the frontier which is fetched: it waits until the set is there.
    Keeps {
        /// The entry.
        entry: Box<Entry>,
        /// Its payload.
        payload: Option<Arc<[u8]>>,
    },
    /// The former set held this entry beyond the frontier: it may still fit, and is tried again next.
    Restores {
        /// The entry.
        entry: Box<Entry>,
        /// Its payload.
        payload: Option<Arc<[u8]>>,
    },
    /// A final frontier is here: the fold is replaced by one that begins at it.
    Replaces(Box<Replacement>),
    /// The proof that an epoch is final is needed, and this peer has it.
    Seeks {
        /// A peer that knows the epoch.
        peer: PeerId,
        /// The epoch.
        epoch: u32,
    },
}

/// A fold that begins at a final frontier.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) fold: Fold,
    /// The certificates of all final frontiers up to that one.
    pub(crate) chain: Vec<Certificate>,
}

/// What a neighbour says of its set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) peer: PeerId,
    /// The newest epoch that is final there, and the name of its frontier.
    pub(crate) epoch: (u32, Hash),
    /// Whether the history that made it final has to give way to the one here.
    pub(crate) fallen: bool,
    /// Its set and the state root of exactly that, if it has said so.
    pub(crate) digest: Option<(&'a VersionVector, Hash)>,
}

/// What catching up may touch, and what it has to know of others.
pub(crate) struct Context<'a> {
    pub(crate) net: Network<'a>,
    pub(crate) set: &'a Set,
    pub(crate) transfer: &'a mut Transfer,
    /// Only lent on to the transfer.
    pub(crate) own_carries: &'a OwnCarries,
    /// Looks up the connected peers, ascending, without those that are evicted. Most calls do not need them.
    pub(crate) known: &'a dyn Fn() -> Vec<Known<'a>>,
    /// Whether frontiers become final in this run.
    pub(crate) is_finality_on: bool,
    /// Whether the next final frontier is decided and its entries may still come by log.
    pub(crate) awaits_decided: bool,
    /// Whether no other process signs with this identity.
    pub(crate) is_alone: bool,
}

impl Context<'_> {
    fn transfer(&mut self) -> (&mut Transfer, transfer::Context<'_>) {
        (self.transfer, transfer::Context { net: self.net.reborrow(), set: self.set, own_carries: self.own_carries })
    }

    /// Peers that know a final frontier at least as new as `epoch`.
    fn sources(&self, epoch: u32) -> Vec<PeerId> {
        (self.known)().iter().filter(|known| known.epoch.0 >= epoch).map(|known| known.peer).collect()
    }
}

/// How far a peer is.
#[derive(Debug)]
enum Stage {
    /// Waits for a neighbour's digest.
    Looking,
    /// Fetches a final frontier.
    Staging(Box<Staging>),
    /// Pulls the rest; done when equal to a neighbour.
    Following,
    /// Caught up.
    Done,
}

/// How far this peer has caught up, and what it may sign.
#[derive(Debug)]
pub(crate) struct CatchUp {
    stage: Stage,
    /// Own entries known to have been signed before.
    own_count: u32,
    /// Whether the disk held enough to go on without any neighbour.
    has_past: bool,
}

impl CatchUp {
    /// A founder with an empty disk starts at once; any other peer has something to catch up with.
    pub(crate) fn new(rules: &Rules, me: &PeerId, stored: &Stored) -> Self {
        let blank = stored.entries.is_empty() && stored.head.is_none() && stored.compacted.is_none();
        let founding = blank && rules.is_founder(me);
        let stage = if founding { Stage::Done } else { Stage::Looking };
        Self { stage, own_count: 0, has_past: !blank }
    }

    /// The own chain had at least `count` entries.
    pub(crate) fn expect_own(&mut self, count: u32) {
        self.own_count = self.own_count.max(count);
    }

    /// Whether no own entry can have been signed at `seq` yet.
    pub(crate) fn may_sign(&self, seq: u32) -> bool {
        seq >= self.own_count
    }

    /// Whether this peer may train and serve.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// How far joining is, as finality needs to know it.
    pub(crate) fn joining(&self) -> Joining {
        match &self.stage {
            Stage::Looking if !self.has_past => Joining::Blank,
            Stage::Looking | Stage::Following => Joining::Behind,
            Stage::Staging(_) => Joining::Fetching,
            Stage::Done => Joining::CaughtUp,
        }
    }

    /// Own entries known to have been signed before.
    pub(crate) fn own_count(&self) -> u32 {
        self.own_count
    }

    /// Whether a final frontier is being fetched.
    pub(crate) fn is_staging(&self) -> bool {
        matches!(self.stage, Stage::Staging(_))
    }

    /// Whether chains may be pulled now.
    pub(crate) fn pulls(&self) -> bool {
        matches!(self.stage, Stage::Following | Stage::Done)
    }

    /// When a fetch goes on or is given up, or a peer with a past gives up waiting for others.
    pub(crate) fn next_deadline(&self, core: &Core) -> Option<Time> {
        if let Stage::Staging(staging) = &self.stage {
            return Some(staging.next_deadline(STALLED_AFTER));
        }
        let lonely_at = lonely_at(core);
        (!self.is_done() && self.has_past && lonely_at > core.now).then_some(lonely_at)
    }

    /// Gives up a fetch that is stalled, or asks again for its entries. A restarted peer that finds no neighbour, or only some
    /// that hold less, goes on by itself, if its own chain is whole.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let now = cx.net.core.now;
        if self.staging().is_some_and(|staging| now >= staging.stalled_at(STALLED_AFTER)) {
            self.look_again();
        }
        self.ask_for_entries(cx);
        let waited = !self.is_done() && self.has_past && now >= lonely_at(cx.net.core);
        if waited && cx.is_alone && self.own_chain_is_whole(cx) && nobody_is_ahead(cx) {
            self.caught_up(cx);
        }
    }

    /// Looks whether the next stage begins.
    pub(crate) fn check(&mut self, cx: &mut Context<'_>) {
        match &self.stage {
            Stage::Done | Stage::Staging(_) => {}
            Stage::Looking => self.choose_source(cx),
            Stage::Following => {
                let waited = cx.net.core.now >= Time::default() + WHOLE_WITHIN;
                let may_sign = cx.is_alone && (waited || self.own_chain_is_whole(cx));
                if may_sign && contains_a_neighbour(cx) {
                    self.caught_up(cx);
                }
            }
        }
    }

    /// The neighbour with the newest final frontier decides with what to begin.
    fn choose_source(&mut self, cx: &mut Context<'_>) {
        let known = (cx.known)();
        let standing = known.iter().filter(|known| !known.fallen);
        let newest = standing.map(|known| (known.epoch.0, known.peer)).max();
        let number = cx.set.fold.epochs().number();
        let ahead = newest.filter(|(epoch, _)| cx.is_finality_on && *epoch > number);
        match ahead {
            Some((epoch, peer)) if !cx.awaits_decided => cx.net.core.raise(Event::Seeks { peer, epoch }),
            // Its proof is here, and its entries are still served one by one.
            Some(_) => self.follow(cx),
            None if known.iter().any(|known| known.digest.is_some()) => self.follow(cx),
            None => {}
        }
    }

    fn follow(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Following;
        cx.net.core.raise(Event::Follows);
    }

    fn own_chain_is_whole(&self, cx: &Context<'_>) -> bool {
        cx.set.fold.log().reach(&cx.net.core.id()) >= self.own_count
    }

    fn caught_up(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Done;
        cx.net.core.tell(crate::Event::CaughtUp);
        cx.net.core.raise(Event::CaughtUp);
    }

    fn look_again(&mut self) {
        self.stage = Stage::Looking;
    }

    fn staging(&self) -> Option<&Staging> {
        match &self.stage {
            Stage::Staging(staging) => Some(staging),
            Stage::Looking | Stage::Following | Stage::Done => None,
        }
    }

    fn staging_mut(&mut self) -> Option<&mut Staging> {
        match &mut self.stage {
            Stage::Staging(staging) => Some(staging),
            Stage::Looking | Stage::Following | Stage::Done => None,
        }
    }
}

/// When a peer with a past gives up waiting for others.
fn lonely_at(core: &Core) -> Time {
    Time::default() + core.config.lonely_after
}

/// Whether no neighbour holds anything that this peer lacks. Of one that knows fewer final frontiers of the same history
/// everything is here, or excluded, or comes by log: else peers that come back together, each from another epoch, would wait
/// for each other.
fn nobody_is_ahead(cx: &Context<'_>) -> bool {
    let (log, epochs) = (cx.set.fold.log(), cx.set.fold.epochs());
    (cx.known)().iter().all(|known| {
        let (epoch, frontier) = known.epoch;
        let behind = epoch < epochs.number() && epochs.name(epoch) == Some(frontier);
        let held = |(vector, _)| behind || epoch == epochs.number() && log.version().includes(vector);
        known.fallen || known.digest.is_some_and(held)
    })
}

/// Whether this set contains a neighbour's, and the state of that part is the neighbour's. A restarted peer may hold own
/// entries that no peer has pulled yet, so equal sets are not asked for.
fn contains_a_neighbour(cx: &Context<'_>) -> bool {
    let fold = &cx.set.fold;
    let number = fold.epochs().number();
    let known = (cx.known)();
    let digests = known.iter().filter(|known| known.epoch.0 == number).filter_map(|known| known.digest);
    let mut contained = digests.filter(|(vector, _)| fold.log().version().includes(vector));
    contained.any(|(vector, root)| fold.state_at(vector).is_ok_and(|state| state_root(&state) == root.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
