//! Backpressure: a peer adds no work while too much of it is not final, so that memory and disk stay bounded.

use crate::{Event, node::context::Core};

/// With more epochs' work than this not final, none is added.
const OPEN_EPOCHS_MAX: u64 = 12;

/// After every so many rounds without a decision the bound grows by its first value, up to [`BOUNDS_MAX`] times that.
///
/// A fixed bound could block a run for ever: if the authors of most of the open work left at the bound, those who stay
/// could not add enough to outweigh them. With four times the bound the leavers' part is at most a quarter of the open
/// work, and those who stay can come to the two thirds that decide.
const ROUNDS_PER_BOUND: u32 = 4;
const BOUNDS_MAX: u32 = 4;

/// How much work may be open, and whether that bound was reached.
#[derive(Default, Debug)]
pub(super) struct Backpressure {
    /// Rounds of this epoch that ended without a decision.
    rounds_lost: u32,
    /// Whether the owner was told that it stalls.
    is_told: bool,
}

impl Backpressure {
    /// Whether so many `tokens` that are not final leave no room for more. The first time, that is told.
    pub(super) fn is_stalled(&mut self, core: &mut Core, tokens: u64, epoch_tokens: u64) -> bool {
        let stalled = self.is_exceeded(tokens, epoch_tokens);
        if stalled && !self.is_told {
            self.is_told = true;
            core.tell(Event::Stalled { tokens });
        }
        stalled
    }

    /// A round ended without a decision; the bound may have grown beyond the open work.
    pub(super) fn round_lost(&mut self, core: &mut Core, tokens: u64, epoch_tokens: u64) {
        self.rounds_lost = self.rounds_lost.saturating_add(1);
        if self.is_told && !self.is_exceeded(tokens, epoch_tokens) {
            self.is_told = false;
            core.tell(Event::Resumed);
        }
    }

    fn is_exceeded(&self, tokens: u64, epoch_tokens: u64) -> bool {
        let bounds = u64::from((1 + self.rounds_lost / ROUNDS_PER_BOUND).min(BOUNDS_MAX));
        epoch_tokens > 0 && tokens >= epoch_tokens.saturating_mul(OPEN_EPOCHS_MAX * bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use crate::Output;

    #[test]
    fn the_bound_is_told_once_and_grows_as_rounds_are_lost_up_to_four_times() {
        let mut bench = Bench::new(1);
        let mut backpressure = Backpressure::default();
        assert!(!backpressure.is_stalled(&mut bench.core, 1199, 100));
        assert!((0..3).all(|_| backpressure.is_stalled(&mut bench.core, 1200, 100)));
        (0..4).for_each(|_| backpressure.round_lost(&mut bench.core, 1200, 100));
        assert!(!backpressure.is_stalled(&mut bench.core, 2399, 100));
        (0..100).for_each(|_| backpressure.round_lost(&mut bench.core, 2399, 100));
        assert!(!backpressure.is_stalled(&mut bench.core, 4799, 100));
        assert!(backpressure.is_stalled(&mut bench.core, 4800, 100));
        let told: Vec<Output> = bench.core.outputs.drain(..).collect();
        assert!(matches!(
            told.as_slice(),
            [
                Output::Event(Event::Stalled { tokens: 1200 }),
                Output::Event(Event::Resumed),
                Output::Event(Event::Stalled { tokens: 4800 })
            ]
        ));
    }

    #[test]
    fn where_nothing_becomes_final_nothing_is_held_back() {
        let mut bench = Bench::new(1);
        assert!(!Backpressure::default().is_stalled(&mut bench.core, u64::MAX, 0));
    }
}
