//! Why a segment produced no update.

use murmur_kernels::{CarryError, CodecError};
use thiserror::Error;

use crate::learn::model::ReplicaError;

/// The segment failed; the caller keeps its parameters and has lost the carry it passed in.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SegmentError {
    /// A loss or gradient was NaN or infinite: the run diverged, or the starting parameters did.
    #[error("training diverged at inner step {step}: loss {loss}, gradient norm {gradient_norm}")]
    Diverged {
        /// Inner step, from 1.
        step: u32,
        /// Loss at that step.
        loss: f32,
        /// Euclidean norm of the gradient at that step.
        gradient_norm: f32,
    },
    /// The difference could not be compressed.
    #[error("the segment's result cannot be compressed: {0}")]
    Codec(#[from] CodecError),
    /// The carry did not survive sealing.
    #[error("the carry cannot be sealed: {0}")]
    Carry(#[from] CarryError),
    /// The model could not be computed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

impl SegmentError {
    /// Whether it follows from what the segment began with, and not from this machine: whoever replays the segment of another
    /// knows then that the other published what nobody can compute.
    pub fn is_of_its_input(&self) -> bool {
        match self {
            Self::Diverged { .. } | Self::Codec(_) | Self::Carry(_) => true,
            Self::Replica(_) => false,
        }
    }
}
