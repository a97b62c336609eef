//! Events: what one machine raises, another acts on.

use std::sync::Arc;

use murmur_collectives::{Entry, Hash, PeerId};
use murmur_verification::audit::{Input, carry_bytes_max};

use crate::{
    Closing, Event, Output,
    node::{
        Node, audits, catch_up,
        connectivity::{self, Purpose},
        eviction,
        own_chain::OwnChain,
        replication::{self, Replication, Room},
        transfer::{self, Wanted},
    },
};

impl Node {
    pub(crate) fn on_replication(&mut self, event: replication::Event) {
        use replication::Event;
        match event {
            Event::Resume(step) => {
                let (machine, mut cx) = self.replication();
                machine.resume(&mut cx, step);
            }
            Event::Greeted(peer) => self.connectivity.greeted(&mut self.core, peer),
            Event::OtherRun(peer) => self.send_away(peer, Closing::OtherRun),
            Event::EpochTold { peer, epoch, frontier } => {
                self.with_finality(|finality, cx| finality.compare_epochs(cx, peer, epoch, frontier));
            }
            Event::EpochAhead { peer, epoch } => {
                self.with_finality(|finality, cx| finality.seek_epoch(cx, peer, epoch));
            }
            Event::Applied(entry) => self.on_applied(&entry),
            Event::Evicted(peer) => self.with_evictions(|evictions, cx| evictions.on_voided(cx, peer)),
            Event::ForkProven { forger, proof } => {
                self.with_evictions(|evictions, cx| evictions.on_voided(cx, forger));
                self.with_own_chain(|own, cx| own.repeat_evidence(cx, &proof));
            }
            Event::Forks { held, other } => self.with_own_chain(|own, cx| own.author_evidence(cx, &held, &other)),
            Event::Staged { entry, payload } => {
                self.with_catch_up(|catch_up, cx| catch_up.stage(cx, *entry, payload));
            }
            Event::FetchPayload { root, bytes, source } => {
                self.with_transfer(|transfer, cx| transfer.fetch(cx, root, Wanted::Payload(bytes), source));
            }
            Event::ForgetPayload { root, bytes } => self.transfer.forget_payload(&root, bytes),
            Event::AnswerStaged(authors) => {
                self.with_catch_up(|catch_up, cx| catch_up.stage_more(cx, &authors));
            }
        }
    }

    /// An entry joined the set: it may call for a lottery. A peer that is catching up holds none.
    fn on_applied(&mut self, entry: &Entry) {
        if self.catch_up.is_done() {
            self.audit(Input::Joined(entry));
        }
    }

    pub(crate) fn on_transfer_event(&mut self, event: transfer::Event) {
        match event {
            transfer::Event::Chunk { root, index, bytes } => {
                self.with_catch_up(|catch_up, cx| catch_up.on_chunk(cx, root, index, bytes));
            }
            transfer::Event::Complete(root) => {
                if self.with_catch_up(|catch_up, cx| catch_up.on_blob_complete(cx, root)) {
                    self.on_payload_lost(root);
                } else {
                    self.on_blob_complete(root);
                }
            }
            transfer::Event::Lost(root) => {
                self.catch_up.on_blob_lost(&root);
                self.on_payload_lost(root);
                self.audit(Input::CarryLost { root });
            }
            transfer::Event::Continue(root) => {
                let (transfer, mut context) = self.transfer();
                transfer.advance(&mut context, root);
            }
        }
    }

    /// A blob is complete: it may be a payload, or a carry, or both, as authors name what roots they like.
    fn on_blob_complete(&mut self, root: Hash) {
        let Some(bytes) = self.transfer.take(&root) else { return };
        let bytes: Arc<[u8]> = bytes.into();
        if self.replication.wants_payload(&root) {
            self.with_replication(|machine, cx| machine.on_payload(cx, root, &bytes));
        }
        self.audit(Input::CarryArrived { root, sealed: bytes });
    }

    fn on_payload_lost(&mut self, root: Hash) {
        if self.replication.wants_payload(&root) {
            self.with_replication(|machine, cx| machine.on_payload_lost(cx, root));
        }
    }

    pub(crate) fn on_catch_up_event(&mut self, event: catch_up::Event) {
        match event {
            catch_up::Event::CaughtUp => self.with_own_chain(OwnChain::start),
            catch_up::Event::Follows => self.with_replication(Replication::pull),
            catch_up::Event::Keeps { entry, payload } => {
                self.replication.keep(*entry, payload, Room::of(&self.core));
            }
            catch_up::Event::Restores { entry, payload } => self.replication.hold(*entry, payload, Room::BOUNDLESS),
            catch_up::Event::Replaces(replacement) => {
                // Finality first: it forgets what belongs to the old set. What the old set held beyond the frontier is kept before
                // anything is tried again, and the frontier is stored before entries that follow it are.
                let old = self.replace_fold(*replacement);
                self.finality.forget_superseded();
                self.with_catch_up(|catch_up, cx| catch_up.on_replaced(cx, old));
                self.keep_final();
                self.with_replication(|machine, cx| machine.retry_all(cx.net.core));
            }
            catch_up::Event::Seeks { peer, epoch } => {
                self.with_finality(|finality, cx| finality.seek_epoch(cx, peer, epoch));
            }
        }
    }

    pub(crate) fn on_connectivity(&mut self, event: connectivity::Event) {
        match event {
            connectivity::Event::Lost { peer, departed, closing } => {
                self.identity_guard.disconnected(&peer, self.core.now);
                self.replication.disconnected(&peer);
                self.finality.disconnected(&peer);
                self.forget_requests_to(peer);
                if departed {
                    self.core.tell(Event::Departed { peer });
                }
                closing.into_iter().for_each(|reason| self.core.outputs.push_back(Output::Close { peer, reason }));
            }
            connectivity::Event::Evicted { peer, departed } => {
                self.forget_requests_to(peer);
                if departed {
                    self.core.tell(Event::Departed { peer });
                }
            }
            connectivity::Event::Unreachable(peer) => self.on_unreachable(peer),
        }
    }

    /// A peer could not be dialed: the carries that only it serves cannot be had, unless it has connected itself.
    fn on_unreachable(&mut self, peer: PeerId) {
        if !self.connectivity.neighbours().is_connected(&peer) {
            self.audit(Input::Unreachable(peer));
        }
    }

    /// A frontier became final.
    pub(crate) fn on_finalized(&mut self) {
        self.audit(Input::Excluded);
        self.keep_final();
        self.with_replication(|machine, cx| machine.retry_all(cx.net.core));
    }

    pub(crate) fn on_audits(&mut self, event: audits::Event) {
        match event {
            audits::Event::Fetch { author, root } => {
                let bytes_max = carry_bytes_max(self.set.fold.rules().parameters);
                self.with_transfer(|transfer, cx| transfer.fetch(cx, root, Wanted::Bytes(bytes_max), author));
            }
            audits::Event::Seek { author, root } => {
                self.with_connectivity(|connectivity, cx| connectivity.seek(cx, author, Purpose::Contact));
                if !self.connectivity.is_seeking(&author) {
                    self.audit(Input::CarryLost { root });
                }
            }
            audits::Event::Verdict(verdict) => self.with_own_chain(|own, cx| own.author_verdict(cx, verdict)),
        }
    }

    pub(crate) fn on_eviction(&mut self, event: eviction::Event) {
        match event {
            eviction::Event::Unwanted(peer) => self.connectivity.stop_seeking(&peer),
            eviction::Event::Opened(peer) => {
                self.connectivity.set_evicted(&mut self.core, peer);
                self.route();
                self.with_replication(|machine, cx| machine.send_digest(cx, peer, false));
            }
            eviction::Event::Closed(peer) => self.send_away(peer, Closing::Evicted),
            eviction::Event::Digest { from, digest } => {
                self.with_replication(|machine, cx| machine.on_digest_of_evicted(cx, from, digest.lost, digest.reply));
            }
            eviction::Event::Request { from, request } => self.serve(from, request),
            eviction::Event::Goodbye(peer) => self.on_goodbye(peer),
        }
    }
}
