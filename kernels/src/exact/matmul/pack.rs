//! Copies a factor into the order in which the tile reads it.

use core::ops::Range;

use super::matrix::Matrix;

/// Rows `steps` of one panel of a right factor `[depth, columns]`: `panel.len() / steps.len()` columns from `column` on, those
/// beyond the factor zero.
pub(crate) fn right(factor: Matrix<'_>, steps: Range<usize>, column: usize, panel: &mut [f32]) {
    let wide = panel.len() / steps.len();
    let columns = wide.min(factor.shape()[1] - column);
    if factor.transposed {
        return turned(factor, steps, column, columns, wide, panel);
    }
    for (step, row) in steps.zip(panel.chunks_exact_mut(wide)) {
        let start = step * factor.stride + column;
        copy(&factor.values[start..start + columns], row);
    }
}

/// Copies a short row and fills the rest with zeros; sixteen at a time, which is faster than asking the C library to.
#[inline(always)]
fn copy(from: &[f32], into: &mut [f32]) {
    let (whole, rest) = from.as_chunks::<16>();
    let (places, last) = into.as_chunks_mut::<16>();
    let mut places = places.iter_mut();
    for (row, place) in whole.iter().zip(&mut places) {
        *place = *row;
    }
    if rest.is_empty() {
        places.for_each(|place| *place = [0.0; 16]);
        last.fill(0.0);
    } else {
        let left = &mut into[whole.len() * 16..];
        left.fill(0.0);
        left[..rest.len()].copy_from_slice(rest);
    }
}

/// Rows of a stored matrix become columns of the panel, eight steps at a time so that each line of the panel is written once.
fn turned(factor: Matrix<'_>, steps: Range<usize>, column: usize, columns: usize, wide: usize, panel: &mut [f32]) {
    const AT_ONCE: usize = 16;
    if columns < wide {
        panel.fill(0.0);
    }
    for (block, rows) in panel.chunks_mut(AT_ONCE * wide).enumerate() {
        let first = steps.start + block * AT_ONCE;
        let count = rows.len() / wide;
        for j in 0..columns {
            let start = (column + j) * factor.stride + first;
            let source = &factor.values[start..start + count];
            for (row, value) in rows.chunks_exact_mut(wide).zip(source) {
                row[j] = *value;
            }
        }
    }
}

/// Steps `steps` of one panel of a left factor: for each step `tall` rows from `row` on, those beyond it zero.
pub(crate) fn left(factor: Matrix<'_>, steps: Range<usize>, row: usize, tall: usize, panel: &mut [f32]) {
    let rows = factor.shape()[0] - row;
    match (rows >= tall, tall) {
        (true, 12) => whole_left::<12>(factor, steps, row, panel),
        (true, 8) => whole_left::<8>(factor, steps, row, panel),
        (true, 6) => whole_left::<6>(factor, steps, row, panel),
        (true, 4) => whole_left::<4>(factor, steps, row, panel),
        (_, _) => part_left(factor, steps, row, tall, panel),
    }
}

fn whole_left<const TALL: usize>(factor: Matrix<'_>, steps: Range<usize>, row: usize, panel: &mut [f32]) {
    let places = panel.as_chunks_mut::<TALL>().0;
    if factor.transposed {
        for (step, place) in steps.zip(places) {
            let values = &factor.values[step * factor.stride + row..];
            place.copy_from_slice(&values[..TALL]);
        }
        return;
    }
    let count = steps.len();
    let lines: [&[f32]; TALL] =
        core::array::from_fn(|i| &factor.values[(row + i) * factor.stride + steps.start..][..count]);
    for (step, place) in places.iter_mut().enumerate().take(count) {
        for (value, line) in place.iter_mut().zip(&lines) {
            *value = line[step];
        }
    }
}

fn part_left(factor: Matrix<'_>, steps: Range<usize>, row: usize, tall: usize, panel: &mut [f32]) {
    let rows = tall.min(factor.shape()[0] - row);
    panel.fill(0.0);
    for (step, place) in steps.zip(panel.chunks_exact_mut(tall)) {
        for (i, value) in place[..rows].iter_mut().enumerate() {
            *value = factor.at(row + i, step);
        }
    }
}
