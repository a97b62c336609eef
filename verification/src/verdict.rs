//! Which verdicts are valid: the auditor was eligible, and drawn.

use murmur_collectives::{Entry, Fold, Stage, Verdict};

use crate::{Lottery, Subject, is_eligible, odds, was_drawn};

/// Why a verdict is no valid entry. Its author's fault.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum VerdictError {
    /// Its subject is not in the log.
    #[error("the audited update is not known")]
    Subject,
    /// The auditor was not enrolled in the update's causal past.
    #[error("the auditor was not eligible")]
    Ineligible,
    /// The proof does not show that the auditor was drawn.
    #[error("the auditor was not drawn")]
    NotDrawn,
    /// A confirming verdict without anything to confirm.
    #[error("nobody disputed the update")]
    NotDisputed,
}

/// Checks a verdict's right to exist. `fold` must hold the verdict's causal past.
///
/// # Errors
/// [`VerdictError`] says why it has none.
pub fn check_verdict(fold: &Fold, entry: &Entry, verdict: &Verdict) -> Result<(), VerdictError> {
    if fold.log().is_cut(&verdict.author, verdict.seq) || fold.log().is_left_out(&verdict.author, verdict.seq) {
        return Ok(()); // its subject left the set: it counts for nothing, and its chain goes on
    }
    let record = fold.log().record(&verdict.author, verdict.seq).ok_or(VerdictError::Subject)?;
    let (update, auditor) = (&record.entry, entry.author());
    if update.hash() != verdict.update {
        return Err(VerdictError::Subject);
    }
    if !is_eligible(fold, &auditor, update) {
        return Err(VerdictError::Ineligible);
    }
    if verdict.stage == Stage::Confirm && !fold.is_disputed(&verdict.author, verdict.seq, entry.base()) {
        return Err(VerdictError::NotDisputed);
    }
    let key = odds::key(fold, &auditor).ok_or(VerdictError::Ineligible)?;
    let subject = Subject { update: verdict.update, stage: verdict.stage };
    let chance = odds::chance(fold, update, verdict.stage);
    if was_drawn(&key, subject, chance, &verdict.draw) { Ok(()) } else { Err(VerdictError::NotDrawn) }
}

/// Holds a lottery on `update` for the owner of `lottery`, if it is eligible.
pub fn draw(
    fold: &Fold,
    lottery: &Lottery,
    auditor: &murmur_collectives::PeerId,
    update: &Entry,
    stage: Stage,
) -> Option<[u8; 96]> {
    if !is_eligible(fold, auditor, update) || fold.log().has_judged(auditor, &update.author(), update.seq()) {
        return None;
    }
    lottery.draw(Subject { update: update.hash(), stage }, odds::chance(fold, update, stage))
}
