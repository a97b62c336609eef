//! A token bucket: a limit on a rate that allows short bursts.

use std::time::Duration;

use tokio::time::Instant;

/// Fills at a steady rate up to its capacity; tokens are taken out of it.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_second: u64,
    capacity: u64,
    /// The tokens in it, in millionths, so that a slow rate fills it, too.
    level_micro: u128,
    filled_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u64, capacity: u64, now: Instant) -> Self {
        Self { per_second, capacity, level_micro: u128::from(capacity) * 1_000_000, filled_at: now }
    }

    /// Takes `amount` tokens; false, and no change, if fewer are in it.
    pub(crate) fn take(&mut self, amount: u64, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        let level = self.level_micro + passed.as_micros() * u128::from(self.per_second);
        self.level_micro = level.min(u128::from(self.capacity) * 1_000_000);
        let taken = self.level_micro.checked_sub(u128::from(amount) * 1_000_000);
        self.level_micro = taken.unwrap_or(self.level_micro);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_allows_a_burst_and_then_the_rate() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bucket = TokenBucket::new(10, 3, start);
        assert_eq!([0; 4].map(|ms| bucket.take(1, at(ms))), [true, true, true, false]);
        assert!(!bucket.take(1, at(99)));
        assert!(bucket.take(1, at(100)));
        assert!(!bucket.take(4, at(1_000_000)), "more than the capacity is never allowed");
        assert!(bucket.take(3, at(1_000_000)));
    }

    #[test]
    fn a_clock_that_stands_still_fills_nothing() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(u64::MAX, 1, start);
        assert!(bucket.take(1, start) && !bucket.take(1, start));
    }
}
