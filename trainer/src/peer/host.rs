//! What the node needs from this process: its disk, its metrics, the learner and the launcher.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

use murmur_collectives::{Hash, PeerId};
use murmur_coordinatorless::{Checkpoint, Compacted, Event, Node, PeerAddress, StoredEntry};
use murmur_quic::{Host, ToldOff};

use super::{AddressBookFile, Notice, Reporter, Shared, Store};
use crate::checkpoint;
use crate::manifest::Manifest;
use crate::metrics::{Direction, Metrics};
use crate::model::ModelConfig;
use crate::protocol::EventKind;

/// Checkpoint files kept.
const CHECKPOINTS_KEPT: usize = 2;

/// Carries out what the node asks.
#[derive(Debug)]
pub(super) struct PeerHost {
    store: Store,
    notices: mpsc::Sender<Notice>,
    shared: Arc<Shared>,
    metrics: Metrics,
    reporter: Reporter,
    model: ModelConfig,
    dir: PathBuf,
    evictors: BTreeSet<PeerId>,
    quorum: u32,
    /// Whether each fold is reported, for a benchmark.
    tells_folds: bool,
    /// Updates folded since the node was last settled.
    applied: u32,
}

impl PeerHost {
    pub(super) fn new(
        store: Store,
        (notices, shared, metrics): (mpsc::Sender<Notice>, Arc<Shared>, Metrics),
        reporter: Reporter,
        manifest: &Manifest,
        tells_folds: bool,
    ) -> Self {
        let (dir, model, quorum) = (store.dir().to_owned(), manifest.model(), manifest.rules.audit_quorum);
        let (evictors, applied) = (BTreeSet::new(), 0);
        Self { store, notices, shared, metrics, reporter, model, dir, evictors, quorum, tells_folds, applied }
    }

    fn notice(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    fn on_evicted(&self, peer: PeerId, node: &Node) {
        if peer == node.id() {
            self.notice(Notice::Evicted);
        }
        self.reporter.event(EventKind::Evicted, Some(peer.to_string()), "its updates are removed");
    }

    fn on_diverged(&self, peer: PeerId, theirs: Hash, ours: Hash) {
        let detail = format!("same set, other state: {theirs:?} there, {ours:?} here");
        self.reporter.event(EventKind::Diverged, Some(peer.to_string()), detail);
    }

    fn on_final(&self, epoch: u32, clock: u64, excluded: u64) {
        self.shared.stalled.store(false, Relaxed);
        self.notice(Notice::Wake);
        if excluded > 0 {
            tracing::warn!(epoch, excluded, "entries came too late for a final frontier and left the set");
        }
        self.reporter.event(EventKind::Final, None, format!("epoch {epoch} at {clock} tokens"));
    }

    fn on_stalled(&self, tokens: u64) {
        self.shared.stalled.store(true, Relaxed);
        let detail = format!("{tokens} tokens are not final; training goes on when more peers are back to agree");
        self.reporter.event(EventKind::Stalled, None, detail);
    }

    fn on_bad_input(&self, peer: PeerId, reason: &str) {
        tracing::warn!(peer = %peer.petname(), reason, "refused");
        self.metrics.add_rejected("message");
        self.reporter.event(EventKind::BadInput, Some(peer.to_string()), reason);
    }

    /// Writes the file beside the network's work: the folder of a large model takes a while.
    fn save(&self, taken: &Checkpoint, run: Hash) {
        let file = checkpoint::Checkpoint {
            model: self.model,
            run_id: run.0,
            clock: taken.clock,
            state: taken.state.as_ref().clone(),
            extra: std::collections::BTreeMap::new(),
        };
        let (dir, reporter) = (self.dir.clone(), self.reporter);
        let write = move || match file.write(&dir.join(checkpoint_name(file.clock))) {
            Ok(()) => {
                drop_old_checkpoints(&dir);
                reporter.event(EventKind::Checkpoint, None, format!("checkpoint at {} tokens", file.clock));
            }
            Err(error) => reporter.event(EventKind::Checkpoint, None, format!("checkpoint not written: {error}")),
        };
        tokio::task::spawn_blocking(write);
    }
}

/// Sorts by clock.
fn checkpoint_name(clock: u64) -> String {
    format!("checkpoint-{clock:015}.safetensors")
}

fn drop_old_checkpoints(dir: &std::path::Path) {
    let Ok(files) = std::fs::read_dir(dir) else { return };
    let is_ours = |name: &str| name.starts_with("checkpoint-") && name.ends_with(".safetensors");
    let paths = files.filter_map(|file| Some(file.ok()?.path()));
    let mut ours: Vec<PathBuf> =
        paths.filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_ours)).collect();
    ours.sort();
    let old = ours.len().saturating_sub(CHECKPOINTS_KEPT);
    for path in &ours[..old] {
        let _ = std::fs::remove_file(path);
    }
}

impl Host for PeerHost {
    fn append(&mut self, record: &StoredEntry, durable: bool) -> Result<(), String> {
        self.store.append(record, durable)
    }

    fn adopt(&mut self, state: &[i64]) -> Result<(), String> {
        self.store.adopt(state)
    }

    fn address_book(&mut self, peers: &[PeerAddress]) {
        if let Err(error) = AddressBookFile::of(&self.dir).write(peers) {
            tracing::warn!(%error, "the address book is not kept");
        }
    }

    fn compact(&mut self, compacted: &Compacted) -> Result<(), String> {
        self.store.compact(compacted)
    }

    fn signing(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.store.signing(bytes)
    }

    fn reset(&mut self) -> Result<(), String> {
        self.store.reset()
    }

    fn event(&mut self, event: Event, node: &mut Node) {
        self.shared.clock.store(node.fold().clock(), Relaxed);
        self.metrics.set_peers(node.neighbours().len());
        match event {
            Event::Applied { update, .. } => {
                self.applied += 1;
                if self.tells_folds {
                    self.shared.saw(update.author);
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
                self.notice(Notice::CaughtUp);
            }
            Event::Checkpointed { .. } => {
                if let Some(taken) = node.checkpoint() {
                    self.save(taken, node.fold().run());
                }
            }
            Event::Departed { peer } => self.reporter.event(EventKind::Departed, Some(peer.to_string()), ""),
            Event::Diverged { peer, theirs, ours } => self.on_diverged(peer, theirs, ours),
            Event::Evicted { peer } => self.on_evicted(peer, node),
            Event::Final { epoch, clock, excluded } => self.on_final(epoch, clock, excluded),
            Event::Stalled { tokens } => self.on_stalled(tokens),
            Event::Finished { agreed: _ } => self.notice(Notice::Finished),
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

    fn told_off(&mut self, why: ToldOff) {
        match why {
            ToldOff::Evicted(peer) => {
                self.evictors.insert(peer);
                if self.evictors.len() >= self.quorum as usize {
                    self.notice(Notice::Evicted);
                }
            }
            ToldOff::Version => tracing::warn!("a peer speaks another protocol version"),
            ToldOff::SameIdentity => tracing::warn!("a peer has this peer's own identity"),
        }
    }
}
