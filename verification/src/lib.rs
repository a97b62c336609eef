//! Commitments, private sortition, audits and verdicts.
//!
//! In life-cycle order: an author commits to a segment's [`Trace`] and result in its update; each eligible peer holds a
//! [`Lottery`] on the update; who is drawn replays the segment and publishes a verdict, whose draw anyone checks with
//! [`check_verdict`]. A difference starts a confirming lottery, and a quorum of differing replays voids the
//! update (see `murmur_collectives::Fold`). [`Attack`] names what all of this is tested against. Nothing here knows sockets,
//! clocks or burn.
//!
//! What this first version does not do yet: blinded verdicts with openings, replay of single leaves, evidence of
//! false accusation, credit.

mod attack;
mod sortition;
mod trace;
mod verdict;

pub use attack::{Attack, UnknownAttack};
pub use sortition::{Lottery, Subject, was_drawn};
pub use trace::{Leaf, Trace};
pub use verdict::{VerdictError, check_verdict, draw};
