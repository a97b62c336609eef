//! When a run's token budget is spent: tokens of the set count, and an estimate of those in unfinished segments.

/// A run's budget, as one peer sees it in the middle of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// Tokens of all peers together.
    pub(super) tokens: u64,
    /// Peers that the run began with.
    pub(super) founders: u64,
    /// Tokens of a whole segment.
    pub(super) segment: u64,
}

impl Budget {
    /// Whether it is spent when the set holds `clock` tokens, this peer has `own` more in its unfinished segment, and `met`
    /// peers are at work as far as it sees, itself included. The others are assumed to be as far in theirs. In the first round
    /// a peer has not seen the others yet, so the number of founders is used.
    pub(super) fn is_spent(&self, clock: u64, own: u64, met: u64) -> bool {
        let first_round = clock < self.founders.saturating_mul(self.segment);
        let swarm = if first_round { met.max(self.founders) } else { met.max(1) };
        clock.saturating_add(own.saturating_mul(swarm)) >= self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget { tokens: 60_000, founders: 16, segment: 5_120 };

    #[test]
    fn peers_in_step_stop_at_the_budget_and_not_a_segment_each_later() {
        let steps = (1..).find(|steps| BUDGET.is_spent(0, steps * 256, 1));
        let together = steps.map(|steps| 16 * steps * 256);
        assert_eq!(together, Some(61_440), "16 whole segments are 81,920 tokens");
    }

    #[test]
    fn later_only_those_count_that_are_there() {
        let late = Budget { tokens: 1_000_000, ..BUDGET };
        assert!(!late.is_spent(900_000, 10_000, 4) && late.is_spent(900_000, 25_000, 4));
        assert!(late.is_spent(999_999, 1, 0) && !late.is_spent(999_998, 1, 1));
    }
}
