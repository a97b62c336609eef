//! The models: those of `murmur-model`, and for each architecture the same model computed by burn.
//!
//! An architecture has a folder in `murmur-model`, with all that does not need burn, and one here with its replica on burn,
//! which the functions below know by name. `fused` has the operations that such replicas are made of.

mod fused;
pub mod gpt;

pub use murmur_model::{
    Architecture, Batch, Dimension, Entry, FAMILIES, Family, Layout, ModelConfig, ModelConfigError, Replica,
    ReplicaError, Role, Section, Token, Vocabulary,
};

use crate::error::{Exit, Failure};

/// A replica that computes with burn's kernels: the same bits only on machines alike.
///
/// # Errors
/// Impossible dimensions.
pub fn class_replica(model: &ModelConfig) -> Result<Box<dyn Replica + Send>, ModelConfigError> {
    match model {
        ModelConfig::Gpt(gpt) => Ok(Box::new(gpt::BurnReplica::new(*gpt)?)),
    }
}

/// Bytes that a step of [`class_replica`] on `[sequences, positions]` holds.
pub fn class_step_bytes(model: &ModelConfig, shape: [u64; 2]) -> u64 {
    match model {
        ModelConfig::Gpt(gpt) => gpt::burn_step_bytes(gpt, shape),
    }
}

impl From<ModelConfigError> for Failure {
    fn from(error: ModelConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<ReplicaError> for Failure {
    fn from(error: ReplicaError) -> Self {
        Self::new(Exit::Device, "the model could not be computed").because(error)
    }
}
