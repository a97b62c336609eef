//! Benchmarks of real peer processes on this machine: the cost of exchanging updates, and whether they agree after churn.
//!
//! In order: `run_folder` makes a folder, a manifest and identities; `fleet` starts processes and reads their reports;
//! [`exchange`] and [`churn`] are the two benchmarks; `tally`, `footprint` and `figures` count; [`report`] is the result, which
//! meets or misses its targets. The peers are those of any run.

pub mod churn;
pub mod exchange;
mod figures;
mod fleet;
mod footprint;
pub mod links;
pub mod report;
mod run_folder;
pub mod suite;
pub mod suites;
mod tally;
