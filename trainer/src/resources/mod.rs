//! Memory and threads that a run needs, and that this machine has: compared before anything starts, so that a user gets an
//! error and not a killed process.
//!
//! [`Need`] is an estimate, [`Free`] a reading, [`check`] compares them; [`probe_threads`] starts threads, because
//! their limit cannot be read. [`Hardware`] says what the machine is.

mod check;
mod estimate;
mod free;
mod hardware;
mod threads;

pub use check::check;
pub(crate) use estimate::carries_kept;
pub use estimate::{Machine, Need, Shape};
pub use free::{Free, oom_kills};
pub use hardware::{Hardware, Platform, cpu};
pub use threads::{probe_threads, start_shared_pool, threads_of_peer};
