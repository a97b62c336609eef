//! What this peer serves in chunks: its own carries, and foundation and state of the newest final frontiers.
//!
//! A state is as large as the model, and few peers ask for one. So only the hashes of its chunks are kept. When a peer asks
//! for a chunk, the state is rebuilt from the fold, which is exact; it is dropped when no peer has asked for a while. The
//! final frontier before the newest is served, too, so that a peer that began to fetch it can finish.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Fold, Hash, State, VersionVector};
use murmur_kernels::{BLOB_CHUNK, blob_root, chunk_hashes, root_of, state_chunk_hashes};

use super::{super::own_carries::OwnCarries, fetched};
use crate::Time;

/// Final frontiers served.
const FINALS_MAX: usize = 2;

/// A rebuilt state is dropped when no peer has asked for a chunk of it for this long.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// A final frontier as it is served.
#[derive(Debug)]
struct Final {
    view: VersionVector,
    /// Root of the state, as the frontier names it.
    root: Hash,
    /// Hashes of the state's chunks.
    list: Vec<[u8; 32]>,
    foundation: (Hash, Arc<[u8]>),
}

/// A state that a peer fetches now.
#[derive(Debug)]
struct Rebuilt {
    root: Hash,
    state: State,
    kept_until: Time,
}

/// Foundation and state of the newest final frontier, for the disk.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The encoded foundation.
    pub(crate) foundation: Arc<[u8]>,
    /// The state, `[parameters]`.
    pub(crate) state: State,
    /// Root of that state.
    pub(crate) root: Hash,
}

/// What is served beside own carries, with the newest last.
#[derive(Default, Debug)]
pub(super) struct Served {
    finals: VecDeque<Final>,
    rebuilt: Option<Rebuilt>,
}

impl Served {
    /// Serves the newest final frontier of `fold`. `None`, and no change, if payloads that its state takes are missing.
    pub(super) fn add_newest_final(&mut self, fold: &Fold) -> Option<Checkpoint> {
        let newest = fold.epochs().newest();
        let state = fold.state_at(&newest.view).ok()?;
        let foundation: Arc<[u8]> = fold.foundation().encode().into();
        let list = state_chunk_hashes(&state);
        let root = Hash(root_of(size_of_val(&*state) as u64, &list));
        self.add_final(Final {
            view: newest.view.clone(),
            root: newest.frontier.state,
            list,
            foundation: (Hash(blob_root(&foundation)), foundation.clone()),
        });
        Some(Checkpoint { foundation, state, root })
    }

    fn add_final(&mut self, served: Final) {
        self.finals.retain(|kept| kept.root != served.root);
        self.finals.push_back(served);
        while self.finals.len() > FINALS_MAX {
            self.finals.pop_front();
        }
    }

    /// Length and chunk hashes of the blob with this root, if it is served.
    pub(super) fn chunk_list(
        &self,
        carries: &OwnCarries,
        parameters: u64,
        root: &Hash,
    ) -> Option<(u64, Vec<[u8; 32]>)> {
        if let Some(served) = self.finals.iter().find(|served| served.root == *root) {
            return Some((parameters * 8, served.list.clone()));
        }
        let plain = self.plain(carries, root)?;
        Some((plain.len() as u64, chunk_hashes(&plain)))
    }

    /// Chunk number `index` of the blob with this root, if it is served and there is such a chunk.
    pub(super) fn chunk(
        &mut self,
        carries: &OwnCarries,
        fold: &Fold,
        now: Time,
        root: &Hash,
        index: u32,
    ) -> Option<Vec<u8>> {
        let Some(plain) = self.plain(carries, root) else { return self.state_chunk(fold, now, root, index) };
        let start = (index as usize).checked_mul(BLOB_CHUNK)?;
        let end = plain.len().min(start.saturating_add(BLOB_CHUNK));
        plain.get(start..end).filter(|bytes| !bytes.is_empty()).map(<[u8]>::to_vec)
    }

    /// A blob that is held as bytes.
    fn plain(&self, carries: &OwnCarries, root: &Hash) -> Option<Arc<[u8]>> {
        let foundation = self.finals.iter().map(|served| &served.foundation).find(|(kept, _)| kept == root);
        foundation.map(|(_, bytes)| bytes).or_else(|| carries.with_root(root)).cloned()
    }

    fn state_chunk(&mut self, fold: &Fold, now: Time, root: &Hash, index: u32) -> Option<Vec<u8>> {
        let values = fetched::chunk(self.rebuild(fold, now, root)?, index);
        (!values.is_empty()).then(|| values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// The state with this root, rebuilt unless it is the one that was asked for last, and kept for the next chunk.
    fn rebuild(&mut self, fold: &Fold, now: Time, root: &Hash) -> Option<&[i64]> {
        if self.rebuilt.as_ref().is_none_or(|rebuilt| rebuilt.root != *root) {
            let served = self.finals.iter().find(|served| served.root == *root)?;
            let state = fold.state_at(&served.view).ok()?;
            self.rebuilt = Some(Rebuilt { root: *root, state, kept_until: now });
        }
        let rebuilt = self.rebuilt.as_mut()?;
        rebuilt.kept_until = now + IDLE_AFTER;
        Some(&rebuilt.state)
    }

    /// Drops a rebuilt state that no peer asks for any more.
    pub(super) fn drop_idle_state(&mut self, now: Time) {
        self.rebuilt.take_if(|rebuilt| rebuilt.kept_until <= now);
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.rebuilt.as_ref().map(|rebuilt| rebuilt.kept_until)
    }

    /// Bytes held for as long as they are served.
    pub(super) fn held_bytes(&self) -> usize {
        self.finals.iter().map(|served| served.list.len() * 32 + served.foundation.1.len()).sum()
    }

    /// Bytes of the rebuilt state.
    pub(super) fn rebuilt_bytes(&self) -> usize {
        self.rebuilt.as_ref().map_or(0, |rebuilt| size_of_val(&*rebuilt.state))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::tests::fold, *};

    fn chunks_of(served: &mut Served, fold: &Fold, root: &Hash, now: Time) -> Vec<u8> {
        (0..).map_while(|index| served.chunk(&OwnCarries::default(), fold, now, root, index)).flatten().collect()
    }

    #[test]
    fn a_final_state_is_rebuilt_when_a_peer_asks_and_dropped_when_none_does() {
        let (mut served, fold) = (Served::default(), fold());
        let Checkpoint { foundation, state, root: ours } = served.add_newest_final(&fold).unwrap();
        let root = fold.epochs().newest().frontier.state; // of the genesis frontier no state root is known
        assert_eq!(chunks_of(&mut served, &fold, &Hash(blob_root(&foundation)), Time(0)), *foundation);
        assert_eq!((served.rebuilt_bytes(), served.next_deadline()), (0, None));

        let bytes: Vec<u8> = state.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (length, list) = served.chunk_list(&OwnCarries::default(), state.len() as u64, &root).unwrap();
        assert_eq!(ours, Hash(root_of(length, &list)));
        assert_eq!((length as usize, list), (bytes.len(), chunk_hashes(&bytes)));
        assert_eq!(chunks_of(&mut served, &fold, &root, Time(5)), bytes);
        assert_eq!((served.rebuilt_bytes(), served.next_deadline()), (bytes.len(), Some(Time(5) + IDLE_AFTER)));
        served.drop_idle_state(Time(4) + IDLE_AFTER);
        assert!(served.rebuilt_bytes() > 0);
        served.drop_idle_state(Time(5) + IDLE_AFTER);
        assert_eq!((served.rebuilt_bytes(), served.next_deadline()), (0, None));
    }
}
