//! The newest final frontier on disk: its proof and state replace the log up to it.

use murmur_collectives::{Certificate, Hash, Record, Row, State};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use super::{Context, Finality};
use crate::{Compacted, Event, Output, StoredEntry};

/// What a peer keeps of a final frontier beside its state.
#[derive(Archive, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// Certificates of all final frontiers, from the first on.
    pub(crate) chain: Vec<Certificate>,
    /// The newest one's rows.
    pub(crate) rows: Vec<Row>,
    /// Its foundation, encoded.
    pub(crate) foundation: Vec<u8>,
}

impl Proof {
    /// Reads what [`Finality::store`] wrote; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        rkyv::from_bytes::<Self, rancor::Failure>(bytes).ok()
    }

    fn encode(&self) -> Vec<u8> {
        rkyv::to_bytes::<rancor::Error>(self).expect("a proof serializes into memory").to_vec()
    }
}

impl Finality {
    /// Has the disk begin at the newest final frontier, given its `state` and that state's `root` as computed here, and its
    /// encoded foundation. If the root is not the certified one, this peer computes otherwise than those who voted: it tells
    /// so, and the disk stays as it is.
    pub(crate) fn store(&self, cx: &mut Context<'_>, state: State, root: Hash, foundation: &[u8]) {
        let newest = cx.set.fold.epochs().newest();
        let certified = newest.frontier.state;
        if root != certified {
            let peer = self.me;
            return cx.core().tell(Event::Diverged { peer, theirs: certified, ours: root });
        }
        let proof = Proof {
            chain: self.certificates.chain().to_vec(),
            rows: newest.rows.clone(),
            foundation: foundation.to_vec(),
        };
        let stored = |r: &Record| StoredEntry::new(&r.entry, r.payload.clone());
        let log = cx.set.fold.log();
        let excluded = log.all_excluded().map(|entry| StoredEntry::new(entry, None));
        let records = excluded.chain(cx.set.fold.in_order().map(stored)).collect();
        let epoch = cx.set.fold.epochs().number();
        let compacted = Compacted { epoch, proof: proof.encode(), state, records };
        cx.core().outputs.push_back(Output::Compact(Box::new(compacted)));
    }
}
