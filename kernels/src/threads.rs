//! When it pays to share work between threads.
//!
//! The threads are those of rayon's pool: the one the caller is in, or else the process's. Work is cut at chunks, whose results
//! do not depend on each other, so neither the number of threads nor their order shows in any bit.

/// Fewer parameters than this are done by the caller's thread alone: a millisecond's work, and a simulation of a
/// thousand small peers never wakes another thread.
pub(crate) const PAY_PARAMS: usize = 1 << 20;

/// Whether there are enough parameters, and more than one thread.
pub(crate) fn pay(params: usize) -> bool {
    params >= PAY_PARAMS && rayon::current_num_threads() > 1
}
