//! Every kernel on the device of this machine, bit for bit against the CPU.
//!
//! Where no device is found, each test says so and passes.
#![cfg(any(feature = "wgpu", feature = "cuda"))]
#![allow(clippy::unwrap_used)]

mod conformance;
mod refusals;
mod support;
