//! The GPT computed by burn, beside the exact one of `murmur-model`.

mod burn_replica;
mod forward;

pub use burn_replica::{BurnReplica, burn_step_bytes};
pub use murmur_model::gpt::{ExactReplica, Gpt};

#[cfg(test)]
mod tests;
