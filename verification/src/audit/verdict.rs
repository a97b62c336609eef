//! Drawing for an audit, and what proves that a verdict's author did.

use murmur_collectives::{Chance, Entry, Fold, PeerId, Stage, Verdict};

use crate::{Lottery, Subject, was_drawn};

/// Why a verdict is no valid entry. Its author's fault.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum VerdictError {
    /// The auditor has enrolled no sortition key.
    #[error("the auditor has no sortition key")]
    NoKey,
    /// The draw is not what the auditor's key gives for the subject.
    #[error("the draw is not the auditor's")]
    Draw,
}

/// Checks that a verdict's draw is its author's and no other. Whether it was drawn by it follows from the set, which may
/// change: [`Fold::insert`] counts only verdicts that were. So an entry that is refused is refused by all, whatever each
/// of them holds.
///
/// # Errors
/// [`VerdictError`] says what is wrong with it.
pub fn check_verdict(fold: &Fold, entry: &Entry, verdict: &Verdict) -> Result<(), VerdictError> {
    let key = key(fold, &entry.author()).ok_or(VerdictError::NoKey)?;
    let subject = Subject::at(fold.run(), verdict.author, verdict.seq, verdict.stage);
    if was_drawn(&key, subject, Chance::CERTAIN, &verdict.draw) { Ok(()) } else { Err(VerdictError::Draw) }
}

/// The sortition key of an auditor.
fn key(fold: &Fold, auditor: &PeerId) -> Option<[u8; 32]> {
    let founder = fold.rules().founders.iter().find(|founder| founder.peer == *auditor);
    founder.map(|founder| founder.vrf_key).or_else(|| fold.log().vrf_key(auditor))
}

/// Holds a lottery on `update` for the owner of `lottery`, if it is eligible. Its verdict will name `epoch`.
pub fn draw(
    fold: &Fold,
    lottery: &Lottery,
    auditor: &PeerId,
    update: &Entry,
    stage: Stage,
    epoch: u32,
) -> Option<[u8; 96]> {
    if !fold.is_eligible(auditor, update, epoch) || fold.log().has_judged(auditor, &update.author(), update.seq()) {
        return None;
    }
    lottery.draw(Subject::of(update, stage), fold.chance(update, stage, epoch))
}
