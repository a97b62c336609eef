//! The chance of each lottery, from the log alone, so that every peer computes the same.

use murmur_collectives::{Entry, Fold, PeerId, Stage, VersionVector};

use crate::Chance;

/// An untrusted author's update is audited by at least one peer with this probability (16-bit fixed point, 0.95).
const PROBATION_RATE_Q16: u32 = 62_259;

/// Confirming auditors expected beyond the quorum, so that one absent auditor does not stop a conviction.
const CONFIRMERS_SPARE: u64 = 2;

/// The chance with which one eligible peer is drawn to audit `update`.
///
/// First lottery: each of `n` eligible peers is drawn with p such that someone is drawn with the manifest's audit rate,
/// 1 − (1 − p)^n = rate; at rate 1 everyone is. Authors on probation are audited almost always.
/// Confirming lottery: quorum + 2 of them are expected.
pub fn chance(fold: &Fold, update: &Entry, stage: Stage) -> Chance {
    let eligible = eligible_count(fold, update);
    match stage {
        Stage::First if fold.is_trusted(&update.author(), update.base()) => {
            share_of(fold.rules().audit_rate_q16, eligible)
        }
        Stage::First => share_of(fold.rules().audit_rate_q16.max(PROBATION_RATE_Q16), eligible),
        Stage::Confirm => {
            let wanted = u64::from(fold.rules().audit_quorum) + CONFIRMERS_SPARE;
            Chance(((wanted << 32) / eligible.max(1)).min(Chance::CERTAIN.0))
        }
    }
}

/// Whether `auditor` may be drawn for `update`: its key was known to the author before the update was made.
pub fn is_eligible(fold: &Fold, auditor: &PeerId, update: &Entry) -> bool {
    *auditor != update.author() && (fold.rules().is_founder(auditor) || is_enrolled(update.base(), auditor))
}

/// The sortition key of an eligible auditor.
pub(crate) fn key(fold: &Fold, auditor: &PeerId) -> Option<[u8; 32]> {
    let founder = fold.rules().founders.iter().find(|founder| founder.peer == *auditor);
    founder.map(|founder| founder.vrf_key).or_else(|| fold.log().vrf_key(auditor))
}

fn is_enrolled(base: &VersionVector, auditor: &PeerId) -> bool {
    base.contains(auditor, 0)
}

fn eligible_count(fold: &Fold, update: &Entry) -> u64 {
    let founders = fold.rules().founders.iter().map(|founder| founder.peer).filter(|peer| *peer != update.author());
    let enrolled = update.base().iter().map(|(peer, _)| peer);
    let others = enrolled.filter(|peer| *peer != update.author() && !fold.rules().is_founder(peer));
    (founders.count() + others.count()) as u64
}

/// The smallest p with (1 − p)^n ≤ 1 − rate, by bisection in integers.
fn share_of(rate_q16: u32, n: u64) -> Chance {
    let left = Chance::CERTAIN.0 - (u64::from(rate_q16) << 16).min(Chance::CERTAIN.0);
    if left == 0 {
        return Chance::CERTAIN; // rounding down would call a little less certain, too
    }
    let (mut low, mut high) = (0, Chance::CERTAIN.0);
    while low < high {
        let middle = (low + high) / 2;
        if power(Chance::CERTAIN.0 - middle, n) <= left {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Chance(low)
}

/// base^n in 32-bit fixed point, rounding down at each multiplication.
fn power(base: u64, n: u64) -> u64 {
    let multiply = |a: u64, b: u64| u64::try_from((u128::from(a) * u128::from(b)) >> 32).unwrap_or(u64::MAX);
    let (mut result, mut square, mut n) = (Chance::CERTAIN.0, base, n);
    while n > 0 {
        if n & 1 == 1 {
            result = multiply(result, square);
        }
        square = multiply(square, square);
        n >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn someone_is_drawn_with_the_audit_rate() {
        for (rate, n) in [(0.1, 1), (0.1, 3), (0.5, 7), (0.95, 31)] {
            let p = share_of((rate * 65536.0) as u32, n).0 as f64 / 4294967296.0;
            let someone = 1.0 - (1.0 - p).powi(i32::try_from(n).expect("small"));
            assert!((someone - rate).abs() < 1e-4, "rate {rate}, {n} peers: {someone}");
        }
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(share_of(65536, 3), Chance::CERTAIN);
        assert_eq!(share_of(0, 3), Chance::NEVER);
    }
}
