//! Finishing: a peer told to finish may leave within the healing time once authoring has stopped. No peer waits for an
//! entry that never arrives.

use murmur_coordinatorless::Delay;

use crate::queue::MachineIndex;

pub(super) const NAME: &str = "finishing";

/// The finding for a peer that did not finish.
pub(super) fn sentence(at: MachineIndex, delays: &[Delay]) -> String {
    format!("peer {at} never finished: {}", Delay::list(delays))
}
