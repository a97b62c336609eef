//! How long the messages of all connections together keep the up-link busy: what its speed is estimated from.
//!
//! A message occupies the up-link from the moment it is handed to QUIC to the moment its last byte has left, which is one round
//! trip before it is acknowledged. Round trips are therefore taken off, so that a distant peer is not taken for a slow link; what
//! is left is the time that bytes waited for their turn. The times of messages that travel at once overlap and count once,
//! whichever peers they go to: the up-link is shared.

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

/// A receiver may wait this long before it acknowledges what came (RFC 9000 §18.2, `max_ack_delay`).
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(25);

/// Messages that are remembered until the totals are asked for. With more the totals are brought up to date at once.
const MESSAGES_MAX: usize = 4096;

/// What the up-link has carried, and how long that kept it busy: totals that only grow.
///
/// Bytes divided by seconds of a stretch of time in which the up-link was never idle are its speed. Where messages leave sooner
/// than can be measured, the time hardly grows: such a link sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sending {
    /// Bytes of messages that were acknowledged.
    pub bytes: f64,
    /// Time during which at least one of them was leaving.
    pub busy: Duration,
}

/// One message: when it was handed over and when it had left, since the transport began.
#[derive(Clone, Copy, Debug)]
struct Passage {
    from: Duration,
    to: Duration,
    bytes: u64,
}

/// Collects the messages of all connections.
#[derive(Debug)]
pub(crate) struct Occupancy {
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    passages: Vec<Passage>,
    totals: Sending,
    /// Up to here the totals know when the link was busy.
    known_until: Duration,
}

impl Occupancy {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), state: Mutex::default() }
    }

    /// A message of `bytes` was handed over at `from` and acknowledged at `now` by a peer that is `rtt` away.
    pub(crate) fn acknowledged(&self, from: Instant, now: Instant, rtt: Duration, bytes: u64) {
        let [from, now] = [from, now].map(|at| at.saturating_duration_since(self.begun));
        let to = now.saturating_sub(rtt.saturating_add(ACKNOWLEDGED_WITHIN)).max(from);
        let mut state = self.state.lock().expect("no code panics while it holds the passages");
        state.passages.push(Passage { from, to, bytes });
        if state.passages.len() >= MESSAGES_MAX {
            state.count();
        }
    }

    /// The totals now.
    pub(crate) fn totals(&self) -> Sending {
        let mut state = self.state.lock().expect("no code panics while it holds the passages");
        state.count();
        state.totals
    }
}

impl State {
    /// Adds the union of the passages to the totals. What a passage shares with a time that was counted before is left out, and
    /// its bytes with it.
    fn count(&mut self) {
        self.passages.sort_unstable_by_key(|passage| passage.from);
        let mut known = self.known_until;
        for Passage { from, to, bytes } in self.passages.drain(..) {
            let late = from.max(self.known_until).min(to);
            let share = if to > from { (to - late).as_secs_f64() / (to - from).as_secs_f64() } else { 1.0 };
            self.totals.bytes += bytes as f64 * share;
            self.totals.busy += to.saturating_sub(from.max(known));
            known = known.max(to);
        }
        self.known_until = known;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn count(state: &mut State, passages: &[(u64, u64, u64)]) -> Sending {
        let passage = |&(from, to, bytes): &(u64, u64, u64)| Passage { from: ms(from), to: ms(to), bytes };
        state.passages.extend(passages.iter().map(passage));
        state.count();
        state.totals
    }

    #[test]
    fn messages_that_travel_at_once_take_the_link_once() {
        let totals = count(&mut State::default(), &[(0, 300, 30), (100, 200, 10), (250, 400, 20), (900, 1000, 5)]);
        assert_eq!(totals, Sending { bytes: 65.0, busy: ms(500) });
    }

    #[test]
    fn a_message_that_began_in_time_already_counted_counts_for_the_rest_with_as_much_of_its_bytes() {
        let mut state = State::default();
        count(&mut state, &[(0, 100, 10)]);
        assert_eq!(count(&mut state, &[(50, 150, 20)]), Sending { bytes: 20.0, busy: ms(150) });
        assert_eq!(count(&mut state, &[(20, 80, 7)]), Sending { bytes: 20.0, busy: ms(150) }, "all of it was counted");
    }

    #[test]
    fn what_leaves_at_once_takes_no_time() {
        assert_eq!(count(&mut State::default(), &[(10, 10, 99)]), Sending { bytes: 99.0, busy: ms(0) });
    }

    #[test]
    fn a_round_trip_is_not_the_links_time() {
        let occupancy = Occupancy::new();
        let at = |millis| occupancy.begun + ms(millis);
        occupancy.acknowledged(at(10), at(1135), ms(100), 1_000);
        assert_eq!(occupancy.totals(), Sending { bytes: 1_000.0, busy: ms(1000) });
        occupancy.acknowledged(at(2000), at(2110), ms(100), 1);
        assert_eq!(occupancy.totals().busy, ms(1000));
    }

    #[test]
    fn memory_is_bounded_between_two_looks() {
        let occupancy = Occupancy::new();
        (0..3 * MESSAGES_MAX).for_each(|_| occupancy.acknowledged(occupancy.begun, occupancy.begun, ms(1), 1));
        assert!(occupancy.state.lock().is_ok_and(|state| state.passages.len() < MESSAGES_MAX));
        assert_eq!(occupancy.totals().bytes, 3.0 * MESSAGES_MAX as f64);
    }
}
