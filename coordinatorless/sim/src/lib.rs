//! Deterministic simulation of whole swarms in one process and in virtual time: real nodes, a simulated network,
//! faults, attackers, and invariants that must hold in every run. A seed is a bug report.
//!
//! In life-cycle order: a [`Scenario`] describes a swarm and its faults; [`run_seed`] simulates one seed of it; its
//! [`Report`] holds every [`Violation`] with the command that reproduces it, and the measured [`Figures`];
//! [`run_seeds`] simulates many seeds and sums them in a [`Summary`].
//!
//! This crate uses no clock, thread, socket or operating-system randomness: a seed gives the same history on every
//! machine, and the caller may distribute seeds over threads.

mod attacker;
mod connection_loss;
mod dialing;
mod disk;
mod fault_injection;
mod faults;
mod history;
mod invariants;
mod learner;
mod link_profile;
mod nat;
mod network;
mod node_io;
mod queue;
mod reachability;
mod report;
mod rng;
mod run;
mod scenario;
mod simulation;
mod swarm;
mod training;
mod transmit;

pub use link_profile::{Lane, LinkProfile, PROFILES, UnknownProfile};
pub use murmur_verification::Attack;
pub use nat::NatKind;
pub use report::{Figures, Report, Summary, Traffic, Violation};
pub use run::{run_seed, run_seeds};
pub use scenario::{BadScenario, Checks, Faults, Hostile, Network, Scenario, Work};
