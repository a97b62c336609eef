//! Copies a factor into the order in which the tile reads it.

use super::matrix::Matrix;

/// Rows `steps` of one panel of a right factor `[depth, columns]`: `panel.len() / steps.len()` columns from `column` on, those
/// beyond the factor zero.
pub(crate) fn right(factor: Matrix<'_>, steps: core::ops::Range<usize>, column: usize, panel: &mut [f32]) {
    let wide = panel.len() / steps.len();
    let columns = wide.min(factor.shape()[1] - column);
    if factor.transposed {
        return turned(factor, steps, column, columns, wide, panel);
    }
    for (step, row) in steps.zip(panel.chunks_exact_mut(wide)) {
        let start = step * factor.stride + column;
        let (head, rest) = row.split_at_mut(columns);
        head.copy_from_slice(&factor.values[start..start + columns]);
        rest.fill(0.0);
    }
}

/// Rows of a stored matrix become columns of the panel, eight steps at a time so that each line of the panel is written once.
fn turned(
    factor: Matrix<'_>,
    steps: core::ops::Range<usize>,
    column: usize,
    columns: usize,
    wide: usize,
    panel: &mut [f32],
) {
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

/// Columns `steps` of one panel of a transposed left factor: for each step `tall` rows from `row` on, those beyond it zero.
pub(crate) fn left(factor: Matrix<'_>, steps: core::ops::Range<usize>, row: usize, tall: usize, panel: &mut [f32]) {
    let rows = tall.min(factor.shape()[0] - row);
    for (step, place) in steps.zip(panel.chunks_exact_mut(tall)) {
        let start = step * factor.stride + row;
        let (head, rest) = place.split_at_mut(rows);
        head.copy_from_slice(&factor.values[start..start + rows]);
        rest.fill(0.0);
    }
}
