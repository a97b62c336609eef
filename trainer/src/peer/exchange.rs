//! The rest of the learner's interface to a collective, beside segments: audits, the end, and figures for reports. A baseline
//! implements [`Exchange`] in a file of its own beside `update_log`, and `peer` chooses.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use murmur_collectives::{Collective, Hash, PeerId, Rebuilt, Snapshot, VersionVector};
use murmur_coordinatorless::{AuditJob, EntryName};
use murmur_kernels::TopK;

use super::Checkpoints;
use crate::run::checkpoint::Checkpoint;

/// A collective that a peer process can train with: it takes inputs of the learner's thread, gives it replays to do, and has
/// figures for reports.
pub(super) trait Exchange: Collective<Base: fmt::Display, Input = CollectiveInput, Output = Replay> {
    /// The id of this peer.
    fn me(&self) -> PeerId;

    /// Its figures for a report; nothing once it has ended.
    fn view(&self) -> Option<View>;

    /// Its figures for the last report, all of one moment, with a checkpoint if `keeps` is given.
    fn conclude(&self, keeps: Option<Checkpoints>) -> Option<Conclusion<Self::Base>>;

    /// Moves a rebuilt state on to another set, and says how many tokens that has. `None` if it cannot be rebuilt any more.
    fn advance(&self, rebuilt: Rebuilt, view: VersionVector) -> Option<(Rebuilt, u64)>;

    /// The newest payload of another peer, for the attack that copies.
    fn another_payload(&self) -> Option<(TopK, Vec<u8>)>;
}

/// Inputs of a collective from the learner's thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum CollectiveInput {
    /// An update is ready to be replayed here.
    AuditReady(EntryName),
    /// Submit nothing more; reach agreement with the others.
    Finish {
        /// How long to wait for neighbours that still train.
        patience: Duration,
    },
    /// An update was replayed.
    Judged {
        /// The update.
        update: EntryName,
        /// Whether the replay gave the same bits.
        passed: bool,
        /// Digest of what the replay gave.
        replay: Hash,
    },
    /// An update could not be replayed here.
    Unjudged {
        /// The update.
        update: EntryName,
    },
}

/// An update to replay.
#[derive(Debug)]
pub(super) struct Replay {
    /// Its name.
    pub(super) update: EntryName,
    /// Parameters, carry and entry to replay from.
    pub(super) job: AuditJob,
    /// The payloads that the updates of its span should give.
    pub(super) payloads: Vec<Arc<[u8]>>,
}

/// Figures of a collective for a report. Without its state's root, which takes a pass over the whole state.
pub(super) struct View {
    pub(super) tokens: u64,
    pub(super) updates: u64,
    pub(super) neighbours: u64,
    pub(super) audits: (u64, u64),
    pub(super) evicted: Vec<PeerId>,
    pub(super) compared: (u64, u64),
    pub(super) chains: BTreeMap<String, u32>,
    pub(super) final_epoch: u32,
}

/// Figures of a collective for the last report.
pub(super) struct Conclusion<Base> {
    pub(super) snapshot: Snapshot<Base>,
    pub(super) view: View,
    pub(super) root: Hash,
    pub(super) taken: Option<Checkpoint>,
}
