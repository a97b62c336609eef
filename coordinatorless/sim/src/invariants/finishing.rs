//! A peer that is to finish may leave within the stated time once nothing new is authored: nobody is kept waiting for what
//! never comes.

use murmur_coordinatorless::Delay;

use crate::queue::Place;

pub(super) const NAME: &str = "finishing";

/// What is said of a peer that could not leave.
pub(super) fn sentence(at: Place, delays: &[Delay]) -> String {
    format!("peer {at} never finished: {}", Delay::list(delays))
}
