//! A matrix by the steps of its Gram matrix's sums.
#![allow(unsafe_code)]

use super::super::matmul::symmetric::{EIGHT, Grid, eight_rows};
use super::super::simd::{Kernel, LANES, Simd};

/// Scales a matrix, and writes it a second time in lines as long as its shorter side: `[long, short]`, on the grid.
pub(super) struct Lines<'a> {
    pub(super) scale: f32,
    /// Rows and columns.
    pub(super) shape: [usize; 2],
    pub(super) grid: Grid,
    pub(super) matrix: &'a mut [f32],
    pub(super) lines: &'a mut [f32],
}

impl Kernel for Lines<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scale = s.splat(self.scale);
        for place in self.matrix.chunks_mut(LANES) {
            s.put(s.mul(s.get(place), scale), place);
        }
        for line in self.lines.chunks_exact_mut(self.grid.stride) {
            line[self.grid.side..self.grid.padded].fill(0.0);
        }
        if self.shape[0] <= self.shape[1] { self.turned(s) } else { self.straight() }
    }
}

impl Lines<'_> {
    #[inline(always)]
    fn straight(self) {
        let columns = self.shape[1];
        let rows = self.matrix.chunks_exact(columns);
        rows.zip(self.lines.chunks_exact_mut(self.grid.stride))
            .for_each(|(row, line)| line[..columns].copy_from_slice(row));
    }

    /// Columns become lines.
    #[inline(always)]
    fn turned<S: Simd>(self, s: S) {
        let Self { shape: [rows, columns], grid: Grid { stride, .. }, matrix, lines, .. } = self;
        let whole = [rows / EIGHT * EIGHT, columns / LANES * LANES];
        for column in (0..whole[1]).step_by(LANES) {
            for row in (0..whole[0]).step_by(EIGHT) {
                let turned = eight_rows(s, &matrix[row * columns + column..], columns);
                let places = &mut lines[column * stride + row..][..(LANES - 1) * stride + EIGHT];
                // SAFETY: sixteen places of eight numbers.
                unsafe { s.turn(turned, places.as_mut_ptr(), stride) };
            }
        }
        for row in 0..rows {
            let first = if row < whole[0] { whole[1] } else { 0 };
            for column in first..columns {
                lines[column * stride + row] = matrix[row * columns + column];
            }
        }
    }
}
