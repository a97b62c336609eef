//! `murmur`: trains one model on many machines with no coordinator.
//!
//! In the order of a run's life: [`cli`] reads a command, and [`config`] its settings. [`run`] has a run's manifest, ticket and
//! files. [`resources`] compares the memory and threads that it needs with those of the machine. [`launcher`] starts this
//! machine's peers and exchanges reports and commands with them by [`protocol`]. A [`peer`] connects the segments of [`learn`]
//! with a `murmur_coordinatorless::Node`. [`observe`] has metrics, status and output. [`mod@error`] and [`crash`] give the reason
//! when a command fails. [`mod@bench`] measures peers from outside, [`doctor`] the machine, and
//! [`mod@estimate`] says what a run will take.

pub mod bench;
pub mod cli;
pub mod config;
pub mod crash;
pub mod doctor;
pub mod error;
pub mod estimate;
pub mod launcher;
pub mod learn;
pub mod observe;
pub mod peer;
pub mod protocol;
pub mod resources;
pub mod run;
