//! How a run is observed: the [`metrics`] and the [`status`] that a peer serves, and the [`output`] of a command, which shows
//! [`views`] of a run.

pub mod metrics;
pub mod output;
pub mod status;
pub mod views;
