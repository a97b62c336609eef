//! The two halves of the wire kernels that stay on a CPU when the dense vectors live elsewhere, as on a GPU: few numbers in, few
//! numbers out.

use crate::compress::quantize;
use crate::error::CodecError;
use crate::fold::{Direction, steps};
use crate::layout::{layouts, payload_bytes_max};
use crate::level::SquareSum;
use crate::read::{BATCH, ChunkReader, Sent};
use crate::write::{PartWriter, join};
use crate::{CHUNK, Norm, TopK, Weight};

/// The second half of [`crate::compress`], for a caller that fed the errors back and selected by itself: appends to `payload`
/// what `compress` would, and subtracts what is sent from `values`, which are then the new residuals.
///
/// # Shapes
/// `indices`, `values`: `[sent]`, `k.of_chunk(len)` of each chunk of a vector of `params`; indices count from their chunk's first
/// parameter and ascend.
///
/// # Errors
/// [`CodecError::NonFinite`] if a value is NaN or infinite, with its parameter; [`CodecError::Index`] if a chunk's indices do not
/// ascend or leave it. Then neither `values` nor `payload` has changed.
///
/// # Panics
/// If the lengths do not follow from `k` and `params`: a bug of the caller.
pub fn encode_selected(
    k: TopK,
    params: usize,
    indices: &[u16],
    values: &mut [f32],
    payload: &mut Vec<u8>,
) -> Result<Norm, CodecError> {
    assert_eq!([indices.len(), values.len()], [k.of_vector(params); 2], "as many entries as the density says");
    check(k, params, indices, values)?;
    let mut everything = [0; CHUNK];
    everything.iter_mut().zip(0..).for_each(|(place, index)| *place = index);
    let (mut squares, mut at, bytes_max) = (SquareSum::default(), 0, payload_bytes_max(k, params));
    let part = PartWriter::part(bytes_max, |writer| {
        for layout in layouts(k, params) {
            let entries = quantize(&everything[..layout.count], &mut values[at..], &mut squares);
            writer.write(layout, &indices[at..at + layout.count], &entries);
            at += layout.count;
        }
    });
    // No chunks, no part: a part begins with its levels.
    join(if params > 0 { std::slice::from_ref(&part) } else { &[] }, payload, bytes_max);
    Ok(squares.norm())
}

fn check(k: TopK, params: usize, indices: &[u16], values: &[f32]) -> Result<(), CodecError> {
    let mut at = 0;
    for (chunk, layout) in layouts(k, params).enumerate() {
        let indices = &indices[at..at + layout.count];
        let values = &values[at..at + layout.count];
        let inside = indices.last().is_none_or(|&last| usize::from(last) < layout.len);
        if !inside || !indices.is_sorted_by(|a, b| a < b) {
            return Err(CodecError::Index { chunk });
        }
        if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
            return Err(CodecError::NonFinite { index: chunk * CHUNK + usize::from(indices[bad]) });
        }
        at += layout.count;
    }
    Ok(())
}

/// What a payload adds to the state: see [`fold_steps`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Parameters that change, ascending. `[sent]`
    pub indices: Vec<u32>,
    /// What is added to each, wrapping, in units of 2^-40. `[sent]`
    pub amounts: Vec<i64>,
}

/// The first half of [`crate::fold`], for a caller whose state lives elsewhere: checks the payload completely, and says what it
/// adds to which parameter.
///
/// # Errors
/// Those of [`crate::validate`].
///
/// # Panics
/// If `params` is 2^32 or more: a bug of the caller.
pub fn fold_steps(
    k: TopK,
    params: usize,
    payload: &[u8],
    weight: Weight,
    direction: Direction,
) -> Result<Steps, CodecError> {
    assert!(u32::try_from(params).is_ok(), "indices have 32 bits");
    let (mut reader, mut sent) = (ChunkReader::new(payload), Sent::none());
    let mut out = Steps::default();
    for (chunk, layout) in layouts(k, params).enumerate() {
        reader.next(layout, &mut sent)?;
        let steps = steps(sent.levels, weight, direction);
        for (batch, indices) in sent.indices().chunks(BATCH).enumerate() {
            let (mut signs, mut sizes) = reader.batch(&sent, batch);
            for &index in indices {
                out.indices.push((chunk * CHUNK) as u32 + u32::from(index));
                out.amounts.push(steps[(signs & 1) as usize][(sizes & 1) as usize]);
                signs >>= 1;
                sizes >>= 1;
            }
        }
    }
    reader.finish()?;
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{compress, fold, reference};

    fn vector(params: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / 16_777_216.0 - 0.5) * 0.01
        };
        (0..params).map(|_| next()).collect()
    }

    #[test]
    fn the_halves_make_the_whole() {
        for (k, params) in [(16, 1), (64, 4096), (64, 4097), (300, 9000), (4096, 5000), (64, 0)] {
            let k = TopK::new(k).unwrap();
            let (start, end) = (vector(params, 1), vector(params, 2));
            let (mut whole, mut residual) = (Vec::new(), vector(params, 3));
            let mut fed: Vec<f32> = (0..params).map(|i| 0.95 * residual[i] + (start[i] - end[i])).collect();
            let norm = compress(k, 0.95, &start, &end, &mut residual, &mut whole).unwrap();
            let sent = fed.chunks(CHUNK).map(|chunk| reference::select(chunk, k.of_chunk(chunk.len())));
            let indices: Vec<u16> = sent.flatten().map(|index| index as u16).collect();
            let places: Vec<usize> =
                (0..indices.len()).map(|i| i / usize::from(k.get()) * CHUNK + usize::from(indices[i])).collect();
            let mut values: Vec<f32> = places.iter().map(|&place| fed[place]).collect();
            let mut payload = Vec::new();
            assert_eq!(encode_selected(k, params, &indices, &mut values, &mut payload), Ok(norm));
            assert_eq!(payload, whole);
            places.iter().zip(values).for_each(|(&place, left)| fed[place] = left);
            assert_eq!(fed, residual);
        }
    }

    #[test]
    fn steps_are_what_a_fold_adds() {
        let (k, params) = (TopK::new(64).unwrap(), 9000);
        let mut payload = Vec::new();
        compress(k, 0.9, &vector(params, 1), &vector(params, 2), &mut vector(params, 3), &mut payload).unwrap();
        for direction in [Direction::Add, Direction::Remove] {
            let weight = Weight::new(77_777).unwrap();
            let mut state = vec![5i64; params];
            fold(k, &payload, weight, direction, &mut state).unwrap();
            let steps = fold_steps(k, params, &payload, weight, direction).unwrap();
            let mut again = vec![5i64; params];
            steps.indices.iter().zip(&steps.amounts).for_each(|(&i, &amount)| again[i as usize] += amount);
            assert_eq!(again, state);
        }
        assert!(fold_steps(k, params, &payload[1..], Weight::ONE, Direction::Add).is_err());
    }

    #[test]
    fn what_cannot_be_encoded_is_refused_and_nothing_changes() {
        let k = TopK::new(64).unwrap();
        let refuse = |indices: [u16; 2], values: [f32; 2]| {
            let (mut changed, mut payload) = (values, vec![7]);
            let error = encode_selected(k, 70, &indices, &mut changed, &mut payload).unwrap_err();
            assert_eq!((changed.map(f32::to_bits), payload), (values.map(f32::to_bits), vec![7]));
            error
        };
        assert_eq!(refuse([3, 3], [1.0, 2.0]), CodecError::Index { chunk: 0 });
        assert_eq!(refuse([3, 70], [1.0, 2.0]), CodecError::Index { chunk: 0 });
        assert_eq!(refuse([3, 9], [1.0, f32::NAN]), CodecError::NonFinite { index: 9 });
    }
}
