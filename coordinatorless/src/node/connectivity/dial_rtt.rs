//! The usual duration of a direct dial, from which follows when a dial counts as slow.
//!
//! If a dial is slow, this peer asks a mutual neighbour for an introduction while the dial goes on. If it asks too
//! early, it loads the neighbour and perhaps a relay for nothing; if it asks too late, a peer behind a NAT stays
//! unreachable for that long. Round trips differ a thousandfold between networks, so the limit follows from the dials
//! that succeeded: a multiple of the median of the newest ones, because a few of them were introduced or met a busy
//! machine. [`Config::doubt_after`](crate::Config::doubt_after) is the upper bound, and the limit while there is no
//! sample.

use core::time::Duration;
use std::collections::VecDeque;

/// The number of samples kept.
const SAMPLES_MAX: usize = 8;

/// A dial is slow after this many times the median.
const MEDIAN_FACTOR: u32 = 3;

/// The lower bound: a handshake takes this long on a busy processor alone.
const DOUBT_MIN: Duration = Duration::from_millis(30);

/// The durations of the newest direct dials, newest last.
#[derive(Default, Debug)]
pub(crate) struct DialRtt(VecDeque<Duration>);

impl DialRtt {
    /// A direct dial succeeded after `took`.
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.push_back(took);
        if self.0.len() > SAMPLES_MAX {
            self.0.pop_front();
        }
    }

    /// The time after which a dial counts as slow, at most `most`.
    pub(crate) fn doubt_after(&self, most: Duration) -> Duration {
        let mut samples: Vec<Duration> = self.0.iter().copied().collect();
        samples.sort_unstable();
        let median = samples.get(samples.len() / 2);
        median.map_or(most, |median| (*median * MEDIAN_FACTOR).max(DOUBT_MIN).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(500);

    /// The time after which a dial counts as slow, in milliseconds, given earlier dials in milliseconds.
    fn doubt_after_ms(samples: &[u64]) -> u128 {
        let mut dial_rtt = DialRtt::default();
        samples.iter().for_each(|took| dial_rtt.record(Duration::from_millis(*took)));
        dial_rtt.doubt_after(MOST).as_millis()
    }

    #[test]
    fn the_median_of_the_newest_dials_counts_within_limits() {
        assert_eq!(doubt_after_ms(&[]), 500, "no sample");
        assert_eq!(doubt_after_ms(&[20]), 60);
        assert_eq!(doubt_after_ms(&[1, 2, 1]), 30);
        assert_eq!(doubt_after_ms(&[20, 900, 20, 20]), 60, "one slow dial changes nothing");
        assert_eq!(doubt_after_ms(&[20, 900, 900]), 500);
        assert_eq!(doubt_after_ms(&[[900; 8], [20; 8]].concat()), 60, "only the newest samples count");
    }

    #[test]
    fn a_configured_limit_below_the_minimum_holds() {
        let mut dial_rtt = DialRtt::default();
        dial_rtt.record(Duration::from_millis(20));
        assert_eq!(dial_rtt.doubt_after(Duration::from_millis(5)), Duration::from_millis(5));
    }
}
