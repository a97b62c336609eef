//! When a stand-in makes segments: at a fixed interval, since making one takes no time.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::link::Shared;

/// With nothing to do, the flags are looked at again after this long at the latest; a notice comes before.
const IDLE: Duration = Duration::from_secs(3600);

/// The interval and number of a stand-in's segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From the beginning of one segment to that of the next.
    pub every: Duration,
    /// From `begin` to the first segment.
    pub phase: Duration,
    /// Segments to make; 0 for no end.
    pub segments: u32,
    done: u32,
    next: Option<Instant>,
}

/// A text that is no pace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pace: expected EVERY/PHASE/SEGMENTS, the first two in milliseconds")]
pub struct NotAPace(String);

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.every.as_millis(), self.phase.as_millis(), self.segments)
    }
}

impl FromStr for Pace {
    type Err = NotAPace;

    fn from_str(text: &str) -> Result<Self, NotAPace> {
        let mut parts = text.split('/').map(str::parse::<u32>);
        match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some(Ok(every)), Some(Ok(phase)), Some(Ok(segments)), None] => {
                Ok(Self::new(Duration::from_millis(every.into()), Duration::from_millis(phase.into()), segments))
            }
            _ => Err(NotAPace(text.chars().take(80).collect())),
        }
    }
}

impl Pace {
    /// A pace that has not begun.
    pub fn new(every: Duration, phase: Duration, segments: u32) -> Self {
        Self { every, phase, segments, done: 0, next: None }
    }

    /// How long to wait from `now`; nothing when a segment is due.
    pub(super) fn rest(&mut self, shared: &Shared, now: Instant) -> Option<Duration> {
        let over = self.segments > 0 && self.done >= self.segments;
        if over || !shared.begun.load(Relaxed) {
            return Some(IDLE);
        }
        let next = *self.next.get_or_insert(now + self.phase);
        (next > now).then(|| next - now)
    }

    /// A segment has begun. A late one delays the following ones: there are no bursts.
    pub(super) fn worked(&mut self, now: Instant) {
        self.done += 1;
        self.next = Some(self.next.unwrap_or(now).max(now) + self.every);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_waits_for_the_word_then_for_its_phase_then_for_its_turn() {
        let (shared, now) = (Shared::default(), Instant::now());
        let mut pace = Pace::new(4 * SECOND, SECOND, 2);
        assert_eq!(pace.rest(&shared, now), Some(IDLE));
        shared.begun.store(true, Relaxed);
        assert_eq!(pace.rest(&shared, now), Some(SECOND));
        assert_eq!(pace.rest(&shared, now + SECOND), None);
        pace.worked(now + SECOND);
        assert_eq!(pace.rest(&shared, now + 2 * SECOND), Some(3 * SECOND));
        pace.worked(now + 9 * SECOND);
        assert_eq!(pace.rest(&shared, now + 100 * SECOND), Some(IDLE), "all segments are made");
    }

    #[test]
    fn it_survives_being_written() {
        let pace = Pace::new(4 * SECOND, SECOND, 2);
        assert_eq!(pace.to_string().parse(), Ok(pace));
        for wrong in ["", "1/2", "1/2/3/4", "1/-2/3", "99999999999/0/0"] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_late_stand_in_does_not_catch_up_in_a_burst() {
        let (shared, now) = (Shared::default(), Instant::now());
        shared.begun.store(true, Relaxed);
        let mut pace = Pace::new(SECOND, Duration::ZERO, 0);
        assert_eq!(pace.rest(&shared, now), None);
        pace.worked(now + 10 * SECOND);
        assert_eq!(pace.rest(&shared, now + 10 * SECOND), Some(SECOND));
    }
}
