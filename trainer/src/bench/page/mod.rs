//! `bench report`: results for people who read and for programs that read tables. One HTML page that needs nothing else, and two
//! files of comma-separated values.
//!
//! `plot` draws, `band` makes one line of many curves, `html` writes the page, `csv` the tables, `summary` what the terminal shows.

mod band;
mod csv;
mod html;
mod plot;
mod summary;

pub use csv::{curves, samples};
pub use html::html;
pub use summary::summary;
