//! The model: a byte-level GPT whose parameters are one flat vector, and the interface every implementation stands behind.
//!
//! [`ModelConfig`] gives the shape, [`Layout`] says where each tensor lies in the flat vector, [`initial_params`]
//! fills it from a seed, and a [`Replica`] computes losses and gradients from it. A replica keeps no parameters:
//! the same parameters and the same batch give the same bits, whatever it computed before.
//!
//! [`ExactReplica`] computes in the exact profile of `murmur-kernels`: the same bits on every machine. [`conformance`]
//! pins a hundred steps of it. The crate depends on no framework, so it and its tests compile in seconds.

mod config;
pub mod conformance;
mod exact;
mod init;
mod layout;
mod replica;

pub use config::{ModelConfig, ModelConfigError, VOCAB};
pub use exact::{ExactReplica, step_bytes};
pub use init::{initial_params, initial_params_of};
pub use layout::{Entry, Layout, Role};
pub use replica::{Batch, Replica, ReplicaError};
