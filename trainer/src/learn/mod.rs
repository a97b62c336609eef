//! Learning without a network: turns text into the update of a segment, and a model into text.
//!
//! A [`segment`] trains a [`model`] on [`data`], by the rules of a [`numeric`] profile and at the learning rate of a
//! [`schedule`]. [`sample`] generates text from a trained model.

pub mod data;
pub mod model;
pub mod numeric;
pub mod sample;
pub mod schedule;
pub mod segment;
