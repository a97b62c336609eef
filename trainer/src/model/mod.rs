//! The models: those of `murmur-model`, and the same GPT computed by burn.

mod burn_replica;
mod fused;
mod gpt;

pub use burn_replica::BurnReplica;
pub use murmur_model::{
    Batch, Entry, ExactReplica, Layout, ModelConfig, ModelConfigError, Replica, ReplicaError, Role, VOCAB,
    initial_params, step_bytes,
};

#[cfg(test)]
mod tests;
