//! How the project is checked, and the only place that knows it.
//!
//! A check is a list of [`plan::Step`]s, cheap ones first. Each runs to its end whatever the others did, and
//! [`report`] closes with one line per step. Two of the steps need no compiler: [`architecture`] holds the direction
//! in which crates may depend on each other, [`tidy`] the habits no lint can see, [`circle`] among them. All are plain
//! functions over what [`graph`] and [`tree`] read, so that their tests can show them a house that is built wrong.

pub mod architecture;
pub mod circle;
pub mod graph;
pub mod machines;
pub mod plan;
pub mod readme;
pub mod report;
pub mod run;
pub mod sanitize;
pub mod tidy;
pub mod tree;
pub mod words;
