//! Penalties: the score of a peer grows with each offence and decays over time. When the score reaches the limit the
//! peer is banned, and each further ban lasts twice as long.

use core::time::Duration;
use std::collections::BTreeMap;

use murmur_collectives::PeerId;

use crate::Time;

/// The number of peers whose offences are stored, at most; the record with the least weight gives way.
const PEERS_MAX: usize = 1024;

/// The score of one offence. Large, because a score is an integer and halves.
const OFFENCE: u64 = 1000;

/// The time in which a score halves.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// The longest ban.
const BAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// The offences and bans of one peer.
#[derive(Clone, Copy, Default, Debug)]
struct Record {
    score: u64,
    counted_at: Time,
    bans: u32,
    banned_until: Time,
}

impl Record {
    /// The score at `now`, after its decay.
    fn score(&self, now: Time) -> u64 {
        let halvings = now.since(self.counted_at).as_secs() / HALF_LIFE.as_secs();
        self.score.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }
}

/// The records of all peers that committed an offence.
#[derive(Default, Debug)]
pub(super) struct Penalties(BTreeMap<PeerId, Record>);

impl Penalties {
    /// Whether `peer` is banned at `now`.
    pub(super) fn is_banned(&self, peer: &PeerId, now: Time) -> bool {
        self.0.get(peer).is_some_and(|record| record.banned_until > now)
    }

    /// Counts an offence. Returns the duration of the ban if this offence caused one.
    pub(super) fn offend(&mut self, peer: PeerId, now: Time, offences_max: u32, ban: Duration) -> Option<Duration> {
        self.make_room(&peer, now);
        let record = self.0.entry(peer).or_default();
        (record.score, record.counted_at) = (record.score(now) + OFFENCE, now);
        if record.score < u64::from(offences_max.max(1)) * OFFENCE {
            return None;
        }
        let lasts = (ban * 2u32.saturating_pow(record.bans.min(16))).min(BAN_MAX);
        (record.score, record.bans, record.banned_until) = (0, record.bans + 1, now + lasts);
        Some(lasts)
    }

    /// Drops the record with the least weight if all places are taken: bans that last longest are kept first.
    fn make_room(&mut self, peer: &PeerId, now: Time) {
        if self.0.len() < PEERS_MAX || self.0.contains_key(peer) {
            return;
        }
        let least = self.0.iter().min_by_key(|(_, r)| (r.banned_until.max(now), r.bans, r.score(now)));
        if let Some(least) = least.map(|(peer, _)| *peer) {
            self.0.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId([1; 32]);
    const BAN: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    #[test]
    fn three_offences_at_once_ban_and_each_ban_is_longer() {
        let mut penalties = Penalties::default();
        let mut offend = |seconds| penalties.offend(PEER, at(seconds), 3, BAN);
        assert_eq!([offend(0), offend(1), offend(2)], [None, None, Some(BAN)]);
        assert_eq!([offend(100), offend(100), offend(100)], [None, None, Some(2 * BAN)]);
        assert!(penalties.is_banned(&PEER, at(219)));
        assert!(!penalties.is_banned(&PEER, at(220)));
    }

    #[test]
    fn an_offence_now_and_then_is_forgiven() {
        let mut penalties = Penalties::default();
        assert!((0..100).all(|n| penalties.offend(PEER, at(n * 120), 3, BAN).is_none()));
    }

    #[test]
    fn a_crowd_of_offenders_is_not_remembered_without_end() {
        let mut penalties = Penalties::default();
        assert_eq!((0..3).filter_map(|_| penalties.offend(PEER, at(0), 3, BAN)).count(), 1);
        for n in 0..5000u32 {
            let mut id = [9; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            penalties.offend(PeerId(id), at(1), 3, BAN);
        }
        assert_eq!(penalties.0.len(), PEERS_MAX);
        assert!(penalties.is_banned(&PEER, at(30)), "the banned are remembered before those with one offence");
    }
}
