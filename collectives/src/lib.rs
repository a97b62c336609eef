//! Updates, the log, version vectors and the fold: the model as a function of a grow-only set.
//!
//! In life-cycle order: a peer has an [`Identity`]; what it says is an [`Entry`], signed and chained to its previous
//! one; entries are admitted to a [`Log`] when their causal past, named by a [`VersionVector`], is there; the [`Fold`]
//! turns the set into a model, weighing each update by the [`Rules`] and its past alone. Nothing here knows sockets,
//! clocks or models.

mod entry;
mod fold;
mod hash;
mod identity;
mod log;
mod rules;
mod standing;
mod version;
mod weigh;

pub use entry::{
    BASE_AUTHORS_MAX, Body, Enroll, Entry, EntryError, Equivocation, HEADER_BYTES_MAX, Header, Stage, Update, Verdict,
    WireEntry,
};
pub use fold::{Fold, Insertion, RebuildError, Refused};
pub use hash::Hash;
pub use identity::{Identity, PeerId};
pub use log::{Admission, Invalid, Log, Record};
pub use rules::{BadRule, Founder, ONE_Q16, Rules};
pub use version::{Component, NotCanonical, VersionVector};
