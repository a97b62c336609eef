//! The part of a state that is on disk: a peer that is stopped while it fetches goes on with it after the restart.

use std::collections::BTreeSet;

use murmur_collectives::{Hash, State};
use murmur_kernels::BLOB_CHUNK;

/// Integers of a state in one chunk.
pub(super) const CHUNK_INTEGERS: usize = BLOB_CHUNK / 8;

/// Part of a state, as [`crate::Output::KeepChunk`] gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Root of the state.
    pub root: Hash,
    /// The state, `[parameters]`, with anything where a chunk is missing. Each chunk is checked again before it is used.
    pub state: State,
    /// Which chunks are there.
    pub chunks: BTreeSet<u32>,
}

impl Fetched {
    /// Nothing yet of the state with this root, in a room of its length.
    pub fn new(root: Hash, room: State) -> Self {
        Self { root, state: room, chunks: BTreeSet::new() }
    }

    /// Puts a chunk into its place. False if it has none.
    pub fn place(&mut self, index: u32, bytes: &[u8]) -> bool {
        let placed = place(&mut self.state, index, bytes);
        if placed {
            self.chunks.insert(index);
        }
        placed
    }

    /// Keeps a chunk beside others of the same state, in place of those of another: what a host that stores them in memory
    /// does. `room` makes room for a state.
    pub fn keep(
        kept: &mut Option<Self>,
        (root, index): (Hash, u32),
        bytes: &[u8],
        room: impl FnOnce() -> State,
    ) -> bool {
        kept.take_if(|kept| kept.root != root);
        kept.get_or_insert_with(|| Self::new(root, room())).place(index, bytes)
    }
}

/// Puts chunk number `index` into its place in a state. False if it has none.
pub(super) fn place(state: &mut [i64], index: u32, chunk: &[u8]) -> bool {
    let (integers, rest) = chunk.as_chunks::<8>();
    let start = index as usize * CHUNK_INTEGERS;
    let room = state.get_mut(start..start.saturating_add(integers.len())).filter(|_| rest.is_empty());
    let Some(room) = room else { return false };
    room.iter_mut().zip(integers).for_each(|(place, bytes)| *place = i64::from_le_bytes(*bytes));
    true
}

/// Chunk number `index` of a state, empty if there is none.
pub(super) fn chunk(state: &[i64], index: u32) -> &[i64] {
    let rest = (index as usize).checked_mul(CHUNK_INTEGERS).and_then(|start| state.get(start..)).unwrap_or(&[]);
    &rest[..rest.len().min(CHUNK_INTEGERS)]
}
