//! Baselines: the same model, text, seed, schedule and kernels as a run, trained in rounds with a barrier.
//!
//! In order: [`MethodName`](method::MethodName) names what there is and the settings that suit it best; `rank` is one peer's
//! side, which trains and gives its collective what it learned; [`in_process`] trains all ranks in one process, the
//! laboratory; [`group`] starts a process for each, which [`process`] is, over the transport of any run. Both end with the
//! same bits. [`case`] makes samples of them.

pub mod case;
pub mod group;
pub mod in_process;
pub mod method;
pub mod process;
pub mod rank;
