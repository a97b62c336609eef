//! How long dials take here when nothing is in their way, and so from when on one that takes longer is doubted.
//!
//! Doubt asks a mutual neighbour for help, and that one's help may go through a relay: too early it troubles others for nothing,
//! too late a peer behind a translator is out of reach for that long. Networks differ a thousandfold, so dials that succeeded
//! are the measure, and [`Config::doubt_after`](crate::Config::doubt_after) is the most and what holds until one has. The median of
//! the newest few, because some of them had help or met a busy machine.

use core::time::Duration;
use std::collections::VecDeque;

/// Dials remembered.
const REMEMBERED: usize = 8;

/// A dial is doubted after this many times the median.
const TIMES: u32 = 3;

/// But never sooner: less is lost in the time that a processor takes for a handshake.
const DOUBT_MIN: Duration = Duration::from_millis(30);

/// What the newest straight dials took, the newest last.
#[derive(Default, Debug)]
pub(crate) struct DialRtt(VecDeque<Duration>);

impl DialRtt {
    /// A dial led to its peer straight, after this long.
    pub(crate) fn note(&mut self, took: Duration) {
        self.0.push_back(took);
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// How long a dial may take until it is doubted, at most `most`.
    pub(crate) fn doubt_after(&self, most: Duration) -> Duration {
        let mut took: Vec<Duration> = self.0.iter().copied().collect();
        took.sort_unstable();
        let median = took.get(took.len() / 2);
        median.map_or(most, |median| (*median * TIMES).max(DOUBT_MIN).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(500);

    /// Milliseconds until doubt after dials that took so many.
    fn doubts(took: &[u64]) -> u128 {
        let mut pace = DialRtt::default();
        took.iter().for_each(|took| pace.note(Duration::from_millis(*took)));
        pace.doubt_after(MOST).as_millis()
    }

    #[test]
    fn the_pace_of_most_dials_counts_within_limits() {
        assert_eq!(doubts(&[]), 500, "nothing known");
        assert_eq!(doubts(&[20]), 60);
        assert_eq!(doubts(&[1, 2, 1]), 30);
        assert_eq!(doubts(&[20, 900, 20, 20]), 60, "one that took long changes nothing");
        assert_eq!(doubts(&[20, 900, 900]), 500);
        assert_eq!(doubts(&[[900; 8], [20; 8]].concat()), 60, "the newest count");
    }

    #[test]
    fn a_limit_below_the_least_holds() {
        let mut pace = DialRtt::default();
        pace.note(Duration::from_millis(20));
        assert_eq!(pace.doubt_after(Duration::from_millis(5)), Duration::from_millis(5));
    }
}
