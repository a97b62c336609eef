//! Error feedback, selection, quantization and encoding (after SparseLoCo, §3): dense vectors in, a payload out.
//!
//! Departures from the paper: two magnitudes per chunk from a fixed table instead of one float scale, and an entropy-coded
//! index set.

use rayon::prelude::*;

use crate::error::CodecError;
use crate::layout::{Levels, layouts, payload_bytes_max};
use crate::level::{SquareSum, level_f32, nearest_level};
use crate::select::{Selection, bound};
use crate::simd::per_level;
use crate::write::{Entries, Part, PartWriter, join};
use crate::{CHUNK, Norm, TopK, threads};

/// Compresses a segment's pseudo-gradient, with error feedback.
///
/// residual ← `beta`·residual + (`start` − `end`); the `k` of 4096 largest of it are quantized and appended to `payload`
/// (see the format in the source of `layout`); residual ← residual − what was sent. Each of these is one rounded `f32`
/// operation. `beta` near 0.95 works better than 1.
///
/// A chunk's selected magnitudes are split at their mean; each part is sent as its own mean, rounded to the nearest level.
/// Sums run in `f64` in ascending index order. A selected zero is sent with its sign bit: an all-zero chunk
/// sends the smallest level, 2^-31, for its first `k` parameters, and the residual takes it back next time.
///
/// # Shapes
/// `start`, `end`, `residual`: `[params]`.
///
/// # Errors
/// [`CodecError::Lengths`] if the lengths differ; [`CodecError::NonFinite`] names the first parameter whose new residual
/// would be NaN or infinite. Then neither `residual` nor `payload` has changed.
pub fn compress(
    k: TopK,
    beta: f32,
    start: &[f32],
    end: &[f32],
    residual: &mut [f32],
    payload: &mut Vec<u8>,
) -> Result<Norm, CodecError> {
    let params = residual.len();
    if [start.len(), end.len()] != [params; 2] {
        return Err(CodecError::Lengths { start: start.len(), end: end.len(), residual: params });
    }
    check_finite(beta, start, end, residual)?;
    let compress = |((start, end), residual): ((&[f32], &[f32]), &mut [f32])| part(k, beta, start, end, residual);
    let parts: Vec<(Part, SquareSum)> = if threads::pay(params) {
        let vectors = start.par_chunks(PART).zip(end.par_chunks(PART)).zip(residual.par_chunks_mut(PART));
        vectors.map(compress).collect()
    } else {
        let vectors = start.chunks(PART).zip(end.chunks(PART)).zip(residual.chunks_mut(PART));
        vectors.map(compress).collect()
    };
    let (parts, squares): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    join(&parts, payload, payload_bytes_max(k, params));
    Ok(squares.into_iter().fold(SquareSum::default(), SquareSum::plus).norm())
}

/// Parameters that one thread takes at a time. Where the cuts are does not show in the payload.
const PART: usize = 64 * CHUNK;

fn part(k: TopK, beta: f32, start: &[f32], end: &[f32], residual: &mut [f32]) -> (Part, SquareSum) {
    let params = residual.len();
    let mut selection = Selection::new();
    let mut squares = SquareSum::default();
    let pairs = start.chunks(CHUNK).zip(end.chunks(CHUNK));
    let part = PartWriter::part(payload_bytes_max(k, params), |writer| {
        for ((layout, (start, end)), residual) in layouts(k, params).zip(pairs).zip(residual.chunks_mut(CHUNK)) {
            let bound = accumulate(beta, start, end, residual, layout.count);
            selection.select(residual, layout.count, bound);
            let indices = &selection.indices[..layout.count];
            let entries = quantize(indices, residual, &mut squares);
            writer.write(layout, indices, &entries);
        }
    });
    (part, squares)
}

#[inline(always)]
fn feed(beta: f32, start: f32, end: f32, residual: f32) -> f32 {
    beta * residual + (start - end)
}

per_level! {
    /// Whether every parameter's new residual would be a number. A pass of its own, because the next one overwrites the
    /// residual.
    fn all_finite(beta: f32, start: &[f32], end: &[f32], residual: &[f32]) -> bool = all_finite_body
}

#[inline(always)]
fn all_finite_body(beta: f32, start: &[f32], end: &[f32], residual: &[f32]) -> bool {
    const LANES: usize = 32;
    // A finite number times zero is zero; anything else is NaN, and NaN stays in a sum.
    let mut lanes = [0.0; LANES];
    let rows = start.chunks(LANES).zip(end.chunks(LANES)).zip(residual.chunks(LANES));
    for ((start, end), residual) in rows {
        for (lane, ((&s, &e), &r)) in lanes.iter_mut().zip(start.iter().zip(end).zip(residual)) {
            *lane += feed(beta, s, e, r) * 0.0;
        }
    }
    lanes.iter().all(|lane| *lane == 0.0)
}

fn check_finite(beta: f32, start: &[f32], end: &[f32], residual: &[f32]) -> Result<(), CodecError> {
    let finite = |((start, end), residual): ((&[f32], &[f32]), &[f32])| all_finite(beta, start, end, residual);
    let all = if threads::pay(residual.len()) {
        start.par_chunks(PART).zip(end.par_chunks(PART)).zip(residual.par_chunks(PART)).all(finite)
    } else {
        all_finite(beta, start, end, residual)
    };
    if all {
        return Ok(());
    }
    let fed = start.iter().zip(end).zip(residual).map(|((&s, &e), &r)| feed(beta, s, e, r));
    let index = fed.take_while(|fed| fed.is_finite()).count();
    Err(CodecError::NonFinite { index })
}

/// Groups of a chunk whose maxima are taken, at most: four parameters each.
const GROUPS_MAX: usize = CHUNK / 4;

/// residual ← beta·residual + (start − end), and a lower bound of its `count`-th largest magnitude: the `count`-th largest
/// of the maxima of disjoint groups, as each of those groups reaches it.
fn accumulate(beta: f32, start: &[f32], end: &[f32], residual: &mut [f32], count: usize) -> f32 {
    let mut maxima = [0.0; GROUPS_MAX];
    let groups = (4 * count).next_power_of_two().min(GROUPS_MAX);
    let maxima = &mut maxima[..groups];
    feed_all(beta, start, end, residual, maxima);
    if count < groups { bound(maxima, count) } else { 0.0 }
}

per_level! {
    /// residual ← beta·residual + (start − end); element `i` of it is in group `i mod groups`, whose largest magnitude is
    /// left in `maxima`.
    fn feed_all(beta: f32, start: &[f32], end: &[f32], residual: &mut [f32], maxima: &mut [f32]) = feed_all_body
}

#[inline(always)]
fn feed_all_body(beta: f32, start: &[f32], end: &[f32], residual: &mut [f32], maxima: &mut [f32]) {
    let groups = maxima.len();
    let rows = start.chunks(groups).zip(end.chunks(groups)).zip(residual.chunks_mut(groups));
    for ((start, end), residual) in rows {
        for (((maximum, r), &s), &e) in maxima.iter_mut().zip(residual).zip(start).zip(end) {
            *r = feed(beta, s, e, *r);
            let magnitude = r.abs();
            *maximum = if magnitude > *maximum { magnitude } else { *maximum };
        }
    }
}

/// Chooses the two levels, sets the entries' bits, and subtracts what is sent from the residual.
pub(crate) fn quantize(indices: &[u16], residual: &mut [f32], squares: &mut SquareSum) -> Entries {
    let (split, levels) = choose_levels(indices, residual);
    let mut entries = Entries { levels, signs: [0; CHUNK / 64], sizes: [0; CHUNK / 64] };
    // Written without branches: signs and sizes are coin flips, which no CPU predicts.
    let values = [levels.small, levels.large()].map(|code| level_f32(code).to_bits());
    let threshold = if levels.spread > 0 { split } else { f64::INFINITY };
    let mut large_count = 0;
    for (word, indices) in indices.chunks(64).enumerate() {
        let (mut signs, mut sizes) = (0, 0);
        for (bit, &index) in indices.iter().enumerate() {
            let value = &mut residual[usize::from(index)];
            let sign = value.to_bits() >> 31;
            let large = f64::from(value.abs()) > threshold;
            signs |= u64::from(sign) << bit;
            sizes |= u64::from(large) << bit;
            *value -= f32::from_bits(values[usize::from(large)] | sign << 31);
        }
        (entries.signs[word], entries.sizes[word]) = (signs, sizes);
        large_count += sizes.count_ones() as usize;
    }
    squares.add(levels.small, indices.len() - large_count);
    squares.add(levels.large(), large_count);
    entries
}

/// The mean magnitude, and the levels nearest to the mean of those up to it and of those above it.
fn choose_levels(indices: &[u16], residual: &[f32]) -> (f64, Levels) {
    let magnitudes = || indices.iter().map(|&index| f64::from(residual[usize::from(index)].abs()));
    let split = magnitudes().sum::<f64>() / indices.len() as f64;
    let (mut small_sum, mut large_sum, mut large_count) = (0.0, 0.0, 0);
    for magnitude in magnitudes() {
        // Without branches again. All bits one if `magnitude` > `split`: the bits of magnitudes order like integers. Each
        // sum gets the magnitude or a zero, which changes nothing.
        let mask = (split.to_bits().wrapping_sub(magnitude.to_bits()).cast_signed() >> 63).cast_unsigned();
        small_sum += f64::from_bits(magnitude.to_bits() & !mask);
        large_sum += f64::from_bits(magnitude.to_bits() & mask);
        large_count += (mask & 1) as usize;
    }
    let small_count = indices.len() - large_count;
    let mean_level = |sum: f64, count: usize| (count > 0).then(|| nearest_level(sum / count as f64));
    let (small, large) = (mean_level(small_sum, small_count), mean_level(large_sum, large_count));
    // Rounding can put the mean above or below all of equal magnitudes; then there is one level.
    let code = small.or(large).unwrap_or(0);
    (split, Levels { small: code, spread: large.unwrap_or(code).saturating_sub(code) })
}
