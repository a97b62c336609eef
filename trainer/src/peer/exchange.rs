//! What the learner needs of a collective beside segments: audits, an end, and something to report. A baseline implements
//! [`Exchange`] in a file of its own beside `update_log`, and `peer` chooses.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use murmur_collectives::{Collective, Hash, PeerId, Snapshot};
use murmur_coordinatorless::{AuditJob, EntryName};

use super::Checkpoints;
use crate::run::checkpoint::Checkpoint;

/// A collective that a peer process can train with: it takes what the learner's thread says, gives it replays to do, and can be
/// reported on.
pub(super) trait Exchange: Collective<Base: fmt::Display, Input = Told, Output = Replay> {
    /// Who this peer is.
    fn me(&self) -> PeerId;

    /// What a report says of it; nothing once it has ended.
    fn view(&self) -> Option<View>;

    /// What the report at the end says of it, all of one moment, with a checkpoint if `keeps` says where it will go.
    fn conclude(&self, keeps: Option<Checkpoints>) -> Option<Conclusion<Self::Base>>;

    /// The newest payload of somebody else, for the attack that copies.
    fn another_payload(&self) -> Option<Vec<u8>>;
}

/// What the learner's thread tells a collective.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
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
    /// What the replay starts from.
    pub(super) job: AuditJob,
    /// What it should give.
    pub(super) payload: Arc<[u8]>,
}

/// What a report says of a collective. Without its state's root, which takes a pass over the whole state.
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

/// What the report at the end says of a collective.
pub(super) struct Conclusion<Base> {
    pub(super) snapshot: Snapshot<Base>,
    pub(super) view: View,
    pub(super) root: Hash,
    pub(super) taken: Option<Checkpoint>,
}
