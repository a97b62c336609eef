//! The suites of `murmur bench run`, a file each.

pub mod links;
