//! Calls of one machine by name, for routes and events that need no more than that.

use std::{collections::BTreeSet, sync::Arc};

use murmur_collectives::{Certificate, Entry, Fold, Hash, PeerId, Proposal, State, Verdict};
use murmur_verification::audit::Input;

use crate::{
    Closing, EntryName, Message, Output, StoredEntry,
    node::{
        Node, Stored, audits,
        catch_up::{CatchUp, Replacement, Restored, read_checkpoint},
        finality::Finality,
        own_chain::OwnChain,
        replication::{Replication, Room, checked},
        transfer::{Checkpoint, Wanted},
    },
};

impl Node {
    /// Ends the connection with `peer` and does not seek it again.
    pub(crate) fn send_away(&mut self, peer: PeerId, reason: Closing) {
        self.connect(|connectivity, cx| connectivity.send_away(cx, peer, reason));
    }

    /// Starts fetching a blob, or adds a source for it.
    pub(crate) fn fetch(&mut self, root: Hash, wanted: Wanted, source: PeerId) {
        self.in_transfer(|transfer, cx| transfer.fetch(cx, root, wanted, source));
    }

    /// What `peer` was asked for does not come.
    pub(crate) fn forget_source(&mut self, peer: PeerId) {
        self.in_transfer(|transfer, cx| transfer.drop_source(cx, peer));
    }

    /// Pulls what is lacking.
    pub(crate) fn pull(&mut self) {
        self.replicate(Replication::pull);
    }

    /// Tells `to` what this peer holds.
    pub(crate) fn send_digest(&mut self, to: PeerId, reply: bool) {
        self.replicate(|machine, cx| machine.send_digest(cx, to, reply));
    }

    /// Tries the entries that wait for chains that have grown.
    pub(crate) fn retry_pending(&mut self) {
        self.replicate(|machine, cx| machine.retry(cx.net.core));
    }

    /// Tries all entries that wait.
    pub(crate) fn retry_all_pending(&mut self) {
        self.replicate(|machine, cx| machine.retry_all(cx.net.core));
    }

    /// What `peer` was asked for is asked of others.
    pub(crate) fn forget_requests_to(&mut self, peer: PeerId) {
        self.replication.forget_requests_to(&peer);
        self.forget_source(peer);
    }

    /// Begins the own chain, if nothing must be fetched first.
    pub(crate) fn start(&mut self) {
        self.write(OwnChain::start);
    }

    /// Publishes the result of an audit.
    pub(crate) fn author_verdict(&mut self, verdict: Verdict) {
        self.write(|own, cx| own.author_verdict(cx, verdict));
    }

    /// Puts back what was on disk.
    pub(crate) fn restore(&mut self, stored: Stored) {
        let Stored { entries, compacted, fetched, signing: _, head, carries } = stored;
        let head = head.and_then(checked);
        // First of all, so that nothing before it is taken for the newest.
        head.iter().for_each(|(entry, _)| self.catch_up.expect_own(entry.seq() + 1));
        self.transfer.resume_from(fetched);
        match compacted {
            Some((proof, state)) => self.restore_compacted(&proof, state, entries),
            None => self.replication.put_back(&mut self.set, entries.into_iter().filter_map(checked)),
        }
        for bytes in carries {
            self.transfer.serve_blob(bytes, self.core.config.carries_kept);
        }
        if let Some((entry, payload)) = head {
            self.replication.hold(entry, payload, Room::of(&self.core.config));
        }
        self.retry_pending();
    }

    /// Makes final what has been decided, then goes on deciding; in two calls, see the contract of [`Finality`].
    pub(crate) fn check_final(&mut self) {
        self.with_finality(Finality::finalize);
        self.with_finality(Finality::advance);
    }

    /// The newest final frontier begins to be served, and the disk follows.
    pub(crate) fn keep_final(&mut self) {
        let Some(Checkpoint { foundation, state, root }) = self.transfer.serve_final(&self.set) else { return };
        self.with_finality(|finality, cx| finality.store(cx, state, root, &foundation));
    }

    /// `peer` knows that `epoch` is final: asks it for the proof, now and then.
    pub(crate) fn seek_epoch(&mut self, peer: PeerId, epoch: u32) {
        self.with_finality(|finality, cx| finality.seek_epoch(cx, peer, epoch));
    }

    /// Compares what is final at `peer` with what is final here.
    pub(crate) fn compare_epochs(&mut self, peer: PeerId, epoch: u32, name: Hash) {
        self.with_finality(|finality, cx| finality.compare_epochs(cx, peer, epoch, name));
    }

    /// Whether too many tokens are not final for this peer to add an update.
    pub(crate) fn is_stalled(&mut self) -> bool {
        self.with_finality(Finality::is_stalled)
    }

    /// Looks whether the next stage of catching up begins.
    pub(crate) fn check_caught_up(&mut self) {
        if !self.catch_up.is_done() {
            self.in_catch_up(CatchUp::check);
        }
    }

    /// Whether a final frontier is being fetched.
    pub(crate) fn is_staging(&self) -> bool {
        self.catch_up.is_staging()
    }

    /// Begins to fetch the newest frontier of a chain of certificates that were checked.
    pub(crate) fn begin_staging(&mut self, from: PeerId, chain: Vec<Certificate>, proposal: Proposal) {
        self.in_catch_up(|catch_up, cx| catch_up.begin_staging(cx, from, chain, proposal));
    }

    /// Takes an entry while a final frontier is fetched.
    pub(crate) fn stage(&mut self, entry: Entry, payload: Option<Arc<[u8]>>) {
        self.in_catch_up(|catch_up, cx| catch_up.stage(cx, entry, payload));
    }

    /// An answer came for entries of `authors` while a final frontier is fetched.
    pub(crate) fn stage_more(&mut self, authors: &BTreeSet<PeerId>) {
        self.in_catch_up(|catch_up, cx| catch_up.stage_more(cx, authors));
    }

    /// Puts back what [`Output::Compact`] stored and what was appended since.
    pub(crate) fn restore_compacted(&mut self, proof: &[u8], state: State, entries: Vec<StoredEntry>) {
        let Some(Restored { replacement, later }) = read_checkpoint(&self.set.fold, proof, state, entries) else {
            // Its parts do not belong together: everything comes again from the network.
            self.core.outputs.push_back(Output::Reset);
            return;
        };
        self.replace_fold(replacement);
        self.replication.put_back(&mut self.set, later);
        self.transfer.serve_final(&self.set);
    }

    /// Lets the set begin at a final frontier; gives the old fold back.
    pub(crate) fn replace_fold(&mut self, Replacement { fold, chain }: Replacement) -> Fold {
        self.with_finality(|finality, cx| finality.adopt(cx, chain));
        core::mem::replace(&mut self.set.fold, fold)
    }

    /// Audits under way here.
    pub(crate) fn audits_open(&self) -> usize {
        self.audits.auditor().open_count()
    }

    /// An entry joined the set: it may call for a lottery. A peer that is catching up holds none.
    pub(crate) fn consider_audits(&mut self, entry: &Entry) {
        if self.catch_up.is_done() {
            self.audit(Input::Joined(entry));
        }
    }

    /// Entries left the set.
    pub(crate) fn forget_audits_of_the_excluded(&mut self) {
        self.audit(Input::Excluded);
    }

    /// Gives up carries that nobody is asked or dialed for any more.
    pub(crate) fn give_up_lost_carries(&mut self) {
        let Self { audits, core, set, connectivity, transfer, .. } = self;
        let mut cx = audits::Context { core, set, neighbours: connectivity.neighbours() };
        audits.give_up_carries(&mut cx, |author, root| transfer.has_hope(root) || connectivity.is_seeking(author));
        self.route();
    }

    /// A peer is connected: carries that only it serves can be fetched.
    pub(crate) fn on_reached(&mut self, peer: PeerId) {
        self.audit(Input::Reached(peer));
    }

    /// A peer could not be dialed: the carries that only it serves cannot be had, unless it has connected itself.
    pub(crate) fn on_unreachable(&mut self, peer: PeerId) {
        if !self.connectivity.neighbours().is_connected(&peer) {
            self.audit(Input::Unreachable(peer));
        }
    }

    /// A blob is complete: it may be a carry.
    pub(crate) fn on_carry_complete(&mut self, root: Hash) {
        if let Some(bytes) = self.transfer.take(&root) {
            self.audit(Input::CarryArrived { root, sealed: bytes.into() });
        }
    }

    /// Nobody serves a blob, which may be a carry.
    pub(crate) fn on_carry_lost(&mut self, root: Hash) {
        self.audit(Input::CarryLost { root });
    }

    /// The trainer replayed an update.
    pub(crate) fn on_judged(&mut self, update: EntryName, passed: bool, replay: Hash) {
        self.audit(Input::Judged { update: update.into(), passed, replay });
    }

    /// The trainer could not replay an update.
    pub(crate) fn on_unjudged(&mut self, update: EntryName) {
        self.audit(Input::Unjudged { update: update.into() });
    }

    /// Updates of `peer` became void.
    pub(crate) fn on_evicted(&mut self, peer: PeerId) {
        let (evictions, mut cx) = self.evictions();
        evictions.on_voided(&mut cx, peer);
        self.route();
    }

    /// An evicted peer is connected.
    pub(crate) fn give_hearing(&mut self, peer: PeerId) {
        let (evictions, mut cx) = self.evictions();
        evictions.give_hearing(&mut cx, peer);
        self.route();
    }

    /// Ends hearings that have lasted long enough.
    pub(crate) fn hearings_due(&mut self) {
        self.evictions.handle_timeout(&mut self.core);
        self.route();
    }

    /// An evicted peer says something in its hearing.
    pub(crate) fn hear_out(&mut self, from: PeerId, message: Message) {
        self.evictions.on_message(&mut self.core, from, message);
        self.route();
    }

    /// Tells of the own eviction once it is proven.
    pub(crate) fn check_own_eviction(&mut self) {
        self.evictions.check_own(&mut self.core, &self.set);
    }
}
