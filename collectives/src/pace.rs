//! The pace of a swarm: how many peers' worth of work it does side by side, and how long their segments are.
//!
//! A final frontier fixes both for the entries that name its epoch ([`crate::Frontier::pace`]). So the weight of an update
//! follows from its own tokens and from what is final: nobody gains by cutting work into shorter updates, or by naming an old
//! base to seem alone.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{Rules, rules::ONE_Q16};

/// How much work is one round of a swarm: a segment of each peer.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Peers that work side by side, 16-bit fixed point: (Σ t)² / Σ t² over the tokens t of each. Peers that do equal work
    /// count one each; a peer much slower than the others hardly counts.
    pub peers_q16: u32,
    /// Tokens of a usual segment: half of the work is done by peers whose mean segment is no longer.
    pub segment_tokens: u64,
}

/// What one author did in an epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Tokens of its updates.
    pub(crate) tokens: u64,
    /// Their number.
    pub(crate) updates: u64,
}

impl Pace {
    /// The most peers that a pace can tell of.
    const PEERS_MAX: u128 = 1 << 15;

    /// Before anything is final: the founders, with segments as long as the manifest plans them.
    pub(crate) fn planned(rules: &Rules) -> Self {
        let founders = u32::try_from(rules.founders.len()).unwrap_or(u32::MAX);
        Self { peers_q16: founders.max(1).saturating_mul(ONE_Q16), segment_tokens: rules.segment_tokens }
    }

    /// The pace of authors that did `work`; nothing if nobody did any.
    pub(crate) fn of(work: &[Work]) -> Option<Self> {
        let mut segments: Vec<(u64, u64)> =
            work.iter().filter(|w| w.tokens > 0).map(|w| (w.tokens / w.updates.max(1), w.tokens)).collect();
        segments.sort_unstable();
        let all: u128 = segments.iter().map(|(_, tokens)| u128::from(*tokens)).sum();
        let squares: u128 = segments.iter().map(|(_, tokens)| u128::from(*tokens).pow(2)).sum();
        let mut sum = 0;
        let usual = segments.iter().find(|(_, tokens)| {
            sum += u128::from(*tokens);
            2 * sum >= all
        });
        let peers = (ratio_q16(all.checked_mul(all)?, squares)).clamp(ONE_Q16.into(), Self::PEERS_MAX << 16);
        let segment_tokens = usual.map(|(segment, _)| (*segment).max(1))?;
        Some(Self { peers_q16: u32::try_from(peers).unwrap_or(u32::MAX), segment_tokens })
    }

    /// The part of a round that `tokens` are, 16-bit fixed point, where `newcomers` joined since this pace was fixed. An update
    /// longer than a usual segment counts as one.
    pub fn share_q16(&self, tokens: u64, newcomers: u32) -> u32 {
        let segment = u128::from(self.segment_tokens.max(1));
        let peers = u128::from(self.peers_q16) + (u128::from(newcomers) << 16);
        let share = (u128::from(tokens).min(segment) << 32) / (segment * peers.max(1));
        u32::try_from(share).unwrap_or(ONE_Q16).min(ONE_Q16)
    }

    /// Whether a peer can have sent it: no share it gives can overflow, or pass that of a lone peer.
    pub fn is_canonical(&self) -> bool {
        self.peers_q16 >= ONE_Q16 && self.segment_tokens > 0 && self.segment_tokens <= Rules::TOKEN_BUDGET_MAX
    }
}

/// `above` / `below` in 16-bit fixed point, for numbers of any size.
fn ratio_q16(above: u128, below: u128) -> u128 {
    let room = above.leading_zeros().min(16);
    (above << room) / (below >> (16 - room)).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pace(work: &[(u64, u64)]) -> Pace {
        let work: Vec<Work> = work.iter().map(|&(tokens, updates)| Work { tokens, updates }).collect();
        Pace::of(&work).unwrap()
    }

    #[test]
    fn equal_peers_count_one_each() {
        for peers in [1, 2, 5, 64] {
            let pace = pace(&vec![(3000, 3); peers]);
            assert_eq!(pace, Pace { peers_q16: peers as u32 * ONE_Q16, segment_tokens: 1000 });
            assert_eq!(pace.share_q16(1000, 0), ONE_Q16 / peers as u32);
            assert_eq!(pace.share_q16(5000, 0), ONE_Q16 / peers as u32, "a longer one counts as one");
            assert_eq!(pace.share_q16(500, 0), ONE_Q16 / peers as u32 / 2);
            assert_eq!(pace.share_q16(1000, 1), ONE_Q16 / (peers as u32 + 1));
        }
    }

    #[test]
    fn a_peer_much_slower_than_another_hardly_counts() {
        let pace = pace(&[(100_000, 100), (1000, 1)]);
        assert!((ONE_Q16..ONE_Q16 * 103 / 100).contains(&pace.peers_q16), "{pace:?}");
    }

    #[test]
    fn less_than_half_of_the_work_does_not_set_the_segment() {
        assert_eq!(pace(&[(1000, 1), (1000, 1), (1999, 1999)]).segment_tokens, 1000);
        assert_eq!(pace(&[(1000, 1), (1000, 1), (1_000_000 - 1, 1), (1_000_000, 1000)]).segment_tokens, 1000);
    }

    #[test]
    fn nothing_overflows() {
        let most = Rules::TOKEN_BUDGET_MAX;
        let pace = pace(&vec![(most, 1); 256]);
        assert_eq!(pace, Pace { peers_q16: 256 * ONE_Q16, segment_tokens: most });
        assert_eq!(pace.share_q16(u64::MAX, u32::MAX), 0);
        assert!(Pace::of(&[]).is_none() && Pace::of(&[Work { tokens: 0, updates: 9 }]).is_none());
    }
}
