//! Joining: the newest final frontier if there is one, then the rest of the log, until the set contains a neighbour's and
//! the state of that part is the same. Until then this peer authors nothing, and of what it has it serves entries only,
//! which prove themselves.
//!
//! Whoever has something to catch up with must also know that it is alone with its identity: see `identity_guard`.
//!
//! A restarted peer begins with what its disk held. Its own chain must be back to its full length first, so that it
//! cannot sign a second entry for a position it has signed before. If that does not come, because nobody is left who holds
//! what it had built on, it votes and serves all the same, and authors nothing until a final frontier excludes what it said.

use core::time::Duration;

use murmur_collectives::{Hash, PeerId, Rules, VersionVector};
use murmur_kernels::state_root;

use super::{Node, Stored, staging::Staging};
use crate::{Event, Time};

/// A final frontier nothing of which came for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// What is missing of the own chain is waited for this long after the start.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);

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

/// The state of joining.
#[derive(Debug)]
pub(super) struct CatchUp {
    stage: Stage,
    /// Own entries known to have been signed before.
    own_count: u32,
    /// Whether the disk held enough to go on without anybody.
    has_past: bool,
}

impl CatchUp {
    /// A founder with an empty disk starts at once; anyone else has something to catch up with.
    pub(super) fn new(rules: &Rules, me: &PeerId, stored: &Stored) -> Self {
        let blank = stored.entries.is_empty() && stored.head.is_none() && stored.compacted.is_none();
        let founding = blank && rules.is_founder(me);
        let stage = if founding { Stage::Done } else { Stage::Looking };
        Self { stage, own_count: 0, has_past: !blank }
    }

    /// The own chain had at least `count` entries.
    pub(super) fn expect_own(&mut self, count: u32) {
        self.own_count = self.own_count.max(count);
    }

    /// Whether nothing of the own chain can have been signed at `seq` yet.
    pub(super) fn may_sign(&self, seq: u32) -> bool {
        seq >= self.own_count
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Whether it began with nothing and has nothing yet.
    pub(super) fn is_blank(&self) -> bool {
        !self.has_past && matches!(self.stage, Stage::Looking)
    }

    pub(super) fn staging(&self) -> Option<&Staging> {
        match &self.stage {
            Stage::Staging(staging) => Some(staging),
            Stage::Looking | Stage::Following | Stage::Done => None,
        }
    }

    pub(super) fn staging_mut(&mut self) -> Option<&mut Staging> {
        match &mut self.stage {
            Stage::Staging(staging) => Some(staging),
            Stage::Looking | Stage::Following | Stage::Done => None,
        }
    }

    pub(super) fn begin_staging(&mut self, staging: Staging) {
        self.stage = Stage::Staging(Box::new(staging));
    }

    /// Takes what is fetched if `is` says that it is all there.
    pub(super) fn take_staging_if(&mut self, is: impl Fn(&Staging) -> bool) -> Option<Staging> {
        if !self.staging().is_some_and(is) {
            return None;
        }
        match core::mem::replace(&mut self.stage, Stage::Looking) {
            Stage::Staging(staging) => Some(*staging),
            Stage::Looking | Stage::Following | Stage::Done => None,
        }
    }

    /// A final frontier is there: the rest comes by log.
    pub(super) fn follow(&mut self) {
        self.stage = Stage::Following;
    }

    pub(super) fn look_again(&mut self) {
        self.stage = Stage::Looking;
    }

    /// When a lonely peer gives up waiting.
    pub(super) fn next_deadline(&self, lonely_at: Time, now: Time) -> Option<Time> {
        if let Stage::Staging(staging) = &self.stage {
            return Some(staging.next_deadline(STALLED_AFTER));
        }
        (!self.is_done() && self.has_past && lonely_at > now).then_some(lonely_at)
    }

    /// Whether chains may be pulled now.
    pub(super) fn pulls(&self) -> bool {
        matches!(self.stage, Stage::Following | Stage::Done)
    }
}

impl Node {
    /// Whether this peer may train and serve.
    pub fn is_caught_up(&self) -> bool {
        self.catch_up.is_done()
    }

    /// A restarted peer that finds nobody, or only who has less, goes on by itself, if its own chain is whole.
    pub(super) fn catch_up_due(&mut self) {
        if self.catch_up.staging().is_some_and(|staging| self.core.now >= staging.progress_at + STALLED_AFTER) {
            self.catch_up.look_again();
        }
        self.stage_wants();
        let waited = !self.catch_up.is_done() && self.catch_up.has_past && self.core.now >= self.lonely_at();
        if waited && self.identity_guard.is_sure() && self.own_chain_is_whole() && self.nobody_is_ahead() {
            self.caught_up();
        }
    }

    /// Whether no neighbour holds anything that this peer lacks. Of one that knows fewer final frontiers of the same history
    /// everything is here, or excluded, or comes by log: else those who come back together, each from another epoch, would
    /// wait for each other.
    fn nobody_is_ahead(&self) -> bool {
        let (log, epochs) = (self.set.fold.log(), self.set.fold.epochs());
        self.connectivity.neighbours().iter().all(|(_, neighbour)| {
            let (epoch, frontier) = neighbour.epoch;
            let behind = epoch < epochs.number() && epochs.name(epoch) == Some(frontier);
            let held = |(vector, _): &(VersionVector, Hash)| {
                behind || epoch == epochs.number() && log.version().includes(vector)
            };
            neighbour.fallen || neighbour.digest.as_ref().is_some_and(held)
        })
    }

    pub(super) fn lonely_at(&self) -> Time {
        Time::default() + self.core.config.lonely_after
    }

    fn own_chain_is_whole(&self) -> bool {
        self.set.fold.log().reach(&self.id()) >= self.catch_up.own_count
    }

    pub(super) fn check_caught_up(&mut self) {
        match &self.catch_up.stage {
            Stage::Done => {}
            Stage::Looking => self.choose_source(),
            Stage::Staging(_) => {}
            Stage::Following => {
                let waited = self.core.now >= Time::default() + WHOLE_WITHIN;
                let may_sign = self.identity_guard.is_sure() && (waited || self.own_chain_is_whole());
                if may_sign && self.contains_a_neighbour() {
                    self.caught_up();
                }
            }
        }
    }

    /// Whether this set contains a neighbour's, and the state of that part is the neighbour's. A restarted peer may hold
    /// own entries that nobody has pulled yet, so equal sets are not asked for.
    fn contains_a_neighbour(&mut self) -> bool {
        let fold = &self.set.fold;
        let number = fold.epochs().number();
        let peers = self.connectivity.neighbours().iter().filter(|(_, neighbour)| neighbour.epoch.0 == number);
        let digests = peers.filter_map(|(_, neighbour)| neighbour.digest.as_ref());
        let mut contained = digests.filter(|(vector, _)| fold.log().version().includes(vector));
        contained.any(|(vector, root)| fold.state_at(vector).is_ok_and(|state| state_root(&state) == root.0))
    }

    fn caught_up(&mut self) {
        self.catch_up.stage = Stage::Done;
        self.core.tell(Event::CaughtUp);
        self.start();
    }

    /// The neighbour with the newest final frontier decides with what to begin.
    fn choose_source(&mut self) {
        let standing = self.connectivity.neighbours().iter().filter(|(_, neighbour)| !neighbour.fallen);
        let known = standing.map(|(peer, neighbour)| (neighbour.epoch.0, peer)).max();
        let number = self.set.fold.epochs().number();
        if let Some((epoch, peer)) = known.filter(|(epoch, _)| self.finality.is_on() && *epoch > number) {
            if self.finality.pending.is_none() || self.finality.getting.is_hopeless {
                return self.seek_epoch(peer, epoch);
            }
            // Its proof is here, and its entries are still served one by one.
            self.catch_up.stage = Stage::Following;
            return self.pull();
        }
        if self.connectivity.neighbours().iter().any(|(_, neighbour)| neighbour.digest.is_some()) {
            self.catch_up.stage = Stage::Following;
            self.pull();
        }
    }

    /// A chunk came: fetching is not stalled.
    pub(super) fn on_fetch_progress(&mut self, root: Hash) {
        let (now, staged) = (self.core.now, self.is_staged(root));
        if let Some(staging) = self.catch_up.staging_mut().filter(|_| staged) {
            staging.progress_at = now;
        }
    }

    pub(super) fn on_blob_complete(&mut self, root: Hash) {
        if !self.stage_blob(root) {
            self.on_carry_complete(root);
        }
    }

    pub(super) fn on_blob_lost(&mut self, root: Hash) {
        if self.is_staged(root) {
            self.catch_up.look_again();
        }
        self.on_carry_lost(root);
    }
}
