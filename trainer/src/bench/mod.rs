//! Benchmarks of real peer processes on this machine: what it costs to exchange updates, and what churn does to them.
//!
//! In order: `ground` makes a folder, a manifest and identities; `fleet` starts processes and hears them; [`exchange`] and
//! [`churn`] say what happens to them; `tally`, `footprint` and `figures` count; [`report`] is the result, which misses or
//! meets its targets. Nothing here is a peer, and peers behave as they do in any run.

pub mod churn;
pub mod exchange;
mod figures;
mod fleet;
mod footprint;
mod ground;
pub mod report;
mod tally;
