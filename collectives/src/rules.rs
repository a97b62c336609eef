//! What every peer of a run must agree on for the fold to be one function: part of the manifest.

use core::ops::RangeInclusive;

use murmur_kernels::{CHUNK, TopK};
use rkyv::{Archive, Deserialize, Serialize};

use crate::{Hash, PeerId};

/// One in 16-bit fixed point.
pub const ONE_Q16: u32 = 1 << 16;

/// A peer named in the manifest. Its only privilege: it starts trusted.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Founder {
    /// The peer.
    pub peer: PeerId,
    /// Its key for private sortition (a compressed ristretto point).
    pub vrf_key: [u8; 32],
}

/// The constants of the fold. Integers only, so that every machine computes the same.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Number of parameters of the model, [`Self::PARAMETERS`].
    pub parameters: u64,
    /// How many of every 4096 parameters an update carries, at most; each update says how many.
    pub top: u16,
    /// α at token 0, 16-bit fixed point. α scales the sum of concurrent updates; see `weigh.rs`.
    pub alpha_start_q16: u32,
    /// α when the token budget is reached; linear in between.
    pub alpha_end_q16: u32,
    /// An update's norm counts up to this multiple of the median of recent norms, 16-bit fixed point.
    pub clip_q16: u32,
    /// Tokens of one inner step: batch × context.
    pub tokens_per_step: u32,
    /// Tokens of a segment as the manifest plans it, which weights go by until something is final.
    pub segment_tokens: u64,
    /// The most inner steps one update may claim.
    pub steps_max: u32,
    /// The run ends when the set holds this many tokens.
    pub token_budget: u64,
    /// Probability that a trusted author's update is audited, 16-bit fixed point.
    pub audit_rate_q16: u32,
    /// How many distinct trusted auditors must find a replay different before an update is voided.
    pub audit_quorum: u32,
    /// How many updates of an author follow each other before its private state is committed to, at most. An audit replays
    /// them all.
    pub span: u32,
    /// The token clock between two final frontiers, at least a 4096th of the budget. Entries are kept for two to three
    /// times this, and a peer cut off for longer loses what it did meanwhile. 0: nothing becomes final.
    pub frontier_every_tokens: u64,
    /// The numeric class of every update, so that any peer can audit any author. None: authors say theirs, and peers of
    /// the same class audit them.
    pub class: Option<Hash>,
    /// Who starts trusted.
    pub founders: Vec<Founder>,
}

/// A rule outside its sensible range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("rule `{rule}` is {value}, allowed: {allowed}")]
pub struct BadRule {
    /// Which field.
    pub rule: &'static str,
    /// What it says.
    pub value: u64,
    /// What it may say.
    pub allowed: &'static str,
}

impl Rules {
    /// How many parameters a model can have.
    pub const PARAMETERS: RangeInclusive<u64> = 1..=1 << 33;

    /// How many of every 4096 parameters an update can carry.
    pub const TOP: RangeInclusive<u16> = TopK::MIN..=CHUNK as u16;

    /// The largest α, not in fixed point.
    pub const ALPHA_MAX: u32 = 4;

    /// How many tokens an inner step can have.
    pub const TOKENS_PER_STEP: RangeInclusive<u32> = 1..=1 << 24;

    /// How many inner steps an update can claim.
    pub const STEPS: RangeInclusive<u32> = 1..=1 << 16;

    /// The most tokens of a run.
    pub const TOKEN_BUDGET_MAX: u64 = 1 << 50;

    /// How many auditors can be needed to void an update.
    pub const QUORUM: RangeInclusive<u32> = 1..=64;

    /// How many updates can follow each other between two commitments.
    pub const SPAN: RangeInclusive<u32> = 1..=64;

    /// Epochs of a run, at most: certificates of all of them are kept.
    pub const EPOCHS_MAX: u64 = 4096;

    /// Checks every range; a manifest from a stranger is not used before this passes.
    ///
    /// # Errors
    /// [`BadRule`] names the first rule that is out of range.
    pub fn check(&self) -> Result<(), BadRule> {
        let bad = |rule, value, allowed| Err(BadRule { rule, value, allowed });
        let alpha_max = Self::ALPHA_MAX * ONE_Q16;
        match self {
            r if !Self::PARAMETERS.contains(&r.parameters) => bad("parameters", r.parameters, "1 to 2^33"),
            r if TopK::new(r.top).is_err() => bad("top", r.top.into(), "16 to 4096"),
            r if r.alpha_start_q16 > alpha_max => bad("alpha_start_q16", r.alpha_start_q16.into(), "at most 4.0"),
            r if r.alpha_end_q16 > alpha_max => bad("alpha_end_q16", r.alpha_end_q16.into(), "at most 4.0"),
            r if r.clip_q16 < ONE_Q16 || r.clip_q16 > 100 * ONE_Q16 => {
                bad("clip_q16", r.clip_q16.into(), "1.0 to 100.0")
            }
            r if !Self::TOKENS_PER_STEP.contains(&r.tokens_per_step) => {
                bad("tokens_per_step", r.tokens_per_step.into(), "1 to 2^24")
            }
            r if !Self::STEPS.contains(&r.steps_max) => bad("steps_max", r.steps_max.into(), "1 to 65536"),
            r if r.segment_tokens == 0 || r.segment_tokens > Self::TOKEN_BUDGET_MAX => {
                bad("segment_tokens", r.segment_tokens, "1 to 2^50")
            }
            r if r.token_budget > Self::TOKEN_BUDGET_MAX => bad("token_budget", r.token_budget, "at most 2^50"),
            r if r.audit_rate_q16 > ONE_Q16 => bad("audit_rate_q16", r.audit_rate_q16.into(), "at most 1.0"),
            r if !Self::QUORUM.contains(&r.audit_quorum) => bad("audit_quorum", r.audit_quorum.into(), "1 to 64"),
            r if !Self::SPAN.contains(&r.span) => bad("span", r.span.into(), "1 to 64"),
            r if r.frontier_every_tokens != 0 && r.frontier_every_tokens < r.token_budget / Self::EPOCHS_MAX => {
                bad("frontier_every_tokens", r.frontier_every_tokens, "0, or at least token_budget / 4096")
            }
            r if r.founders.is_empty() || r.founders.len() > 1024 => {
                bad("founders", r.founders.len() as u64, "1 to 1024")
            }
            _ => Ok(()),
        }
    }

    /// The compression density as the kernels take it.
    ///
    /// # Panics
    /// If the rules were not checked.
    pub fn top_k(&self) -> TopK {
        TopK::new(self.top).expect("the rules were checked before use")
    }

    /// Number of parameters as a length.
    pub fn parameter_count(&self) -> usize {
        usize::try_from(self.parameters).expect("the rules were checked before use")
    }

    /// Whether `peer` starts trusted.
    pub fn is_founder(&self, peer: &PeerId) -> bool {
        self.founders.iter().any(|founder| founder.peer == *peer)
    }

    /// α at a point of the token clock, 16-bit fixed point: linear from start to end over the budget.
    pub fn alpha_q16(&self, clock: u64) -> u32 {
        let (start, end) = (i128::from(self.alpha_start_q16), i128::from(self.alpha_end_q16));
        let budget = i128::from(self.token_budget.max(1));
        let at = i128::from(clock).min(budget);
        u32::try_from(start + (end - start) * at / budget).expect("between start and end")
    }
}

#[cfg(test)]
pub(crate) fn test_rules(parameters: u64, founders: &[PeerId]) -> Rules {
    Rules {
        parameters,
        top: 64,
        alpha_start_q16: ONE_Q16,
        alpha_end_q16: ONE_Q16 / 2,
        clip_q16: ONE_Q16 * 3 / 2,
        tokens_per_step: 100,
        segment_tokens: 1000,
        steps_max: 100,
        token_budget: 1_000_000,
        audit_rate_q16: ONE_Q16 / 10,
        audit_quorum: 2,
        span: 1,
        frontier_every_tokens: 0,
        class: None,
        founders: founders.iter().map(|peer| Founder { peer: *peer, vrf_key: [0; 32] }).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_linear_and_stays_at_its_end() {
        let rules = test_rules(1, &[PeerId([1; 32])]);
        assert_eq!(rules.alpha_q16(0), ONE_Q16);
        assert_eq!(rules.alpha_q16(500_000), ONE_Q16 * 3 / 4);
        assert_eq!(rules.alpha_q16(u64::MAX), ONE_Q16 / 2);
    }

    #[test]
    fn every_range_is_checked() {
        let good = test_rules(1, &[PeerId([1; 32])]);
        good.check().unwrap();
        type Spoil = fn(&mut Rules);
        let broken: [(&str, Spoil); 14] = [
            ("parameters", |r| r.parameters = 0),
            ("top", |r| r.top = 5000),
            ("alpha_start_q16", |r| r.alpha_start_q16 = u32::MAX),
            ("alpha_end_q16", |r| r.alpha_end_q16 = u32::MAX),
            ("clip_q16", |r| r.clip_q16 = 0),
            ("tokens_per_step", |r| r.tokens_per_step = 0),
            ("segment_tokens", |r| r.segment_tokens = 0),
            ("steps_max", |r| r.steps_max = 0),
            ("token_budget", |r| r.token_budget = u64::MAX),
            ("audit_rate_q16", |r| r.audit_rate_q16 = ONE_Q16 + 1),
            ("audit_quorum", |r| r.audit_quorum = 0),
            ("span", |r| r.span = 65),
            ("frontier_every_tokens", |r| r.frontier_every_tokens = 1),
            ("founders", |r| r.founders.clear()),
        ];
        for (rule, spoil) in broken {
            let mut rules = good.clone();
            spoil(&mut rules);
            assert_eq!(rules.check().unwrap_err().rule, rule);
        }
    }
}
