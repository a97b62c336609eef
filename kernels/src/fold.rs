//! The fold (ARCHITECTURE.md, "The idea"): θ(S) = θ₀ − Σ W(u) · decode(u), in integers.

use std::iter;

use rayon::prelude::*;

use crate::error::CodecError;
use crate::layout::{Levels, layouts};
use crate::level::level_fixed;
use crate::prefetch::prefetch;
use crate::read::{BATCH, ChunkReader, Sent};
use crate::{CHUNK, TopK, Weight, threads};

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
    let fold = Folding { k, weight };
    let parts = if threads::pay(state.len()) { parts(k, payload, state.len()) } else { None };
    match parts {
        Some(parts) => fold.together(&parts, direction, state),
        None => fold.alone(ChunkReader::new(payload), direction, state),
    }
}

/// Parameters that one thread takes at a time: 2 MiB of state.
const PART: usize = 64 * CHUNK;

/// A reader at the beginning of each part. `None` if some chunk is malformed: to find the first such is left to one thread.
fn parts(k: TopK, payload: &[u8], params: usize) -> Option<Vec<ChunkReader<'_>>> {
    let mut reader = ChunkReader::new(payload);
    let mut parts = Vec::with_capacity(params.div_ceil(PART));
    for (chunk, layout) in layouts(k, params).enumerate() {
        if chunk % (PART / CHUNK) == 0 {
            parts.push(reader.clone());
        }
        reader.skip(layout)?;
    }
    reader.finish().ok().map(|()| parts)
}

/// A chunk was refused: why, and how many parameters the chunks before it span.
type Refusal = (CodecError, usize);

struct Folding {
    k: TopK,
    weight: Weight,
}

impl Folding {
    fn alone(&self, reader: ChunkReader<'_>, direction: Direction, state: &mut [i64]) -> Result<(), CodecError> {
        let result = self
            .apply(reader.clone(), direction, state)
            .and_then(|reader| reader.finish().map_err(|error| (error, state.len())));
        result.map_err(|(error, applied)| {
            self.undo(reader, direction, &mut state[..applied]);
            error
        })
    }

    /// The parts in any order, by all threads. The first refusal counts, and then every part is taken back.
    fn together(&self, parts: &[ChunkReader<'_>], direction: Direction, state: &mut [i64]) -> Result<(), CodecError> {
        let places = parts.par_iter().zip(state.par_chunks_mut(PART));
        let results: Vec<Result<(), Refusal>> =
            places.map(|(part, state)| self.apply(part.clone(), direction, state).map(drop)).collect();
        let Some(error) = results.iter().find_map(|result| result.err()).map(|(error, _)| error) else { return Ok(()) };
        for ((part, state), result) in parts.iter().zip(state.chunks_mut(PART)).zip(results) {
            let applied = result.map_or_else(|(_, applied)| applied, |()| state.len());
            self.undo(part.clone(), direction, &mut state[..applied]);
        }
        Err(error)
    }

    fn undo(&self, reader: ChunkReader<'_>, direction: Direction, applied: &mut [i64]) {
        let undone = self.apply(reader, direction.inverse(), applied);
        debug_assert!(undone.is_ok(), "these chunks were accepted before");
    }

    /// Applies as many chunks as `state` has, and returns the reader behind them. While a chunk is applied, the places of the
    /// next one, which has been read, are asked for, so that memory is never idle.
    fn apply<'a>(
        &self,
        mut reader: ChunkReader<'a>,
        direction: Direction,
        state: &mut [i64],
    ) -> Result<ChunkReader<'a>, Refusal> {
        let (mut now, mut before) = (&mut Sent::none(), &mut Sent::none());
        let mut waiting: &mut [i64] = &mut [];
        let layouts = layouts(self.k, state.len());
        for ((chunk, layout), state) in layouts.enumerate().zip(state.chunks_mut(CHUNK)) {
            let read = reader.next(layout, now);
            let next = if read.is_ok() { now.indices() } else { &[] };
            let mut places = next.iter().map(|&index| &state[usize::from(index)]);
            scatter(&reader, before, steps(before.levels, self.weight, direction), waiting, &mut places);
            places.for_each(prefetch);
            read.map_err(|error| (error, chunk * CHUNK))?;
            core::mem::swap(&mut now, &mut before);
            waiting = state;
        }
        scatter(&reader, before, steps(before.levels, self.weight, direction), waiting, iter::empty());
        Ok(reader)
    }
}

/// What an entry adds to the state, by its sign bit and size bit: `[negative][large]`.
pub(crate) fn steps(levels: Levels, weight: Weight, direction: Direction) -> [[i64; 2]; 2] {
    let up = [levels.small, levels.large()].map(|code| weight.apply(level_fixed(code)));
    let down = up.map(|step| -step);
    match direction {
        Direction::Add => [down, up],
        Direction::Remove => [up, down],
    }
}

/// Adds what a chunk sends to its part of the state, and for each entry asks for one of the places that come next: all at once
/// would be more than a processor can wait for.
fn scatter<'a>(
    reader: &ChunkReader<'_>,
    chunk: &Sent,
    steps: [[i64; 2]; 2],
    state: &mut [i64],
    mut places: impl Iterator<Item = &'a i64>,
) {
    for (batch, indices) in chunk.indices().chunks(BATCH).enumerate() {
        let (mut signs, mut sizes) = reader.batch(chunk, batch);
        for &index in indices {
            if let Some(place) = places.next() {
                prefetch(place);
            }
            let step = steps[(signs & 1) as usize][(sizes & 1) as usize];
            let value = &mut state[usize::from(index)];
            *value = value.wrapping_add(step);
            signs >>= 1;
            sizes >>= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "millions of parameters take hours there")]
    fn a_good_payload_is_cut_into_parts_and_a_bad_one_is_not() {
        for (k, params) in [(64, 2 * PART), (3000, PART + 1), (4096, 3 * PART - 5)] {
            let k = TopK::new(k).unwrap();
            let change: Vec<f32> = (0..params).map(|i| ((i * 7919) % 1009) as f32 - 500.0).collect();
            let mut payload = Vec::new();
            crate::compress(k, 0.0, &change, &vec![0.0; params], &mut vec![0.0; params], &mut payload).unwrap();
            let count = parts(k, &payload, params).map(|parts| parts.len());
            assert_eq!(count, Some(params.div_ceil(PART)), "else large payloads would silently take one thread");
            assert!(parts(k, &payload[..payload.len() - 1], params).is_none());
            payload.push(0);
            assert!(parts(k, &payload, params).is_none());
        }
    }
}
