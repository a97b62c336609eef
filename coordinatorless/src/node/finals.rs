//! What newcomers begin with: foundation and state of the newest final frontiers, served in chunks like any blob.
//!
//! A state is as large as the model, and few ask for one. So only the hashes of its chunks are kept; the state itself is
//! rebuilt from the present one when somebody asks, which is exact, and let go when nobody asked for a while. The frontier
//! before the newest is served, too, so that who began to fetch it can end.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Hash, State, VersionVector};
use murmur_kernels::{root_of, state_chunk_hashes};

use super::Node;
use crate::{Time, fetched};

/// Final frontiers served.
const SERVED: usize = 2;

/// A rebuilt state is let go when nobody asked for it for this long.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// A final frontier as it is served.
#[derive(Debug)]
struct Served {
    view: VersionVector,
    root: Hash,
    /// Hashes of the state's chunks.
    list: Vec<[u8; 32]>,
    foundation: (Hash, Arc<[u8]>),
}

/// What is served of final frontiers, newest last.
#[derive(Default, Debug)]
pub(super) struct Finals {
    served: VecDeque<Served>,
    /// The state that was asked for last, and until when it is kept.
    rebuilt: Option<(Hash, State, Time)>,
}

impl Finals {
    fn keep(&mut self, served: Served) {
        self.served.retain(|kept| kept.root != served.root);
        self.served.push_back(served);
        while self.served.len() > SERVED {
            self.served.pop_front();
        }
    }

    /// The foundation with this root.
    pub(super) fn foundation(&self, root: &Hash) -> Option<Arc<[u8]>> {
        self.served.iter().find(|kept| kept.foundation.0 == *root).map(|kept| kept.foundation.1.clone())
    }

    /// Of the newest frontier served: the root of its state as it was computed here, and its foundation.
    pub(super) fn newest(&self, state: &State) -> Option<(Hash, Arc<[u8]>)> {
        let newest = self.served.back()?;
        let root = root_of(size_of_val(&**state) as u64, &newest.list);
        Some((Hash(root), newest.foundation.1.clone()))
    }

    /// Hashes of the chunks of the state with this root.
    pub(super) fn state_list(&self, root: &Hash) -> Option<Vec<[u8; 32]>> {
        self.served.iter().find(|kept| kept.root == *root).map(|kept| kept.list.clone())
    }

    /// Bytes of what is kept as long as it is served.
    pub(super) fn held_bytes(&self) -> usize {
        self.served.iter().map(|kept| kept.list.len() * 32 + kept.foundation.1.len()).sum()
    }

    /// Bytes of the state that is kept because somebody fetches it.
    pub(super) fn rebuilt_bytes(&self) -> usize {
        self.rebuilt.as_ref().map_or(0, |(_, state, _)| size_of_val(&**state))
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.rebuilt.as_ref().map(|(_, _, until)| *until)
    }
}

impl Node {
    /// The newest final frontier begins to be served. Its state, if the payloads are held that it takes.
    pub(super) fn serve_final(&mut self) -> Option<State> {
        let newest = self.set.fold.epochs().newest();
        let state = self.set.fold.state_at(&newest.view).ok()?;
        let foundation: Arc<[u8]> = self.set.fold.foundation().encode().into();
        let (view, root) = (newest.view.clone(), newest.frontier.state);
        let list = state_chunk_hashes(&state);
        let foundation = (Hash(murmur_kernels::blob_root(&foundation)), foundation);
        self.finals.keep(Served { view, root, list, foundation });
        Some(state)
    }

    /// A chunk of the state with this root, `None` if it is not served or there is no such chunk.
    pub(super) fn state_chunk(&mut self, root: &Hash, index: u32) -> Option<Vec<u8>> {
        let values = fetched::chunk(self.rebuild(root)?, index);
        (!values.is_empty()).then(|| values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// The state with this root, rebuilt if it is not at hand, and kept for the next chunk.
    fn rebuild(&mut self, root: &Hash) -> Option<&[i64]> {
        if self.finals.rebuilt.as_ref().is_none_or(|(kept, _, _)| kept != root) {
            let served = self.finals.served.iter().find(|kept| kept.root == *root)?;
            let state = self.set.fold.state_at(&served.view).ok()?;
            self.finals.rebuilt = Some((*root, state, self.core.now));
        }
        let until = self.core.now + IDLE_AFTER;
        let (_, state, kept_until) = self.finals.rebuilt.as_mut()?;
        *kept_until = until;
        Some(state)
    }

    /// Lets a state go that nobody asks for any more.
    pub(super) fn finals_due(&mut self) {
        self.finals.rebuilt.take_if(|(_, _, until)| *until <= self.core.now);
    }
}
