//! Benchmarks of real peer processes on this machine, and the kit that repeats, stores, compares and shows any benchmark.
//!
//! A [`suite`] is cases that run once for each seed; [`suites`] lists them. [`session`] runs one, [`result`] is its file,
//! [`comparison`] compares two, [`page`] shows them. [`exchange`] and [`churn`] are two benchmarks with arguments of their own: the
//! cost of exchanging updates, and whether peers agree after churn. Below all of them: `run_folder` makes a folder, a manifest and
//! identities; `fleet` starts peers and reads their reports; `child` and `training_run` start whole commands;
//! [`baseline`] trains in other ways; `curves` reads what a loss took; `tally` and
//! `footprint` count; `figures`, `paired` and `cases` are the statistics; [`report`] is a conclusion, which meets or misses its
//! targets.

pub mod baseline;
mod cases;
mod child;
pub mod churn;
pub mod comparison;
mod curves;
pub mod exchange;
mod figures;
mod fleet;
mod footprint;
pub mod links;
pub mod page;
mod paired;
pub mod report;
pub mod result;
mod run_folder;
pub mod session;
pub mod suite;
pub mod suites;
mod tally;
mod training_run;
