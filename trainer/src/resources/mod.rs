//! What a run takes of this machine, and what the machine has: checked before anything starts, so that nobody learns from a
//! killed process that memory was short.
//!
//! [`Need`] is an estimate, [`Free`] a reading, [`check`] compares them; [`probe_threads`] tries what cannot be read.

mod check;
mod estimate;
mod free;
mod threads;

pub use check::check;
pub(crate) use estimate::carries_kept;
pub use estimate::{Machine, Need, Shape};
pub use free::{Free, oom_kills};
pub use threads::{probe_threads, start_shared_pool, threads_of_peer};
