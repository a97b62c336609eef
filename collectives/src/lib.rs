//! Updates, the log, version vectors and the fold: the model as a function of a grow-only set.
//!
//! In life-cycle order: a peer has an [`Identity`]; what it says is an [`Entry`], signed and chained to its previous
//! one; entries are admitted to a [`Log`] when their causal past, named by a [`VersionVector`], is there; the [`Fold`]
//! turns the set into a model, weighing each update by the [`Rules`] and its past alone. A [`Frontier`] that two thirds of
//! the recent work signed is final: what came too late for it leaves the set, and what is long final is pruned to a
//! [`Foundation`]. A learner sees all of this, or whatever takes its place, as a [`Collective`]; [`baseline`] has
//! others to compare with. Nothing here knows sockets, clocks or models.

pub mod baseline;
mod claim;
mod collective;
mod entry;
mod epochs;
mod fold;
mod foundation;
mod frontier;
mod hash;
mod identity;
mod log;
mod pace;
mod remembered;
mod rounds;
mod rules;
mod selection;
mod standing;
mod state;
mod version;
mod weigh;

pub use claim::{Claim, Equivocation};
pub use collective::{Collective, Draft, Snapshot};
pub use entry::{
    BASE_AUTHORS_MAX, BadMerges, Body, Enroll, Entry, EntryError, HEADER_BYTES_MAX, Header, Merge, Stage, Update,
    Verdict, WireEntry,
};
pub use epochs::{Epochs, Final};
pub use fold::{Fold, Insertion, Judgement, RebuildError, Rebuilt, Refused, Resumption, Voided};
pub use foundation::{AuthorTotals, FOUNDATION_BYTES_MAX, Foundation, Kept, KeptChain};
pub use frontier::{
    Ballot, Certificate, Frontier, NotFinal, Proposal, Row, Signed, VOTERS_MAX, Vote, Voter, rows_digest,
};
pub use hash::Hash;
pub use identity::{Identity, PeerId};
pub use log::{Admission, Invalid, Log, NextPosition, Record};
pub use pace::Pace;
pub use remembered::{holds, remember_proofs};
pub use rounds::{Heard, Patience, Rounds, Signing};
pub use rules::{BadRule, Founder, ONE_Q16, Rules};
pub use selection::Chance;
pub use state::{Cells, State};
pub use version::{Component, NotCanonical, VersionVector};
