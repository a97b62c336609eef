//! Timers advance: a handled timeout is no longer due. A real driver would otherwise spin on it and occupy a processor.

use crate::queue::MachineIndex;

pub(super) const NAME: &str = "timers_advance";

/// The finding for a timer that stays due.
pub(super) fn sentence(at: MachineIndex) -> String {
    format!("the timer of peer {at} is still due after it was looked at")
}
