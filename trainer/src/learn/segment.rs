//! A segment: H inner steps on own data, ending in one compressed update that anyone can recompute bit for bit.
//!
//! [`run_segment`] is a function of the specification, the parameters it starts from and the author's carry; an auditor
//! calls it with the same arguments and compares the result by [`SegmentResult::confirms`]. [`attack_segment`] produces
//! an attacker's update, for demonstrations and tests of the audits. A [`Worker`] does all of this for a peer: a model with its
//! text, or a stand-in for benchmarks.

mod attack;
mod commitment;
mod error;
mod evaluate;
mod optimizer;
mod replay;
mod run;
mod spec;
mod stand_in;
mod trainer;
mod worker;

pub use attack::attack_segment;
pub use error::SegmentError;
pub use evaluate::validation_loss;
pub use optimizer::{Optimizer, Rates, carry_shape};
pub use replay::Mismatch;
pub use run::{descend, run_segment};
pub use spec::{SegmentResult, SegmentSpec};
pub use stand_in::STAND_IN_CLASS;
pub use trainer::Trainer;
pub use worker::Worker;

#[cfg(test)]
pub(crate) use run::tests::{fixture as test_fixture, spec as test_spec};
