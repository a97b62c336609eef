//! How a run is seen from outside: the [`metrics`] that a peer counts, the [`status`] that it answers with, and the [`output`] of a
//! command.

pub mod metrics;
pub mod output;
pub mod status;
pub mod views;
