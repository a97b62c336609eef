//! The weight of an update: a pure integer function of the update and its causal past.
//!
//! `W(u) = α(clock) · share(u) · clip(u) · trust(author)`, 16-bit fixed point.
//!
//! - *clock*: tokens in the causal past.
//! - *share* = own(u) / (own(u) + others(u)): the author's part of the work done while it made its last [`WINDOW`] updates, u
//!   among them. *others* is what others added between the base of the update before those and this base. Over all peers the
//!   shares sum to about 1, although no peer counts peers. The author's update before the window is not in it, else a lone peer
//!   would weigh ½. Over one update alone the share would jump between 1 and ⅓ with whose update came just in time, and
//!   learning would lose 1 to 3 % (`experiments/parity`). With others active, no share passes ½.
//! - *horizon*: a base before the frontier that is one older than the newest the author knew counts as that frontier, so
//!   that no entry that can still be admitted needs pruned entries for its weight.
//! - *tokens and norms* of updates whose author was not trusted in their own past count nowhere: not as work done
//!   meanwhile, not in the median, not on the clock. Probation has no effect on anyone.
//! - *first update*: nothing precedes it, so the founders are taken to have worked alongside.
//! - *clip*: a norm above 1.5× (manifest) the median of each author's latest norm counts as just that.

use murmur_kernels::Weight;

use crate::{Entry, Log, Rules, Update, VersionVector, rules::ONE_Q16, standing::Standing};

/// Computes W(u). All of `entry`'s causal past outside `horizon` must be in `log`.
pub(crate) fn weigh(
    rules: &Rules,
    log: &Log,
    standing: &Standing,
    horizon: &VersionVector,
    entry: &Entry,
    update: &Update,
) -> Weight {
    let (author, base) = (entry.author(), entry.base());
    if !standing.is_trusted(rules, &author, base) {
        return Weight::ZERO;
    }
    let alpha = u128::from(rules.alpha_q16(log.clock(base)));
    let share = u128::from(share_q16(rules, log, horizon, entry, update));
    let clip = u128::from(clip_q16(rules, log, base, update.norm));
    let weight = (alpha * share * clip) >> 32;
    Weight::new(u32::try_from(weight).unwrap_or(u32::MAX).min(4 * ONE_Q16)).expect("at most 4.0")
}

/// Updates of an author over which its share of the work is taken.
const WINDOW: usize = 16;

fn share_q16(rules: &Rules, log: &Log, horizon: &VersionVector, entry: &Entry, update: &Update) -> u32 {
    let author = entry.author();
    let first = update.segment == 0;
    let (mut before, own) = log.recent_work(&author, update.segment, WINDOW, horizon).unwrap_or_default();
    horizon.iter().for_each(|(author, count)| before.raise(author, count));
    let others = log.tokens_between((!first).then_some(&before), entry.base(), &author);
    let own = own + update.tokens;
    let mut alongside = u128::from(own) + u128::from(others);
    if first {
        alongside = alongside.max(u128::from(update.tokens) * rules.founders.len() as u128);
    }
    let cap = if others == 0 { ONE_Q16 } else { ONE_Q16 / 2 };
    let share = (u128::from(own) << 16) / alongside.max(1);
    u32::try_from(share).unwrap_or(ONE_Q16).min(cap)
}

fn clip_q16(rules: &Rules, log: &Log, base: &VersionVector, norm: u64) -> u32 {
    let Some(median) = log.median_norm(base) else { return ONE_Q16 };
    let allowed = u128::from(median) * u128::from(rules.clip_q16);
    let ratio = allowed / u128::from(norm.max(1));
    u32::try_from(ratio).unwrap_or(u32::MAX).min(ONE_Q16)
}
