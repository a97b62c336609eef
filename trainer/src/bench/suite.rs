//! What a suite of benchmarks is: cases that are run once for each seed, and what their samples say.
//!
//! A suite only runs its cases and concludes; choosing seeds, storing, comparing and drawing results is done for all suites in
//! one place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::report::{Metric, Target};
use crate::error::Failure;
use crate::observe::output::Output;

/// A suite.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// What users call it.
    pub name: &'static str,
    /// What it answers, one line.
    pub about: &'static str,
    /// Whether it trains, for as many tokens as the user may ask for.
    pub trains: bool,
    /// Runs every case with every seed and gives each sample as soon as it has it. A case that crashes is a failed sample;
    /// an error is for what keeps the whole suite from running.
    pub run: Run,
    /// What the samples say. Must not need anything but the samples, so that a stored result can be checked.
    pub conclude: fn(&[Sample]) -> Conclusion,
}

/// Runs a suite; the function it is given takes each sample.
pub type Run = fn(&Options, &mut Output, &mut dyn FnMut(Sample)) -> Result<(), Failure>;

/// What a user asks of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Seeds; each case is run once with each.
    pub seeds: Vec<u64>,
    /// Tokens of every training run, instead of the suite's.
    pub tokens: Option<u64>,
    /// Settings of the runs, `key=value`, after those of the suite.
    pub sets: Vec<String>,
}

/// One case with one seed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The case, as in `swarm n=4`.
    pub case: String,
    /// The seed. Samples of two cases with one seed are pairs.
    pub seed: u64,
    /// What was measured: name → value. Names end in their unit: `_seconds`, `_bytes`, `_nats`. What ends in `_per_second` is
    /// better the more there is of it. Kept to twelve digits; what is not finite is left out.
    pub figures: BTreeMap<String, f64>,
    /// How the loss fell, if the case trains.
    pub curve: Vec<Point>,
    /// Why there are no figures, with the end of the log: the case crashed, or this machine lacks something for it.
    pub failure: Option<String>,
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Tokens that all peers together had learned from.
    pub tokens: u64,
    /// Seconds since training began.
    pub seconds: f64,
    /// Bytes that all peers together had sent.
    pub bytes: u64,
    /// Loss on held-out text, nats per byte.
    pub loss: f64,
}

/// What a suite's samples say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conclusion {
    /// Figures, in the order they are shown.
    pub metrics: Vec<Metric>,
    /// What is asked of some of them.
    pub targets: Vec<Target>,
    /// What must never happen and did, a sentence each.
    pub violations: Vec<String>,
}
