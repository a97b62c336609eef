//! Learning without a network: everything that turns text into a segment's update, and a model into text.
//!
//! [`data`] is what is learned from and [`model`] what learns, under the rules of a [`numeric`] profile and at the rate of a
//! [`schedule`]; a [`segment`] is the unit of work. [`sample`] reads what a model has learned.

pub mod data;
pub mod model;
pub mod numeric;
pub mod sample;
pub mod schedule;
pub mod segment;
