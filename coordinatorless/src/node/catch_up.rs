//! Joining: a checkpoint by verified chunks and the headers before it, then the rest of the log, until the set contains
//! a neighbour's and the state of that part is the same. Until then this peer authors and serves nothing.
//!
//! A restarted peer begins with what its disk held. Its own chain must be back to its full length first, so that it
//! cannot sign a second entry for a position it has signed before.

use core::time::Duration;
use std::sync::Arc;

use murmur_collectives::{Entry, Fold, Hash, Insertion, PeerId, Rules, VersionVector};
use murmur_kernels::state_root;

use super::{Node, Stored, staging::Staging};
use crate::{Event, Output, StoredEntry, Time};

/// A checkpoint none of whose headers or chunks came for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// How far a peer is.
#[derive(Debug)]
enum Stage {
    /// Waits for a neighbour's digest.
    Looking,
    /// Fetches the headers of a set and its state.
    Fetching(Target),
    /// Fetches a final frontier.
    Staging(Box<Staging>),
    /// Pulls the rest; done when equal to a neighbour.
    Following,
    /// Caught up.
    Done,
}

#[derive(Debug)]
struct Target {
    root: Hash,
    vector: VersionVector,
    state: Option<Vec<u8>>,
    /// When headers last got fewer to fetch.
    progress_at: Time,
}

/// The state of joining.
#[derive(Debug)]
pub(super) struct CatchUp {
    stage: Stage,
    /// Own entries known to have been signed before.
    own_count: u32,
    /// Whether the disk held enough to go on without anybody.
    has_past: bool,
    /// Checkpoints are used only by a peer that has nothing yet, and not after one turned out wrong.
    may_use_checkpoint: bool,
    /// θ₀, kept until caught up, in case a checkpoint turns out wrong.
    genesis: Option<Vec<i64>>,
}

impl CatchUp {
    /// A founder with an empty disk starts at once; anyone else has something to catch up with.
    pub(super) fn new(rules: &Rules, me: &PeerId, stored: &Stored, genesis: &[i64]) -> Self {
        let blank = stored.entries.is_empty() && stored.head.is_none() && stored.compacted.is_none();
        let founding = blank && rules.is_founder(me);
        let stage = if founding { Stage::Done } else { Stage::Looking };
        let genesis = (blank && !founding).then(|| genesis.to_vec());
        Self { stage, own_count: 0, has_past: !blank, may_use_checkpoint: blank, genesis }
    }

    /// The own chain had at least `count` entries.
    pub(super) fn expect_own(&mut self, count: u32) {
        self.own_count = self.own_count.max(count);
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    pub(super) fn is_fetching(&self) -> bool {
        matches!(self.stage, Stage::Fetching(_) | Stage::Staging(_))
    }

    /// Whether it began with nothing and has nothing yet.
    pub(super) fn is_blank(&self) -> bool {
        !self.has_past && matches!(self.stage, Stage::Looking)
    }

    pub(super) fn staging(&self) -> Option<&Staging> {
        match &self.stage {
            Stage::Staging(staging) => Some(staging),
            Stage::Looking | Stage::Fetching(_) | Stage::Following | Stage::Done => None,
        }
    }

    pub(super) fn staging_mut(&mut self) -> Option<&mut Staging> {
        match &mut self.stage {
            Stage::Staging(staging) => Some(staging),
            Stage::Looking | Stage::Fetching(_) | Stage::Following | Stage::Done => None,
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
            Stage::Looking | Stage::Fetching(_) | Stage::Following | Stage::Done => None,
        }
    }

    /// A final frontier is there: the rest comes by log.
    pub(super) fn follow(&mut self) {
        self.stage = Stage::Following;
        self.may_use_checkpoint = false;
        self.genesis = None;
    }

    pub(super) fn look_again(&mut self) {
        self.stage = Stage::Looking;
    }

    /// When a lonely peer gives up waiting.
    pub(super) fn next_deadline(&self, lonely_at: Time, now: Time) -> Option<Time> {
        if let Stage::Fetching(target) = &self.stage {
            return Some(target.progress_at + STALLED_AFTER);
        }
        if let Stage::Staging(staging) = &self.stage {
            return Some(staging.next_deadline(STALLED_AFTER));
        }
        (!self.is_done() && self.has_past && lonely_at > now).then_some(lonely_at)
    }

    /// How far `author`'s chain may be pulled now, and whether with payloads.
    pub(super) fn horizon(&self, author: &PeerId) -> (u32, bool) {
        match &self.stage {
            Stage::Looking | Stage::Staging(_) => (0, false),
            Stage::Fetching(target) => (target.vector.count(author), false),
            Stage::Following | Stage::Done => (u32::MAX, true),
        }
    }

    /// Whether `entry` is contained in the checkpoint being fetched.
    pub(super) fn is_header_only(&self, entry: &Entry) -> bool {
        matches!(&self.stage, Stage::Fetching(target) if target.vector.contains(&entry.author(), entry.seq()))
    }
}

impl Node {
    /// Whether this peer may train and serve.
    pub fn is_caught_up(&self) -> bool {
        self.catch_up.is_done()
    }

    pub(super) fn insert_header(&mut self, entry: &Entry) -> Insertion {
        let insertion = self.fold.insert_header(entry.clone());
        if let Insertion::Applied { .. } = insertion {
            self.root = None;
            if let Stage::Fetching(target) = &mut self.catch_up.stage {
                target.progress_at = self.now;
            }
            let record = StoredEntry { entry: entry.wire().clone(), payload: None, contained: true };
            self.outputs.push_back(Output::Append { record, durable: false });
        }
        insertion
    }

    /// A restarted peer that finds nobody goes on alone, if its own chain is whole. A newcomer whose checkpoint names
    /// entries that nobody brings folds the whole log instead.
    pub(super) fn catch_up_due(&mut self) {
        if matches!(&self.catch_up.stage, Stage::Fetching(target) if self.now >= target.progress_at + STALLED_AFTER) {
            return self.restart_catch_up();
        }
        if self.catch_up.staging().is_some_and(|staging| self.now >= staging.progress_at + STALLED_AFTER) {
            self.catch_up.look_again();
        }
        self.stage_wants();
        let alone = self.neighbours.len() == 0 && self.now >= self.lonely_at();
        if !self.catch_up.is_done() && self.catch_up.has_past && alone && self.own_chain_is_whole() {
            self.caught_up();
        }
    }

    pub(super) fn lonely_at(&self) -> Time {
        Time::default() + self.config.lonely_after
    }

    fn own_chain_is_whole(&self) -> bool {
        self.fold.log().reach(&self.id()) >= self.catch_up.own_count
    }

    pub(super) fn check_caught_up(&mut self) {
        match &self.catch_up.stage {
            Stage::Done => {}
            Stage::Looking => self.choose_source(),
            Stage::Staging(_) => {}
            Stage::Fetching(_) => self.adopt_if_complete(),
            Stage::Following => {
                if self.own_chain_is_whole() && self.contains_a_neighbour() {
                    self.caught_up();
                }
            }
        }
    }

    /// Whether this set contains a neighbour's, and the state of that part is the neighbour's. A restarted peer may hold
    /// own entries that nobody has pulled yet, so equal sets are not asked for.
    fn contains_a_neighbour(&mut self) -> bool {
        let fold = &self.fold;
        let number = fold.epochs().number();
        let peers = self.neighbours.iter().filter(|(_, neighbour)| neighbour.epoch.0 == number);
        let digests = peers.filter_map(|(_, neighbour)| neighbour.digest.as_ref());
        let mut contained = digests.filter(|(vector, _)| fold.log().version().includes(vector));
        contained.any(|(vector, root)| fold.state_at(vector).is_ok_and(|state| state_root(&state) == root.0))
    }

    fn caught_up(&mut self) {
        self.catch_up.stage = Stage::Done;
        self.catch_up.genesis = None;
        self.tell(Event::CaughtUp);
        self.start();
    }

    /// The first neighbour that holds something decides whether a checkpoint is used.
    fn choose_source(&mut self) {
        let known = self.neighbours.iter().map(|(peer, neighbour)| (neighbour.epoch.0, peer)).max();
        let number = self.fold.epochs().number();
        if let Some((epoch, peer)) = known.filter(|(epoch, _)| self.finality.is_on() && *epoch > number) {
            if self.finality.pending.is_none() {
                return self.seek_epoch(peer, epoch);
            }
            // Its proof is here, and its entries are still served one by one.
            self.catch_up.stage = Stage::Following;
            return self.pull();
        }
        let offers = self.neighbours.iter().filter(|(_, n)| n.digest.is_some());
        let Some((peer, neighbour)) = offers.max_by_key(|(_, n)| n.checkpoint.is_some()) else { return };
        let offer = neighbour.checkpoint.as_ref().filter(|_| self.catch_up.may_use_checkpoint);
        let target = offer.and_then(|offer| Some((offer.root, VersionVector::from_components(&offer.vector).ok()?)));
        match target {
            Some((root, vector)) => {
                self.catch_up.stage = Stage::Fetching(Target { root, vector, state: None, progress_at: self.now });
                self.fetch_checkpoint(root, peer);
            }
            None => self.catch_up.stage = Stage::Following,
        }
        self.pull();
    }

    fn fetch_checkpoint(&mut self, root: Hash, peer: PeerId) {
        let length = self.fold.rules().parameters * 8;
        let same = |n: &super::neighbours::Neighbour| n.checkpoint.as_ref().is_some_and(|c| c.root == root);
        let mut sources: Vec<PeerId> = self.neighbours.iter().filter(|(_, n)| same(n)).map(|(p, _)| p).collect();
        sources.push(peer);
        for source in sources {
            self.fetch(root, length, source);
        }
    }

    /// A chunk came: the checkpoint is not stalled.
    pub(super) fn on_fetch_progress(&mut self, root: Hash) {
        if let Stage::Fetching(target) = &mut self.catch_up.stage
            && target.root == root
        {
            target.progress_at = self.now;
        }
        let (now, staged) = (self.now, self.is_staged(root));
        if let Some(staging) = self.catch_up.staging_mut().filter(|_| staged) {
            staging.progress_at = now;
        }
    }

    pub(super) fn on_blob_complete(&mut self, root: Hash) {
        if self.stage_blob(root) {
            return;
        }
        if let Stage::Fetching(target) = &mut self.catch_up.stage
            && target.root == root
        {
            target.state = self.blobs.take(&root);
            return self.adopt_if_complete();
        }
        self.on_carry_complete(root);
    }

    pub(super) fn on_blob_lost(&mut self, root: Hash) {
        if matches!(&self.catch_up.stage, Stage::Fetching(target) if target.root == root) {
            self.restart_catch_up();
        }
        if self.is_staged(root) {
            self.catch_up.look_again();
        }
        self.on_carry_lost(root);
    }

    fn adopt_if_complete(&mut self) {
        let Stage::Fetching(target) = &mut self.catch_up.stage else { return };
        if *self.fold.log().version() != target.vector {
            return;
        }
        let Some(bytes) = target.state.take() else { return };
        let state: Vec<i64> =
            bytes.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().unwrap_or([0; 8]))).collect();
        if state.len() != self.fold.state().len() {
            return self.restart_catch_up();
        }
        let root = target.root;
        self.catch_up.stage = Stage::Following;
        self.fold.adopt(state.clone());
        self.root = None;
        self.outputs.push_back(Output::Adopted { root, state: Arc::new(state) });
        self.pull();
    }

    /// The state that was adopted differs from a neighbour's with the same set: the checkpoint was wrong.
    pub(super) fn catch_up_failed(&mut self) {
        if matches!(self.catch_up.stage, Stage::Following) && self.catch_up.may_use_checkpoint {
            self.restart_catch_up();
        }
    }

    /// Begins again, from the first entry, without checkpoint.
    fn restart_catch_up(&mut self) {
        self.tell(Event::BadInput { peer: self.id(), reason: "checkpoint unusable, folding the whole log".to_owned() });
        self.catch_up.may_use_checkpoint = false;
        self.catch_up.stage = Stage::Following;
        if let Some(genesis) = self.catch_up.genesis.take() {
            self.fold = Fold::new(self.fold.run(), self.fold.rules().clone(), genesis);
            self.root = None;
            self.outputs.push_back(Output::Reset);
        }
        self.pull();
    }
}
