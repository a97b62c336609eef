//! `murmur`: trains one model on many machines with no coordinator.
//!
//! The command line and the launcher are one half: [`config`], [`ticket`], [`explain`], [`protocol`], [`metrics`]. What a
//! peer process does is the other: [`manifest`] and [`schedule`] say what the run is, [`numeric`], [`model`],
//! [`data`] and [`segment`] learn, [`peer`] puts them on a `murmur_coordinatorless::Node`, [`checkpoint`] and [`sample`] are what remains. [`mod@bench`]
//! measures peers from outside, [`doctor`] the machine.

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod crash;
pub mod data;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod identity_file;
pub mod lan;
pub mod launcher;
pub mod manifest;
pub mod metrics;
pub mod model;
pub mod numeric;
pub mod output;
pub mod peer;
pub mod protocol;
pub mod resources;
pub mod sample;
#[cfg(test)]
mod sample_reports;
pub mod schedule;
pub mod segment;
pub mod shell;
pub mod state_dir;
pub mod status;
pub mod ticket;
