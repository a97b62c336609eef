//! Models whose parameters are one flat vector, and the interfaces that every architecture and implementation stands behind.
//!
//! [`ModelConfig`] says which [`Architecture`] and its dimensions. The architecture gives a [`Layout`], where each tensor lies
//! in the flat vector, and the initial parameters, which follow from a seed; and a [`Replica`], which computes losses and
//! gradients of batches of [`Token`]s. A replica keeps no parameters: the same parameters and the same batch give the same
//! bits, whatever it computed before.
//!
//! Each architecture is a folder of `architectures`: there is [`gpt`]. Replicas here compute in the exact profile of `murmur-kernels`: the same
//! bits on every machine. [`conformance`] pins a hundred steps. The crate depends on no framework, so it and its tests compile
//! in seconds.

mod architecture;
mod architectures;
pub mod conformance;
mod init;
mod layout;
mod replica;
mod token;

pub use architecture::{Architecture, Dimension, Family, ModelConfigError};
pub use architectures::{FAMILIES, ModelConfig, Section, gpt};
pub use layout::{Entry, Layout, Role};
pub use replica::{Batch, Replica, ReplicaError};
pub use token::{Token, Vocabulary};
