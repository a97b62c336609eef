//! The protocol between a peer process and its launcher: reports as JSON lines out of the peer, commands as lines into it.
//!
//! A peer writes one [`Report`] a line on stdout, nothing else. It reads one [`Command`] a line on stdin; end of
//! file there means the launcher is gone, and the peer exits at once. In order, a peer's life is:
//!
//! 1. `started`, once: manifest, data and model are loaded, and it listens.
//! 2. `segment` after each of its own segments, `event` whenever something happened, and in a benchmark `folded` after each
//!    update and `excluded` after final frontiers, in any order.
//! 3. `finished`, when the token budget is reached or after `drain`. It keeps serving what others still miss, and
//!    may send `finished` again if its set grew since: the last one counts. It exits on `halt` or end of file.
//! 4. `alive` every second, from the first moment to the last.
//! 5. `error`, at any time: the reason why it is about to exit with `code`.

mod ages;
mod command;
mod report;
#[cfg(test)]
pub(crate) mod sample_reports;
#[cfg(test)]
mod tests;

pub use ages::Ages;
pub use command::{Command, NotACommand};
pub use report::{Alive, Event, EventKind, Excluded, Fault, Finished, Folded, Report, Segment, Started};
