//! The contents of a blob that is being fetched: a chunk is copied to its place as soon as it is checked.
//!
//! What a fetch of a final state holds, and when: from the chunk list on, the state itself, once, as the integers that the
//! fold will use; beside it the fold's present state, wherever the host keeps states; and one chunk, the newest. The chunks
//! of a fetch before a restart are checked where they are. When the last chunk is placed, the integers become the fold's
//! state without a copy, and the fold's former state is dropped.

use murmur_collectives::{FOUNDATION_BYTES_MAX, Rules, State};
use murmur_kernels::BLOB_CHUNK;

use super::fetched;

/// The kind of a blob, and the length that is accepted for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// A blob of at most this many bytes.
    Bytes(u64),
    /// A blob of exactly this many bytes: the payload of an update, which says how long it is.
    Payload(u64),
    /// A state of this many parameters.
    State(u64),
}

impl Wanted {
    /// The foundation of a final frontier.
    pub(crate) fn foundation() -> Self {
        Self::Bytes(FOUNDATION_BYTES_MAX as u64)
    }

    /// The state of a final frontier.
    pub(crate) fn state(rules: &Rules) -> Self {
        Self::State(rules.parameters)
    }

    /// Whether a blob of this kind may have `length` bytes.
    pub(super) fn fits(self, length: u64) -> bool {
        match self {
            Self::Bytes(most) => length <= most,
            Self::Payload(exactly) => length == exactly,
            Self::State(parameters) => Some(length) == parameters.checked_mul(8),
        }
    }

    /// Empty contents of `length` bytes, which must fit; `state` allocates a state.
    pub(super) fn room(self, length: u64, state: impl FnOnce() -> State) -> Contents {
        match self {
            // Zeros that nobody has written to take no memory yet.
            Self::Bytes(_) | Self::Payload(_) => Contents::Bytes(vec![0; usize::try_from(length).unwrap_or(0)]),
            Self::State(_) => Contents::State(state()),
        }
    }
}

/// The contents so far; zero where a chunk is missing.
#[derive(Debug)]
pub(super) enum Contents {
    Bytes(Vec<u8>),
    State(State),
}

impl Contents {
    /// Copies chunk number `index` to its place. False if it has none: then nothing changes.
    pub(super) fn place(&mut self, index: u32, chunk: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => {
                let start = index as usize * BLOB_CHUNK;
                let place = bytes.get_mut(start..start.saturating_add(chunk.len()));
                place.map(|place| place.copy_from_slice(chunk)).is_some()
            }
            Self::State(state) => fetched::place(state, index, chunk),
        }
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::State(state) => size_of_val(&**state),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::fetched::CHUNK_INTEGERS;
    use super::*;

    fn room_for(wanted: Wanted, length: usize) -> Contents {
        wanted.room(length as u64, || vec![0; length / 8].into())
    }

    fn state_of(contents: Contents) -> Vec<i64> {
        match contents {
            Contents::State(state) => state.to_vec(),
            Contents::Bytes(_) => panic!("a state was asked for"),
        }
    }

    #[test]
    fn a_state_is_the_integers_of_its_chunks_in_whatever_order_they_come() {
        let state: Vec<i64> = (0..2 * CHUNK_INTEGERS as i64 + 5).map(|i| i * i - 7_000_000).collect();
        let bytes: Vec<u8> = state.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut contents = room_for(Wanted::State(state.len() as u64), bytes.len());
        for index in [2, 0, 1] {
            assert!(contents.place(index, bytes.chunks(BLOB_CHUNK).nth(index as usize).unwrap()));
        }
        assert_eq!(contents.held_bytes(), bytes.len());
        assert_eq!(state_of(contents), state);
    }

    #[test]
    fn what_has_no_place_changes_nothing() {
        let mut contents = room_for(Wanted::State(10), 80);
        for (index, length) in [(0, 81), (0, 88), (0, 7), (1, 8), (u32::MAX, 8)] {
            assert!(!contents.place(index, &vec![1; length]), "chunk {index} of {length} bytes");
        }
        assert_eq!(state_of(contents), [0; 10]);
        let mut bytes = room_for(Wanted::Bytes(100), 9);
        assert!(!bytes.place(0, &[1; 10]) && !bytes.place(1, &[1]) && bytes.place(0, &[1; 9]));
    }

    #[test]
    fn only_a_state_of_the_right_length_fits() {
        assert!(Wanted::Payload(10).fits(10) && !Wanted::Payload(10).fits(9));
        assert!(Wanted::State(10).fits(80) && !Wanted::State(10).fits(79) && !Wanted::State(u64::MAX).fits(u64::MAX));
        assert!(Wanted::Bytes(10).fits(10) && Wanted::Bytes(10).fits(0) && !Wanted::Bytes(10).fits(11));
    }
}
