//! A final frontier on disk: what [`Output::Compact`] stores, and how a restarted peer begins with it.

use murmur_collectives::{
    Certificate, Epochs, Fold, Foundation, Frontier, Record, Resumption, Row, State, VersionVector,
};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::{Context, Replacement};
use crate::{
    Compacted, Event, Output, StoredEntry,
    node::{
        chain::{Checked, checked},
        transfer::Checkpoint,
    },
};

/// What a peer keeps of a final frontier beside its state.
#[derive(Archive, Serialize, Deserialize)]
struct Proof {
    chain: Vec<Certificate>,
    rows: Vec<Row>,
    foundation: Vec<u8>,
}

/// What was read from disk.
pub(in crate::node) struct Restored {
    pub(in crate::node) replacement: Replacement,
    /// Entries that were appended after the frontier, in the order they were stored.
    pub(in crate::node) later: Vec<Checked>,
}

/// Serves the newest final frontier, and lets the disk begin with it.
pub(in crate::node) fn store_checkpoint(cx: &mut Context<'_>) {
    let Some(Checkpoint { foundation, state, root: ours }) = cx.transfer.serve_final(cx.set) else { return };
    let fold = &cx.set.fold;
    let newest = fold.epochs().newest();
    let theirs = newest.frontier.state;
    if ours != theirs {
        let peer = cx.net.core.id();
        return cx.net.core.tell(Event::Diverged { peer, theirs, ours });
    }
    let proof = Proof { chain: cx.chain.to_vec(), rows: newest.rows.clone(), foundation: foundation.to_vec() };
    let proof = rkyv::to_bytes::<rancor::Error>(&proof).expect("a proof serializes into memory").to_vec();
    let stored = |r: &Record| StoredEntry::new(&r.entry, r.payload.clone());
    let excluded = fold.log().all_excluded().map(|entry| StoredEntry::new(entry, None));
    let records = excluded.chain(fold.in_order().map(stored)).collect();
    let epoch = fold.epochs().number();
    cx.net.core.outputs.push_back(Output::Compact(Box::new(Compacted { epoch, proof, state, records })));
}

/// The fold that [`Output::Compact`] stored, in the run of `blank`, and what was appended since. `None` if the parts do not
/// belong together.
pub(in crate::node) fn read_checkpoint(
    blank: &Fold,
    proof: &[u8],
    state: State,
    entries: Vec<StoredEntry>,
) -> Option<Restored> {
    let Proof { chain, rows, foundation } = rkyv::from_bytes::<Proof, rancor::Failure>(proof).ok()?;
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
