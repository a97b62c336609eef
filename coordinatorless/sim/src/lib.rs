//! Whole swarms in one process and in virtual time: real peers, a simulated network, faults, hostile peers, and invariants
//! that must hold whatever happens. A seed is a bug report.
//!
//! In life-cycle order: a [`Scenario`] says what is simulated; [`run_seed`] plays one seed of it; its [`Report`] lists every
//! [`Violation`], each with the line that shows it again, and figures; [`run_seeds`] plays many and sums them up.
//!
//! There is no clock, thread, socket or operating-system randomness in here: the same seed gives the same history on
//! every machine, and the caller may spread seeds over threads.

mod dials;
mod dice;
mod disk;
mod faults;
mod invariants;
mod learner;
mod life;
mod malice;
mod nat;
mod network;
mod queue;
mod reaches;
mod report;
mod run;
mod scenario;
mod seam;
mod swarm;
mod wires;
mod world;

pub use murmur_verification::Attack;
pub use nat::Nat;
pub use report::{Figures, Report, Summary, Traffic, Violation};
pub use run::{run_seed, run_seeds};
pub use scenario::{BadScenario, Checks, Faults, Hostile, Network, Scenario, Work};
