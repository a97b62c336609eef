//! How long the launcher waits for a peer of this machine. A process that is stopped, hangs, or gets too little of its machine
//! sends no report; the launcher names it, and after a stated time ends the run without it.

use std::time::Duration;

/// A peer that is waited for is named after this long.
pub(super) const NAME_AFTER: Duration = Duration::from_secs(2);

/// And again after each of these.
const NAME_EVERY: Duration = Duration::from_secs(15);

/// A peer reports every second. One that is waited for and has not reported for this long is given up.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(20);

/// One that is waited for, lives, and has done nothing for this long is given up. Longer than a peer waits for its neighbours.
const IDLE_AFTER: Duration = Duration::from_secs(300);

/// A launcher that looks this late at its peers was stopped itself: their reports since have not been read yet.
const LATE: Duration = Duration::from_secs(5);

/// The newest signs of life of a peer process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Liveness {
    reported_at: Duration,
    work: u64,
    worked_at: Duration,
}

impl Liveness {
    /// A process that was started at `now`.
    pub(super) fn new(now: Duration) -> Self {
        Self { reported_at: now, work: 0, worked_at: now }
    }

    /// It reported. `work` is how much it has done, if the report says that.
    pub(super) fn record_report(&mut self, now: Duration, work: Option<u64>) {
        self.reported_at = now;
        if work.is_none_or(|work| work > self.work) {
            self.worked_at = now;
        }
        self.work = work.unwrap_or(self.work);
    }

    /// How long it has not reported.
    pub(super) fn silent(&self, now: Duration) -> Duration {
        now.saturating_sub(self.reported_at)
    }

    /// Why it is not worth waiting for any longer, having been waited for since `since`.
    pub(super) fn given_up(&self, now: Duration, since: Duration) -> Option<String> {
        if self.silent(now) >= SILENT_AFTER {
            return Some(format!("it has said nothing for {} s", SILENT_AFTER.as_secs()));
        }
        let idle = now.saturating_sub(self.worked_at.max(since));
        (idle >= IDLE_AFTER).then(|| format!("it has done nothing for {} s", IDLE_AFTER.as_secs()))
    }
}

/// The state of waiting for peers: since when, and when they were last named.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Waiting {
    since: Option<Duration>,
    named_at: Option<Duration>,
    looked_at: Duration,
}

impl Waiting {
    /// Notes whether any peer is waited for at `now`; returns since when.
    pub(super) fn update(&mut self, now: Duration, waits: bool) -> Option<Duration> {
        if !waits {
            (self.since, self.named_at) = (None, None);
        }
        waits.then(|| *self.since.get_or_insert(now))
    }

    /// Whether it is time to name the peers that are waited for.
    pub(super) fn is_time_to_name(&mut self, now: Duration) -> bool {
        let due = match (self.since, self.named_at) {
            (_, Some(named)) => now >= named + NAME_EVERY,
            (Some(since), None) => now >= since + NAME_AFTER,
            (None, None) => false,
        };
        if due {
            self.named_at = Some(now);
        }
        due
    }

    /// Whether the launcher itself was away until `now`. To be asked at every look.
    pub(super) fn was_away(&mut self, now: Duration) -> bool {
        let late = now.saturating_sub(self.looked_at) >= LATE;
        self.looked_at = now;
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_peer_is_given_up_and_one_that_beats_is_not() {
        let mut liveness = Liveness::new(at(10));
        assert_eq!(liveness.given_up(at(29), at(10)), None);
        assert!(liveness.given_up(at(30), at(10)).is_some_and(|why| why.contains("said nothing for 20 s")));
        liveness.record_report(at(29), Some(0));
        assert_eq!(liveness.given_up(at(48), at(10)), None);
    }

    #[test]
    fn a_peer_that_beats_without_doing_anything_is_given_up_much_later() {
        let mut liveness = Liveness::new(at(0));
        (1..=600).for_each(|second| liveness.record_report(at(second), Some(second.min(100))));
        assert_eq!(liveness.given_up(at(600), at(500)), None, "counted from when it is waited for");
        assert!(liveness.given_up(at(600), at(200)).is_some_and(|why| why.contains("done nothing for 300 s")));
        liveness.record_report(at(600), None);
        assert_eq!(liveness.given_up(at(600), at(200)), None, "any other report is work");
    }

    #[test]
    fn peers_waited_for_are_named_after_two_seconds_and_then_every_fifteen() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.update(at(7), false), None);
        assert_eq!((waiting.update(at(8), true), waiting.update(at(9), true)), (Some(at(8)), Some(at(8))));
        let named: Vec<u64> = (8..60).filter(|second| waiting.is_time_to_name(at(*second))).collect();
        assert_eq!(named, [10, 25, 40, 55]);
        waiting.update(at(60), false);
        assert!(!waiting.is_time_to_name(at(99)));
    }

    #[test]
    fn a_launcher_that_was_stopped_itself_notices() {
        let mut waiting = Waiting::default();
        assert_eq!([1, 2, 60, 61].map(|second| waiting.was_away(at(second))), [false, false, true, false]);
    }
}
