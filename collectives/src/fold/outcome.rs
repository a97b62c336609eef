//! What the fold answers.

use murmur_kernels::CodecError;

use crate::{Entry, Invalid, PeerId, VersionVector};

/// What became of an entry offered to the fold.
#[derive(Debug)]
pub enum Insertion {
    /// It is in the set now. If verdicts or a fork voided updates with it, their author is named.
    Applied {
        /// Author whose updates just became void.
        voided: Option<PeerId>,
    },
    /// Nothing to do.
    Known,
    /// Something must come first. Nothing changed, unless it proves a fork.
    Waits {
        /// Entries needed.
        needs: VersionVector,
        /// The author whose fork it proves: that chain is closed already.
        closed: Option<PeerId>,
    },
    /// It knows an epoch that is not final here yet; nothing changed. The certificate must come first.
    Early {
        /// Which epoch.
        epoch: u32,
    },
    /// A final frontier went by without it, and its author goes on behind it; the set did not change.
    Excluded,
    /// These updates' payloads are needed to remove them; nothing changed.
    NeedsPayloads(Vec<(PeerId, u32)>),
    /// The author signed two entries for one position; nothing changed. Here is the other one.
    Forks(Box<Entry>),
    /// It continues a branch that is not held; nothing changed. Ask for this position to see the fork.
    OtherBranch {
        /// The position before the entry's own.
        seq: u32,
    },
    /// It can never be part of the set; nothing changed.
    Refused(Refused),
}

/// Why updates of an author are void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voided {
    /// The author signed two entries for one position of its chain. The two prove it to anyone.
    Fork,
    /// As many trusted auditors as the rules ask for replayed its work and found something else.
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

/// What becomes of a frontier that somebody proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Exactly this set is held, and all that is said about it is right.
    Good,
    /// Entries are missing, or payloads to rebuild its state.
    Lacks,
    /// It is wrong: its proposer lies, or holds another branch of a forked chain.
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
        /// Whose.
        author: PeerId,
        /// Which entry.
        seq: u32,
    },
}
