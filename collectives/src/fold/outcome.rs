//! Results of the operations on a fold.

use murmur_kernels::CodecError;

use crate::{Entry, Invalid, PeerId, VersionVector};

/// What [`crate::Fold::insert`] did with an entry. Each variant says what it changed.
#[derive(Debug)]
pub enum Insertion {
    /// The entry is in the set, and the state is moved.
    Applied {
        /// The author whose updates became void by this entry: as its verdict completes a quorum, or it proves a fork.
        voided: Option<PeerId>,
    },
    /// The entry is in the set already, or can never matter again. Nothing changed.
    Known,
    /// Other entries must come first. Nothing changed, unless the entry proves a fork that was not known: then the accused
    /// chain is closed and the state moved at once, while the entry itself still waits.
    Waits {
        /// For each author, how many entries are needed.
        needs: VersionVector,
        /// The author whose chain was closed.
        closed: Option<PeerId>,
    },
    /// The entry names an epoch that is not final here yet: the certificate must come first. Nothing changed.
    Early {
        /// Which epoch.
        epoch: u32,
    },
    /// A final frontier excluded the entry. Set and state did not change; the entry is kept as the position after which its
    /// author continues.
    Excluded,
    /// The entry voids updates whose payloads are not held, and they cannot be removed from the state without. Nothing changed.
    NeedsPayloads(Vec<(PeerId, u32)>),
    /// The author signed two entries for one position; this is the one that is held. Nothing changed.
    Forks(Box<Entry>),
    /// The entry continues a branch that is not held: the entry at this position shows the fork. Nothing changed.
    OtherBranch {
        /// The position before the entry's own.
        seq: u32,
    },
    /// The entry can never be part of the set. Nothing changed.
    Refused(Refused),
}

/// Why updates of an author are void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voided {
    /// The author signed two entries for one position of its chain. The two prove it to anyone.
    Fork,
    /// A quorum of trusted auditors replayed its work and computed something else.
    Audits,
}

/// Why an entry can never be part of the set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The entry breaks a rule that its author signed up to.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The payload is not the one committed to, or there should be none: the sender's fault, the entry may be good.
    #[error("payload does not match its commitment")]
    WrongPayload,
    /// The payload is the committed one, and malformed: the author's fault.
    #[error("payload is malformed: {0}")]
    Payload(CodecError),
    /// The committed norm is not the payload's.
    #[error("claimed norm is not the payload's")]
    Norm,
}

/// What a peer that holds a set says of a proposed frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Exactly this set is held, and everything that the proposal says of it is right.
    Good,
    /// Entries are missing, or payloads to rebuild its state.
    Lacks,
    /// The proposal is wrong: the proposer lies, or holds another branch of a forked chain.
    Wrong(&'static str),
}

/// A past state cannot be rebuilt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RebuildError {
    /// The view names entries that the set does not hold.
    #[error("the view is not a subset of the log")]
    NotHeld,
    /// A payload in between is not held.
    #[error("payload {seq} of {author:?} is not held")]
    PayloadMissing {
        /// The author.
        author: PeerId,
        /// The position.
        seq: u32,
    },
}
