//! What this peer serves in chunks: its own carries, payloads, and foundation and state of the newest final frontiers.
//!
//! A state is as large as the model, and few peers ask for one. So only the hashes of its chunks are kept. When a peer asks
//! for a chunk, the state is rebuilt from the fold, which is exact; it is dropped when no peer has asked for a while. The
//! final frontier before the newest is served, too, so that a peer that began to fetch it can finish.

use core::time::Duration;
use std::{collections::VecDeque, sync::Arc};

use murmur_collectives::{Fold, Hash, State, VersionVector};
use murmur_kernels::{BLOB_CHUNK, root_of, state_chunk_hashes};

use super::{
    super::{
        own_carries::{Blob, OwnCarries},
        set::Set,
    },
    fetched,
    payloads::Payloads,
};
use crate::{Message, Time, message::LIST_PART_MAX};

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
    foundation: Blob,
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
    payloads: Payloads,
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
            foundation: Blob::new(foundation.clone()),
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

    /// Length of the blob with this root, and a part of its chunk hashes from number `first` on, if it is served and there is
    /// such a part.
    pub(super) fn hashes(
        &mut self,
        carries: &OwnCarries,
        set: &Set,
        root: &Hash,
        first: u32,
    ) -> Option<(u64, Vec<Hash>)> {
        let part = |list: &[[u8; 32]]| {
            let rest = list.get(first as usize..).filter(|rest| first == 0 || !rest.is_empty())?;
            Some(rest.iter().take(LIST_PART_MAX).copied().map(Hash).collect())
        };
        if let Some(served) = self.finals.iter().find(|served| served.root == *root) {
            return Some((set.fold.rules().parameters * 8, part(&served.list)?));
        }
        if let Some(blob) = self.blob(carries, root) {
            return Some((blob.bytes.len() as u64, part(&blob.list)?));
        }
        let payload = self.payloads.find(set, root)?;
        Some((payload.len() as u64, part(self.payloads.list(root, &payload))?))
    }

    /// Chunk number `index` of the blob with this root, if it is served and there is such a chunk.
    pub(super) fn chunk(
        &mut self,
        carries: &OwnCarries,
        set: &Set,
        now: Time,
        root: &Hash,
        index: u32,
    ) -> Option<Message> {
        let root = *root;
        if let Some(blob) = self.blob(carries, &root) {
            return Some(Message::Chunk { root, index, bytes: chunk_of(&blob.bytes, index)? });
        }
        if let Some(bytes) = self.state_chunk(&set.fold, now, &root, index) {
            return Some(Message::Chunk { root, index, bytes });
        }
        let payload = self.payloads.find(set, &root)?;
        Some(Message::PayloadChunk { root, index, bytes: chunk_of(&payload, index)? })
    }

    /// A blob that is held as bytes.
    fn blob<'a>(&'a self, carries: &'a OwnCarries, root: &Hash) -> Option<&'a Blob> {
        let foundation = self.finals.iter().map(|served| &served.foundation).find(|kept| kept.root == *root);
        foundation.or_else(|| carries.with_root(root))
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
        let finals = self.finals.iter().map(|served| served.list.len() * 32 + served.foundation.held_bytes());
        finals.sum::<usize>() + self.payloads.held_bytes()
    }

    /// Bytes of the rebuilt state.
    pub(super) fn rebuilt_bytes(&self) -> usize {
        self.rebuilt.as_ref().map_or(0, |rebuilt| size_of_val(&*rebuilt.state))
    }
}

/// Chunk number `index` of a blob, unless it has none.
fn chunk_of(blob: &[u8], index: u32) -> Option<Vec<u8>> {
    let rest = blob.get((index as usize).checked_mul(BLOB_CHUNK)?..)?;
    (!rest.is_empty()).then(|| rest[..rest.len().min(BLOB_CHUNK)].to_vec())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]
mod tests {
    use murmur_kernels::{blob_root, chunk_hashes};

    use super::{super::tests::fold, *};

    fn chunks_of(served: &mut Served, set: &Set, root: &Hash, now: Time) -> Vec<u8> {
        let chunk = |index| match served.chunk(&OwnCarries::default(), set, now, root, index)? {
            Message::Chunk { bytes, .. } => Some(bytes),
            other => panic!("{other:?}"),
        };
        (0..).map_while(chunk).flatten().collect()
    }

    #[test]
    fn a_final_state_is_rebuilt_when_a_peer_asks_and_dropped_when_none_does() {
        let (mut served, set) = (Served::default(), Set::new(fold()));
        let Checkpoint { foundation, state, root: ours } = served.add_newest_final(&set.fold).unwrap();
        let root = set.fold.epochs().newest().frontier.state; // of the genesis frontier no state root is known
        assert_eq!(chunks_of(&mut served, &set, &Hash(blob_root(&foundation)), Time(0)), *foundation);
        assert_eq!((served.rebuilt_bytes(), served.next_deadline()), (0, None));

        let bytes: Vec<u8> = state.iter().flat_map(|value| value.to_le_bytes()).collect();
        let (length, list) = served.hashes(&OwnCarries::default(), &set, &root, 0).unwrap();
        let list: Vec<[u8; 32]> = list.into_iter().map(|hash| hash.0).collect();
        assert_eq!(ours, Hash(root_of(length, &list)));
        assert!(served.hashes(&OwnCarries::default(), &set, &root, list.len() as u32).is_none());
        assert_eq!((length as usize, list), (bytes.len(), chunk_hashes(&bytes)));
        assert_eq!(chunks_of(&mut served, &set, &root, Time(5)), bytes);
        assert_eq!((served.rebuilt_bytes(), served.next_deadline()), (bytes.len(), Some(Time(5) + IDLE_AFTER)));
        served.drop_idle_state(Time(4) + IDLE_AFTER);
        assert!(served.rebuilt_bytes() > 0);
        served.drop_idle_state(Time(5) + IDLE_AFTER);
        assert_eq!((served.rebuilt_bytes(), served.next_deadline()), (0, None));
    }
}
