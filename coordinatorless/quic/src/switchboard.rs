//! What a relay may pass on: how many sessions, and how many bytes per second.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use murmur_collectives::PeerId;
use tokio::time::Instant;

use crate::bucket::Bucket;

/// A session that was silent for so long gives up its place: three keep-alive intervals and then some.
const SESSION_IDLE: Duration = Duration::from_secs(15);

/// Who talks to whom through this peer, and how much more they may.
#[derive(Debug)]
pub(crate) struct Switchboard {
    sessions_max: usize,
    state: Mutex<(BTreeMap<[PeerId; 2], Instant>, Bucket)>,
}

impl Switchboard {
    pub(crate) fn new(sessions_max: usize, bytes_per_s_max: u64) -> Self {
        let bucket = Bucket::new(bytes_per_s_max, bytes_per_s_max, Instant::now());
        Self { sessions_max, state: Mutex::new((BTreeMap::new(), bucket)) }
    }

    /// Whether `bytes` may go from one to the other now; if so they are counted.
    pub(crate) fn allows(&self, from: PeerId, to: PeerId, bytes: u64, now: Instant) -> bool {
        let pair = [from.min(to), from.max(to)];
        let mut state = self.state.lock().expect("no code panics while it holds the switchboard");
        let (sessions, bucket) = &mut *state;
        if !sessions.contains_key(&pair) && sessions.len() >= self.sessions_max {
            sessions.retain(|_, used| now.saturating_duration_since(*used) < SESSION_IDLE);
        }
        let place = sessions.contains_key(&pair) || sessions.len() < self.sessions_max;
        let allowed = place && bucket.take(bytes, now);
        if allowed {
            sessions.insert(pair, now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn sessions_and_bytes_are_limited_and_an_idle_session_gives_up_its_place() {
        let start = Instant::now();
        let board = Switchboard::new(1, 100);
        assert!(board.allows(peer(1), peer(2), 60, start));
        assert!(board.allows(peer(2), peer(1), 40, start), "both ways are one session");
        assert!(!board.allows(peer(1), peer(2), 1, start), "the bytes of this second are spent");
        assert!(!board.allows(peer(1), peer(3), 1, start + SESSION_IDLE / 2), "no second session");
        assert!(board.allows(peer(1), peer(3), 1, start + SESSION_IDLE));
        assert!(
            !Switchboard::new(0, u64::MAX).allows(peer(1), peer(2), 0, start),
            "who does not volunteer passes nothing"
        );
    }
}
