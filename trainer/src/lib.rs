//! `murmur`: trains one model on many machines with no coordinator.
//!
//! In the order of a run's life: [`cli`] reads a command and [`config`] its settings; [`run`] is what a run consists of, on paper
//! and on disk; [`resources`] compares what it takes with what the machine has; [`launcher`] starts the peers of this machine,
//! with which it speaks [`protocol`]. A [`peer`] puts what [`learn`] does on a `murmur_coordinatorless::Node`; [`observe`] shows
//! how it goes. [`mod@error`] and [`crash`] say how it ended. [`mod@bench`] measures peers from outside, [`doctor`] the machine.

pub mod bench;
pub mod cli;
pub mod config;
pub mod crash;
pub mod doctor;
pub mod error;
pub mod launcher;
pub mod learn;
pub mod observe;
pub mod peer;
pub mod protocol;
pub mod resources;
pub mod run;
