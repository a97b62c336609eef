//! The end of a segment: its author commits to the private state, or its span goes on.

use murmur_kernels::{Carry, blob_root};

use super::error::SegmentError;

/// The private state after a segment.
pub(super) struct Commitment {
    /// What the author and an auditor go on from.
    pub(super) carry: Carry,
    /// The sealed form, and its blob root; nothing and zeros if the span goes on.
    pub(super) sealed: Option<Vec<u8>>,
    pub(super) root: [u8; 32],
}

/// With `commits` the carry goes through its sealed form, so that an auditor of what follows can start from the same bits. Else
/// it stays as it is: rounding it after every few steps would lose the small changes that they make.
///
/// # Errors
/// [`SegmentError::Carry`] if the carry cannot be sealed.
pub(super) fn commit(mut carry: Carry, commits: bool) -> Result<Commitment, SegmentError> {
    if !commits {
        return Ok(Commitment { carry, sealed: None, root: [0; 32] });
    }
    let sealed = carry.seal();
    carry.reopen(&sealed)?;
    Ok(Commitment { carry, root: blob_root(&sealed), sealed: Some(sealed) })
}
