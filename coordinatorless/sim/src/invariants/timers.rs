//! A timer that was looked at is not still due: a real driver would spin on it and burn a processor.

use crate::queue::Place;

pub(super) const NAME: &str = "timers_advance";

/// What is said of a peer whose timer stays due.
pub(super) fn sentence(at: Place) -> String {
    format!("the timer of peer {at} is still due after it was looked at")
}
