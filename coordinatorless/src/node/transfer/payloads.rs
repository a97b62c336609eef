//! Payloads of the log as they are served in chunks: who asks knows only the root.

use std::{collections::BTreeMap, sync::Arc};

use murmur_collectives::{Hash, PeerId};
use murmur_kernels::chunk_hashes;

use super::super::set::Set;

/// Where in the log each payload is, as of some change of the set, and the chunk lists that were asked for.
#[derive(Default, Debug)]
pub(super) struct Payloads {
    changes: Option<u64>,
    names: BTreeMap<Hash, (PeerId, u32)>,
    /// A thousandth of the payloads that they are of.
    lists: BTreeMap<Hash, Vec<[u8; 32]>>,
}

impl Payloads {
    /// The payload with this root, if the log holds it.
    pub(super) fn find(&mut self, set: &Set, root: &Hash) -> Option<Arc<[u8]>> {
        if self.changes != Some(set.changes()) {
            self.look_through(set);
        }
        let (author, seq) = self.names.get(root)?;
        let record = set.fold.log().record(author, *seq)?;
        let is_it = record.entry.update().is_some_and(|update| update.payload == *root);
        record.payload.clone().filter(|_| is_it)
    }

    /// Hashes of the chunks of `payload`, which has this root: computed once.
    pub(super) fn list(&mut self, root: &Hash, payload: &[u8]) -> &[[u8; 32]] {
        self.lists.entry(*root).or_insert_with(|| chunk_hashes(payload))
    }

    /// Done when somebody asks for a blob after the set has changed: in swarms whose payloads fit a message, hardly ever.
    fn look_through(&mut self, set: &Set) {
        let held = set.fold.log().records().filter(|record| record.payload.is_some());
        let root = |record: &murmur_collectives::Record| Some(record.entry.update()?.payload);
        self.names = held.filter_map(|r| Some((root(r)?, (r.entry.author(), r.entry.seq())))).collect();
        self.lists.retain(|root, _| self.names.contains_key(root));
        self.changes = Some(set.changes());
    }

    /// Bytes of the lists.
    pub(super) fn held_bytes(&self) -> usize {
        self.lists.values().map(|list| list.len() * 32).sum()
    }
}
