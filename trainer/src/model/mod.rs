//! The model: a byte-level GPT whose parameters are one flat vector, and the interface every implementation stands behind.
//!
//! [`ModelConfig`] gives the shape, [`Layout`] says where each tensor lies in the flat vector, [`initial_params`]
//! fills it from a seed, and a [`Replica`] computes losses and gradients from it. A replica keeps no parameters:
//! the same parameters and the same batch give the same bits, whatever it computed before.

mod burn_replica;
mod config;
mod fused;
mod gpt;
mod init;
mod layout;
mod replica;

pub use burn_replica::BurnReplica;
pub use config::{ModelConfig, ModelConfigError, VOCAB};
pub use init::initial_params;
pub use layout::{Entry, Layout, Role};
pub use replica::{Batch, Replica, ReplicaError};

#[cfg(test)]
mod tests;
