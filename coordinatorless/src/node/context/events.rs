//! Events: what one machine raises, another acts on.

use murmur_verification::audit::carry_bytes_max;

use crate::{
    Closing, Event, Output,
    node::{
        Node, audits, catch_up,
        connectivity::{self, Purpose},
        eviction,
        replication::{self, Room},
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
            Event::EpochTold { peer, epoch, frontier } => self.compare_epochs(peer, epoch, frontier),
            Event::EpochAhead { peer, epoch } => self.seek_epoch(peer, epoch),
            Event::Applied(entry) => self.consider_audits(&entry),
            Event::Evicted(peer) => self.on_evicted(peer),
            Event::ForkProven { forger, proof } => {
                self.on_evicted(forger);
                self.write(|own, cx| own.repeat_evidence(cx, &proof));
            }
            Event::Forks { held, other } => self.write(|own, cx| own.author_evidence(cx, &held, &other)),
            Event::Staged { entry, payload } => self.stage(*entry, payload),
            Event::AnswerStaged(authors) => self.stage_more(&authors),
        }
    }

    pub(crate) fn on_transfer_event(&mut self, event: transfer::Event) {
        match event {
            transfer::Event::Chunk { root, index, bytes } => {
                self.in_catch_up(|catch_up, cx| catch_up.on_chunk(cx, root, index, bytes));
            }
            transfer::Event::Complete(root) => {
                if !self.in_catch_up(|catch_up, cx| catch_up.on_blob_complete(cx, root)) {
                    self.on_carry_complete(root);
                }
            }
            transfer::Event::Lost(root) => {
                self.catch_up.on_blob_lost(&root);
                self.on_carry_lost(root);
            }
            transfer::Event::Continue(root) => {
                let (transfer, mut context) = self.transfer();
                transfer.advance(&mut context, root);
            }
        }
    }

    pub(crate) fn on_catch_up_event(&mut self, event: catch_up::Event) {
        match event {
            catch_up::Event::CaughtUp => self.start(),
            catch_up::Event::Follows => self.pull(),
            catch_up::Event::Keeps { entry, payload } => {
                self.replication.keep(*entry, payload, Room::of(&self.core.config));
            }
            catch_up::Event::Restores { entry, payload } => self.replication.hold(*entry, payload, Room::BOUNDLESS),
            catch_up::Event::Replaces(replacement) => {
                let old = self.replace_fold(*replacement);
                self.finality.forget_superseded();
                self.in_catch_up(|catch_up, cx| catch_up.on_replaced(cx, old));
                self.keep_final();
                self.retry_all_pending();
            }
            catch_up::Event::Seeks { peer, epoch } => self.seek_epoch(peer, epoch),
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

    /// A frontier became final.
    pub(crate) fn on_finalized(&mut self) {
        self.forget_audits_of_the_excluded();
        self.keep_final();
        self.retry_all_pending();
    }

    pub(crate) fn on_audits(&mut self, event: audits::Event) {
        match event {
            audits::Event::Fetch { author, root } => {
                let bytes_max = carry_bytes_max(self.set.fold.rules().parameters);
                self.fetch(root, Wanted::Bytes(bytes_max), author);
            }
            audits::Event::Seek { author, root } => {
                self.connect(|connectivity, cx| connectivity.seek(cx, author, Purpose::Contact));
                if !self.connectivity.is_seeking(&author) {
                    self.on_carry_lost(root);
                }
            }
            audits::Event::Verdict(verdict) => self.author_verdict(verdict),
        }
    }

    pub(crate) fn on_eviction(&mut self, event: eviction::Event) {
        match event {
            eviction::Event::Unwanted(peer) => self.connectivity.stop_seeking(&peer),
            eviction::Event::Opened(peer) => {
                self.connectivity.set_evicted(&mut self.core, peer);
                self.route();
                self.send_digest(peer, false);
            }
            eviction::Event::Closed(peer) => self.send_away(peer, Closing::Evicted),
            eviction::Event::Digest { from, digest } => {
                self.replicate(|machine, cx| machine.on_digest_of_evicted(cx, from, digest.lost, digest.reply));
            }
            eviction::Event::Request { from, request } => self.serve(from, request),
            eviction::Event::Goodbye(peer) => self.on_goodbye(peer),
        }
    }
}
