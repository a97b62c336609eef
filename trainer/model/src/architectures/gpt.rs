//! The byte-level GPT: dimensions and their limits, layout, initialization, cost, and its kernels of the exact profile.
//!
//! Its replica on burn is in the trainer, `trainer/src/learn/model/gpt`: burn stays out of this crate.

mod config;
mod exact;
mod layout;
mod section;

pub use config::{FAMILY, Gpt};
pub use exact::ExactReplica;
pub(crate) use section::Section;
