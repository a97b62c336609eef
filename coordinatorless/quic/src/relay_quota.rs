//! The quota of a relay: how many sessions it forwards, and how many bytes per second. Compare the allocation quota of a
//! TURN server (RFC 8656 §7.2).

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use murmur_collectives::PeerId;
use tokio::time::Instant;

use crate::token_bucket::TokenBucket;

/// A session without a packet for this long ends when another one needs its slot: more than seven keep-alive intervals.
const SESSION_IDLE: Duration = Duration::from_secs(15);

/// The pairs of peers between which this peer forwards packets, each with the time of its last packet, and the bytes left.
#[derive(Debug)]
pub(crate) struct RelayQuota {
    sessions_max: usize,
    state: Mutex<(BTreeMap<[PeerId; 2], Instant>, TokenBucket)>,
}

impl RelayQuota {
    pub(crate) fn new(sessions_max: usize, bytes_per_s_max: u64) -> Self {
        let bucket = TokenBucket::new(bytes_per_s_max, bytes_per_s_max, Instant::now());
        Self { sessions_max, state: Mutex::new((BTreeMap::new(), bucket)) }
    }

    /// Whether `bytes` may be forwarded between the two now; if so they are counted.
    pub(crate) fn allows(&self, from: PeerId, to: PeerId, bytes: u64, now: Instant) -> bool {
        let pair = [from.min(to), from.max(to)];
        let mut state = self.state.lock().expect("no code panics while it holds the quota");
        let (sessions, bucket) = &mut *state;
        if !sessions.contains_key(&pair) && sessions.len() >= self.sessions_max {
            sessions.retain(|_, used| now.saturating_duration_since(*used) < SESSION_IDLE);
        }
        let has_slot = sessions.contains_key(&pair) || sessions.len() < self.sessions_max;
        let allowed = has_slot && bucket.take(bytes, now);
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
    fn sessions_and_bytes_are_limited_and_an_idle_session_gives_up_its_slot() {
        let start = Instant::now();
        let quota = RelayQuota::new(1, 100);
        assert!(quota.allows(peer(1), peer(2), 60, start));
        assert!(quota.allows(peer(2), peer(1), 40, start), "both ways are one session");
        assert!(!quota.allows(peer(1), peer(2), 1, start), "the bytes of this second are spent");
        assert!(!quota.allows(peer(1), peer(3), 1, start + SESSION_IDLE / 2), "no second session");
        assert!(quota.allows(peer(1), peer(3), 1, start + SESSION_IDLE));
        assert!(
            !RelayQuota::new(0, u64::MAX).allows(peer(1), peer(2), 0, start),
            "a peer that does not volunteer forwards nothing"
        );
    }
}
