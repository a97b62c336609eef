//! The seam between a learner and whatever combines many learners' work into one model.
//!
//! A learner takes a snapshot, works on it for a segment, and submits a draft of what it learned. What becomes of drafts is
//! the collective's business: the update log folds them into a set that all peers share; an all-reduce, a parameter server or
//! a local average can stand behind the same trait, and the learner is not told which.

use std::sync::Arc;

use murmur_kernels::TopK;

use crate::Hash;

/// Combines the work of many learners into one model.
///
/// A state machine like all others here: it does nothing by itself. Whatever happens is given to [`handle`](Self::handle);
/// after that, and after [`submit`](Self::submit), [`poll`](Self::poll) until it gives nothing more. An implementation that
/// needs time takes it in its inputs.
pub trait Collective {
    /// What a snapshot is of, so that a draft can say what it builds on.
    type Base: Clone;
    /// What a segment gives to it.
    type Draft;
    /// What can happen to it: a message, a moment that has come, a verdict of the learner.
    type Input;
    /// What it wants done, or tells.
    type Output;

    /// Whether it may be trained on now: not while it catches up with the others.
    fn is_ready(&mut self) -> bool;

    /// What the next segment starts from; nothing once the collective has ended.
    fn snapshot(&mut self) -> Option<Snapshot<Self::Base>>;

    /// What has joined since `base`, a snapshot's or an earlier answer: the new base and the model there, or nothing if nothing
    /// has. For a segment that merges while it runs.
    fn joined_since(&mut self, base: &Self::Base) -> Option<(Self::Base, Vec<f32>)>;

    /// Takes what a segment gave. A draft whose base is gone is dropped, and the collective says so.
    fn submit(&mut self, draft: Self::Draft);

    /// Takes one input.
    fn handle(&mut self, input: Self::Input);

    /// The next thing to do or to know, in order.
    fn poll(&mut self) -> Option<Self::Output>;
}

/// What a segment starts from.
#[derive(Clone, Debug)]
pub struct Snapshot<Base> {
    /// What it is of.
    pub base: Base,
    /// The model, `[parameters]`.
    pub parameters: Vec<f32>,
    /// Tokens that it has learned from.
    pub clock: u64,
    /// Number of this learner's segments before this one.
    pub segment: u32,
    /// Whether the segment will count; not while the learner is on probation.
    pub trusted: bool,
    /// The sealed carry of this learner's last segment and its root, if there is one to continue.
    pub carry: Option<(Hash, Arc<[u8]>)>,
    /// Updates since this learner last committed to a carry, if the next one may go on from the private state after them;
    /// else 0.
    pub open_updates: u32,
}

/// A segment's result, on its way into the update log.
#[derive(Clone, Debug)]
pub struct Draft<Base> {
    /// What the segment started from; then what it merged, with the inner steps done by then. At least one.
    pub bases: Vec<(u32, Base)>,
    /// Its number.
    pub segment: u32,
    /// Inner steps taken.
    pub steps: u32,
    /// The compressed pseudo-gradient.
    pub payload: Arc<[u8]>,
    /// How many of every 4096 parameters it carries.
    pub top: TopK,
    /// Mean training loss, micro-nats per token.
    pub loss_micronats: u32,
    /// Root of the trace.
    pub trace: Hash,
    /// Root of the carry the segment started from, [`Hash::NONE`] if fresh, [`Update::CONTINUES`](crate::Update::CONTINUES) if
    /// it went on from an uncommitted one.
    pub carry_before: Hash,
    /// The sealed carry after it, to be committed to; nothing if the next segment goes on from the private state as it is.
    pub carry: Option<Arc<[u8]>>,
}
