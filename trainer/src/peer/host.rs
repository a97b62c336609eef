//! What the node needs from this process: its disk, its metrics, the learner and the launcher.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use murmur_collectives::{Hash, PeerId, Voided};
use murmur_coordinatorless::{Compacted, Delay, Event, Node, PeerAddress, StoredEntry};
use murmur_quic::Host;

use super::{AddressBookFile, Checkpoints, Notice, Reporter, Shared, Store};
use crate::crash::{Part, enter};
use crate::error::Failure;
use crate::observe::metrics::{Direction, Metrics};
use crate::protocol::EventKind;

/// Carries out what the node asks.
#[derive(Debug)]
pub(super) struct PeerHost {
    store: Store,
    notices: mpsc::Sender<Notice>,
    shared: Arc<Shared>,
    metrics: Metrics,
    reporter: Reporter,
    checkpoints: Checkpoints,
    dir: PathBuf,
    /// Whether each fold is reported, for a benchmark.
    reports_folds: bool,
    /// Updates folded since the node was last settled.
    applied: u32,
}

impl PeerHost {
    pub(super) fn new(
        store: Store,
        (notices, shared, metrics): (mpsc::Sender<Notice>, Arc<Shared>, Metrics),
        reporter: Reporter,
        checkpoints: Checkpoints,
        reports_folds: bool,
    ) -> Self {
        let dir = store.dir().to_owned();
        Self { store, notices, shared, metrics, reporter, checkpoints, dir, reports_folds, applied: 0 }
    }

    fn notice(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    fn on_evicted(&self, peer: PeerId, why: Voided, node: &Node) {
        if peer == node.id() {
            self.notice(Notice::Evicted(why));
        }
        let detail = match why {
            Voided::Fork => "its updates are removed: it signed two entries for one position",
            Voided::Audits => "its updates are removed: auditors replayed its work and found something else",
        };
        self.reporter.event(EventKind::Evicted, Some(peer.to_string()), detail);
    }

    fn on_diverged(&self, peer: PeerId, theirs: Hash, ours: Hash) {
        let detail = format!("same set, other state: {theirs:?} there, {ours:?} here");
        self.reporter.event(EventKind::Diverged, Some(peer.to_string()), detail);
    }

    fn on_resumed(&self) {
        self.shared.stalled.store(false, Relaxed);
        self.notice(Notice::Wake);
    }

    fn on_final(&self, epoch: u32, clock: u64, excluded: u64) {
        self.on_resumed();
        if excluded > 0 {
            tracing::warn!(epoch, excluded, "entries came too late for a final frontier and left the set");
        }
        self.reporter.event(EventKind::Final, None, format!("epoch {epoch} at {clock} tokens"));
    }

    /// Reports the entries that final frontiers left out, for a benchmark: only a peer that had them in its set can.
    fn report_excluded(&self, node: &Node) {
        let excluded = node.fold().log().all_excluded();
        let counts: BTreeMap<String, u32> =
            excluded.map(|entry| (entry.author().to_string(), entry.seq() + 1)).collect();
        if self.reports_folds && !counts.is_empty() {
            self.reporter.excluded(counts);
        }
    }

    fn on_stalled(&self, tokens: u64) {
        self.shared.stalled.store(true, Relaxed);
        let detail =
            format!("{tokens} tokens are not final; training goes on when they are, or after some rounds of votes");
        self.reporter.event(EventKind::Stalled, None, detail);
    }

    fn on_bad_input(&self, peer: PeerId, reason: &str) {
        tracing::warn!(peer = %peer.petname(), reason, "refused");
        self.metrics.add_rejected("message");
        self.reporter.event(EventKind::BadInput, Some(peer.to_string()), reason);
    }

    /// Writes a checkpoint file beside the network's work, if one is due.
    fn save_if_due(&mut self, clock: u64, node: &Node) {
        if !self.reports_folds
            && node.is_caught_up()
            && !self.shared.unwell.load(Relaxed)
            && let Some(taken) = self.checkpoints.take_if_due(clock, node.fold())
        {
            let checkpoints = self.checkpoints.clone();
            tokio::task::spawn_blocking(move || {
                enter(Part::Checkpoint);
                checkpoints.write_on_the_way(&taken);
            });
        }
    }
}

impl Host for PeerHost {
    type Error = Failure;

    fn append(&mut self, record: &StoredEntry, durable: bool) -> Result<(), Failure> {
        self.store.append(record, durable)
    }

    fn address_book(&mut self, peers: &[PeerAddress]) {
        if let Err(error) = AddressBookFile::of(&self.dir).write(peers) {
            tracing::warn!(%error, "the address book is not kept");
        }
    }

    fn compact(&mut self, compacted: &Compacted) -> Result<(), Failure> {
        self.store.compact(compacted)
    }

    fn keep_chunk(&mut self, root: Hash, index: u32, bytes: &[u8]) {
        if let Err(error) = self.store.keep_chunk(root, index, bytes) {
            tracing::warn!(%error, "a fetched chunk is not kept");
        }
    }

    fn signing(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.store.signing(bytes)
    }

    fn reset(&mut self) -> Result<(), Failure> {
        self.store.reset()
    }

    fn event(&mut self, event: Event, node: &mut Node) {
        let clock = node.fold().clock();
        self.shared.clock.store(clock, Relaxed);
        let neighbours = node.neighbours().len();
        self.metrics.set_peers(neighbours);
        self.shared.swarm.store(1 + neighbours.max(node.member_count()) as u64, Relaxed);
        match event {
            Event::Applied { update, age_tokens, .. } => {
                self.applied += 1;
                let is_own = update.author == node.id();
                self.metrics.observe_age(is_own, age_tokens);
                if !is_own {
                    self.shared.add_age(age_tokens);
                }
                self.save_if_due(clock, node);
                if self.reports_folds {
                    self.reporter.folded(update);
                }
            }
            Event::AuditReady { update } => self.notice(Notice::Audit(update)),
            Event::Audited { update, auditor, passed } => {
                let kind = if passed { EventKind::AuditPassed } else { EventKind::AuditFailed };
                let detail = format!("update {} replayed by {}", update.seq, auditor.petname());
                self.reporter.event(kind, Some(update.author.to_string()), detail);
            }
            Event::Banned { peer, lasts, reason } => {
                let detail = format!("not listened to for {} s: {reason}", lasts.as_secs());
                self.reporter.event(EventKind::Banned, Some(peer.to_string()), detail);
            }
            Event::BadInput { peer, reason } => self.on_bad_input(peer, &reason),
            Event::CaughtUp => {
                self.shared.stalled.store(false, Relaxed);
                self.reporter.event(EventKind::CaughtUp, None, "");
                self.report_excluded(node);
                self.notice(Notice::CaughtUp);
            }
            Event::Departed { peer } => self.reporter.event(EventKind::Departed, Some(peer.to_string()), ""),
            Event::Diverged { peer, theirs, ours } => self.on_diverged(peer, theirs, ours),
            Event::Evicted { peer, why } => self.on_evicted(peer, why, node),
            Event::Final { epoch, clock, excluded } => {
                self.on_final(epoch, clock, excluded);
                self.report_excluded(node);
            }
            Event::Stalled { tokens } => self.on_stalled(tokens),
            Event::Resumed => self.on_resumed(),
            Event::Finished { agreed: _ } => self.notice(Notice::Finished),
            Event::Unfinished { delays } => {
                let detail = format!("not finished yet: {}", Delay::list(&delays));
                self.reporter.event(EventKind::Unfinished, None, detail);
            }
            Event::IdentityInUse => self.notice(Notice::IdentityInUse),
            Event::MemberDown { peer, reason } => tracing::info!(peer = %peer.petname(), ?reason, "member down"),
            Event::MemberUp { peer } => tracing::info!(peer = %peer.petname(), "member up"),
            Event::Usurped => {
                let detail = "another process that started later has this peer's identity, and was told to stop";
                self.reporter.event(EventKind::Usurped, None, detail);
            }
            Event::Joined { peer } => self.reporter.event(EventKind::Joined, Some(peer.to_string()), ""),
        }
    }

    fn count(&mut self, sent: bool, kind: &'static str, bytes: usize) {
        let direction = if sent { Direction::Sent } else { Direction::Received };
        self.metrics.add_bytes(direction, kind, bytes as u64);
    }

    fn settled(&mut self, took: Duration) {
        let applied = core::mem::take(&mut self.applied);
        self.metrics.add_updates_folded(u64::from(applied));
        (0..applied).for_each(|_| self.metrics.observe_fold(took / applied));
    }
}
