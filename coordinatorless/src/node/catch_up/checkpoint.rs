//! A final frontier on disk: how a restarted peer begins with what [`crate::Output::Compact`] stored.

use murmur_collectives::{Certificate, Epochs, Fold, Foundation, Frontier, Resumption, Row, State, VersionVector};

use super::Replacement;
use crate::{
    StoredEntry,
    node::{
        finality::Proof,
        replication::{Checked, checked},
    },
};

/// What was read from disk.
pub(crate) struct Restored {
    pub(crate) replacement: Replacement,
    /// Entries that were appended after the frontier, in the order they were stored.
    pub(crate) later: Vec<Checked>,
}

/// The fold that [`crate::Output::Compact`] stored, in the run of `blank`, and what was appended since. `None` if the parts do not
/// belong together.
pub(crate) fn read_checkpoint(blank: &Fold, proof: &[u8], state: State, entries: Vec<StoredEntry>) -> Option<Restored> {
    let Proof { chain, rows, foundation } = Proof::decode(proof)?;
    let view: VersionVector = rows.iter().map(|row| (row.author, row.count)).collect();
    let entries = entries.into_iter().filter_map(checked);
    let (within, later) = entries.partition(|(entry, _)| view.contains(&entry.author(), entry.seq()));
    let foundation = Foundation::decode(&foundation)?;
    let replacement = begin_at(blank, chain, rows, foundation, state, within).ok()?;
    Some(Restored { replacement, later })
}

/// A fold in the run of `present` that begins at the newest frontier of `chain`.
pub(super) fn begin_at(
    present: &Fold,
    chain: Vec<Certificate>,
    rows: Vec<Row>,
    foundation: Foundation,
    state: State,
    entries: Vec<Checked>,
) -> Result<Replacement, String> {
    let (run, rules) = (present.run(), present.rules().clone());
    let genesis = Frontier::genesis(&rules);
    let mut names = vec![genesis.name()];
    names.extend(Epochs::follow(run, &rules, &genesis, &chain).map_err(|error| error.to_string())?);
    let certificate = chain.last().cloned().ok_or("no certificate")?;
    let resumption = Resumption { names, certificate, rows, foundation, state, entries };
    let fold = Fold::resume(run, rules, resumption).map_err(|error| error.to_string())?;
    Ok(Replacement { fold, chain })
}
