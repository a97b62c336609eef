//! Selection of auditors: who is eligible, and with what chance each is drawn, from the set alone, so that every peer
//! computes the same.
//!
//! Whether a verdict counts is decided here and not when it arrives: a proven fork may cut the dispute that called for it,
//! or the verdict that had made its author trusted, and what is left must be the same whichever came first.
//!
//! Only recent participants are eligible. If all earlier participants were, a run whose peers come and go would soon draw
//! mostly peers that have left. And only trusted ones, because no other verdict counts: else strangers that merely enrol would
//! make audits rarer. An author can name further ones in its base, but none that did not pass an audit.

use crate::{Entry, PeerId, Rules, Stage, VersionVector, standing::Standing};

/// An untrusted author's update is audited by at least one peer with this probability (16-bit fixed point, 0.95).
const PROBATION_RATE_Q16: u32 = 62_259;

/// Confirming auditors expected beyond the quorum, so that one absent auditor does not stop a conviction.
const CONFIRMERS_SPARE: u64 = 2;

/// A probability in 32-bit fixed point: 2^32 is certainty.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// Always.
    pub const CERTAIN: Self = Self(1 << 32);

    /// Never.
    pub const NEVER: Self = Self(0);

    /// Whether the owner of this sortition value is drawn.
    pub fn draws(self, sortition_value: u32) -> bool {
        u64::from(sortition_value) < self.0
    }
}

/// The recent participants, for peers that know some epoch: every author that added to its frontier, or to the set since.
/// What an update's author claims to have seen can add participants and remove none.
pub(crate) struct Participants<'a> {
    /// The frontier of that epoch, and the one before.
    pub(crate) newest: Option<&'a VersionVector>,
    pub(crate) before: Option<&'a VersionVector>,
    /// Whether there is none: then founders need not have begun.
    pub(crate) begins: bool,
    /// What the update's author had seen, with the horizon of the epoch.
    pub(crate) seen: &'a VersionVector,
    /// Who was trusted in a view.
    pub(crate) standing: &'a Standing,
}

impl Participants<'_> {
    fn includes(&self, peer: &PeerId, base: &VersionVector) -> bool {
        let count = |view: Option<&VersionVector>| view.map_or(0, |view| view.count(peer));
        count(self.newest) > count(self.before) || base.count(peer) > count(self.newest)
    }

    /// Whether `auditor` may be drawn for `update`: it is a recent participant, and the author knew its key before.
    pub(crate) fn is_eligible(&self, rules: &Rules, auditor: &PeerId, update: &Entry) -> bool {
        let (base, is_founder) = (update.base(), rules.is_founder(auditor));
        let known = is_founder || base.contains(auditor, 0);
        let trusted = |view: &VersionVector| self.standing.is_trusted(rules, auditor, view);
        let takes_part = self.includes(auditor, base) || is_founder && self.begins;
        *auditor != update.author() && known && takes_part && (self.newest.is_some_and(trusted) || trusted(self.seen))
    }

    /// How many peers may be drawn for `update`.
    fn eligible_count(&self, rules: &Rules, update: &Entry) -> u64 {
        let founders = rules.founders.iter().map(|founder| founder.peer);
        let enrolled = update.base().iter().map(|(peer, _)| peer).filter(|peer| !rules.is_founder(peer));
        founders.chain(enrolled).filter(|peer| self.is_eligible(rules, peer, update)).count() as u64
    }
}

/// The chance with which one eligible peer is drawn to audit `update`, whose author was trusted when it was made or not.
///
/// First lottery: each of `n` eligible peers is drawn with p such that someone is drawn with the manifest's audit rate,
/// 1 − (1 − p)^n = rate; at rate 1 everyone is. Authors on probation are audited almost always.
/// Confirming lottery: quorum + 2 of them are expected.
pub(crate) fn chance(
    rules: &Rules,
    participants: &Participants<'_>,
    update: &Entry,
    stage: Stage,
    trusted: bool,
) -> Chance {
    let eligible = participants.eligible_count(rules, update);
    match stage {
        Stage::First if trusted => share_of(rules.audit_rate_q16, eligible),
        Stage::First => share_of(rules.audit_rate_q16.max(PROBATION_RATE_Q16), eligible),
        Stage::Confirm => {
            let wanted = u64::from(rules.audit_quorum) + CONFIRMERS_SPARE;
            Chance(((wanted << 32) / eligible.max(1)).min(Chance::CERTAIN.0))
        }
    }
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
