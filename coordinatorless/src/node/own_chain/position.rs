//! Where the own chain stands: what a segment starts from, and which epoch an own entry names.

use std::sync::Arc;

use murmur_collectives::{Hash, PeerId, VersionVector};

use super::super::{own_carries::OwnCarries, set::Set};

/// What a segment starts from.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The set.
    pub base: VersionVector,
    /// Its parameters, `[parameters]`.
    pub parameters: Vec<f32>,
    /// The newest epoch that is final.
    pub epoch: u32,
    /// The name of its frontier, which tells histories apart.
    pub frontier: Hash,
    /// Tokens of the set.
    pub clock: u64,
    /// Number of own segments before this one.
    pub segment: u32,
    /// Whether the next update would count; not on probation.
    pub trusted: bool,
    /// The own sealed carry and its root, if there is one to continue.
    pub carry: Option<(Hash, Arc<[u8]>)>,
    /// Own updates since the last commitment to a carry, if the next may go on in their span; else 0.
    pub open_updates: u32,
}

impl Snapshot {
    /// What the next segment of `me` starts from.
    pub(crate) fn of(set: &Set, own_carries: &OwnCarries, me: &PeerId) -> Self {
        let (fold, log) = (&set.fold, set.fold.log());
        let is_founded = log.is_founded(me);
        let open_updates = log.open_updates(fold.epochs(), me, fold.epochs().number()).filter(|_| is_founded);
        let root = log.carry(me).filter(|_| is_founded);
        Self {
            base: log.version().clone(),
            parameters: fold.parameters(),
            epoch: fold.epochs().number(),
            frontier: fold.epochs().newest().frontier.name(),
            clock: fold.clock(),
            segment: log.segments(me),
            trusted: fold.is_trusted(me, log.version()),
            carry: root.and_then(|root| Some((root, own_carries.with_root(&root)?.bytes.clone()))),
            open_updates: open_updates.unwrap_or(0),
        }
    }
}

/// The newest epoch that `base` contains and `me` may name. If part of `base` was excluded after `begun`, when the segment
/// started, none after that: who replays it would take it that the segment started without that part.
pub(super) fn epoch_within(set: &Set, me: &PeerId, base: &VersionVector, begun: u32) -> u32 {
    let (epochs, log) = (set.fold.epochs(), set.fold.log());
    let newest = if log.is_whole_since(base, begun) { epochs.number() } else { begun.min(epochs.number()) };
    let seen = |epoch: &u32| epochs.view(*epoch).is_some_and(|view| base.includes(view));
    let may = |epoch: &u32| log.may_name(epochs, me, *epoch);
    (epochs.oldest_open()..=newest).rev().filter(may).find(seen).unwrap_or(0)
}
