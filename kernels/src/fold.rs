//! The fold of DESIGN §1: θ(S) = θ₀ − Σ W(u) · decode(u), in integers.

use crate::error::CodecError;
use crate::layout::{Levels, layouts};
use crate::level::level_fixed;
use crate::prefetch::prefetch;
use crate::read::{BATCH, ChunkReader, Sent};
use crate::{CHUNK, TopK, Weight};

/// Whether an update joins the sum or leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The update joins: its weighted values are subtracted from the state.
    Add,
    /// The update leaves: the exact inverse.
    Remove,
}

impl Direction {
    fn inverse(self) -> Self {
        match self {
            Self::Add => Self::Remove,
            Self::Remove => Self::Add,
        }
    }
}

/// Folds a payload into the state: `state[i]` −= round(`weight` · value) for each entry, or += for [`Direction::Remove`].
///
/// Addition wraps, so it is associative and commutative: the same set of updates gives the same bits in any order, and
/// removing what was added restores them. The rounding is half away from zero, of each entry alone.
///
/// The payload is checked chunk by chunk as it is applied; when a chunk is refused, those before it are taken back.
///
/// # Shapes
/// `state`: `[params]`, in units of 2^-40.
///
/// # Errors
/// Those of [`crate::validate`]; the state is then what it was.
pub fn fold(
    k: TopK,
    payload: &[u8],
    weight: Weight,
    direction: Direction,
    state: &mut [i64],
) -> Result<(), CodecError> {
    apply(k, payload, weight, direction, state).map_err(|(error, applied)| {
        let undone = &mut state[..applied];
        // The payload is longer than these chunks, so the undo ends in an error too, but only after the last of them.
        let _ = apply(k, payload, weight, direction.inverse(), undone);
        error
    })
}

/// On error, also says how many parameters the chunks before the refused one span.
fn apply(
    k: TopK,
    payload: &[u8],
    weight: Weight,
    direction: Direction,
    state: &mut [i64],
) -> Result<(), (CodecError, usize)> {
    let mut reader = ChunkReader::new(payload);
    // A chunk's values are asked for when it has been read, and changed when the next one has: reading hides the waiting.
    let (mut coming, mut present) = (Sent::none(), Sent::none());
    let params = state.len();
    let mut places = state.chunks_mut(CHUNK);
    let mut place: &mut [i64] = &mut [];
    for (chunk, layout) in layouts(k, params).enumerate() {
        let read = reader.next(layout, &mut coming);
        let next = places.next().unwrap_or_default();
        if read.is_ok() {
            coming.indices().iter().for_each(|&index| prefetch(&next[usize::from(index)]));
        }
        scatter(&reader, &present, steps(present.levels, weight, direction), place);
        read.map_err(|error| (error, chunk * CHUNK))?;
        std::mem::swap(&mut coming, &mut present);
        place = next;
    }
    scatter(&reader, &present, steps(present.levels, weight, direction), place);
    reader.finish().map_err(|error| (error, params))
}

/// What an entry adds to the state, by its sign bit and size bit: `[negative][large]`.
fn steps(levels: Levels, weight: Weight, direction: Direction) -> [[i64; 2]; 2] {
    let up = [levels.small, levels.large()].map(|code| weight.apply(level_fixed(code)));
    let down = up.map(|step| -step);
    match direction {
        Direction::Add => [down, up],
        Direction::Remove => [up, down],
    }
}

fn scatter(reader: &ChunkReader<'_>, chunk: &Sent, steps: [[i64; 2]; 2], state: &mut [i64]) {
    for (batch, indices) in chunk.indices().chunks(BATCH).enumerate() {
        let (mut signs, mut sizes) = reader.batch(chunk, batch);
        for &index in indices {
            let step = steps[(signs & 1) as usize][(sizes & 1) as usize];
            let value = &mut state[usize::from(index)];
            *value = value.wrapping_add(step);
            signs >>= 1;
            sizes >>= 1;
        }
    }
}
