//! Baselines: the same model, text, seed, schedule and kernels as a run, trained in rounds with a barrier.
//!
//! In order: [`Method`](method::MethodName) names what there is and the settings that suit it best; `rank` is one peer's
//! side, which trains and gives its collective what it learned; [`in_process`] trains all ranks in one process, the
//! laboratory; [`group`] starts a process for each, which [`process`] is, over the transport of any run. Both end with the
//! same bits.

pub mod group;
pub mod in_process;
pub mod method;
pub mod process;
pub mod rank;
