//! The weight of an update: a pure integer function of the update and its causal past.
//!
//! `W(u) = α(clock) · share(u) · clip(u) · trust(author)`, 16-bit fixed point.
//!
//! - *clock*: tokens in the causal past.
//! - *share*: the part of a round that the update's tokens are. The [`Pace`] of the final frontier whose epoch the
//!   entry names says what a round is, so that the weight of a token is the same for everyone who names one epoch, however an
//!   author cuts its work into updates and whatever base it names. Over all peers the shares of a round sum to about 1. Authors
//!   who came to be trusted since that frontier had no part in its pace: they count as one peer each once their tokens are in the
//!   base.
//! - *tokens and norms* of updates whose author was not trusted in their own past count nowhere: not in the median, not on the
//!   clock. Probation has no effect on anyone.
//! - *clip*: a norm above 1.5× (manifest) the median of each author's latest norm counts as just that.

use murmur_kernels::Weight;

use crate::{Entry, Log, Pace, PeerId, Rules, Update, VersionVector, rules::ONE_Q16, standing::Standing};

/// Computes W(u) of an author that is trusted in its base, given the pace and the set of the final frontier whose epoch `entry`
/// names. All of `entry`'s causal past outside that set must be in `log`.
pub(crate) fn weigh(
    rules: &Rules,
    log: &Log,
    standing: &Standing,
    (pace, since): (Pace, &VersionVector),
    entry: &Entry,
    update: &Update,
) -> Weight {
    let (author, base) = (entry.author(), entry.base());
    let alpha = u128::from(rules.alpha_q16(log.clock(base)));
    let works = |(peer, count): &(PeerId, u32)| log.tokens(peer, *count) > log.tokens(peer, since.count(peer));
    let others = base.iter().filter(|entry| entry.0 != author && works(entry)).map(|(peer, _)| peer);
    let at_work = core::iter::once(author).chain(others);
    let newcomers = at_work.filter(|peer| !standing.is_trusted(rules, peer, since)).count();
    let newcomers = u32::try_from(newcomers).unwrap_or(u32::MAX);
    let share = u128::from(pace.share_q16(update.tokens, newcomers));
    let clip = u128::from(clip_q16(rules, log, base, update.norm));
    let weight = (alpha * share * clip) >> 32;
    Weight::new(u32::try_from(weight).unwrap_or(u32::MAX).min(4 * ONE_Q16)).expect("at most 4.0")
}

fn clip_q16(rules: &Rules, log: &Log, base: &VersionVector, norm: u64) -> u32 {
    let Some(median) = log.median_norm(base) else { return ONE_Q16 };
    let allowed = u128::from(median) * u128::from(rules.clip_q16);
    let ratio = allowed / u128::from(norm.max(1));
    u32::try_from(ratio).unwrap_or(u32::MAX).min(ONE_Q16)
}
