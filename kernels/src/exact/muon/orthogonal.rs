//! The orthogonal matrix nearest to a matrix, approximately.

use super::super::buffer::Buffer;
use super::super::matmul::symmetric::{Combination, Grid, SymmetricProduct, Then};
use super::super::matmul::{Matrix, Scratch, ShapeError, Start, matmul_then, product_scratch};
use super::super::pool::Pool;
use super::super::simd::Level;
use super::lines::Lines;
use crate::global_norm;

/// Coefficients `[a, b, c, d, e]` of `a·x + b·x³ + c·x⁵ + d·x⁷ + e·x⁹`, in the order they are applied.
///
/// Each comes as near to one as such a polynomial can, everywhere between the least and the greatest that the one before it leaves of
/// the singular values from 0.0018 to 1 (the method of Polar Express, arXiv 2505.16932, §3, there of degree five); the last is scaled so
/// that the mean square over the smaller of them is that of five steps of Jordan et al.
pub const POLYNOMIALS: [[f32; 5]; 3] = [
    [14.906, -144.87, 478.34, -610.0, 263.3],
    [6.8156, -16.392, 13.748, -4.479, 0.495],
    [3.9675, -8.4238, 7.5308, -2.748, 0.34706],
];

/// Added to the norm of a matrix, so that one of zeros stays zero.
const NORM_MIN: f32 = 1e-12;

/// Memory for one matrix at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    /// The matrix, to be filled by the caller. `[rows, columns]`
    pub(super) matrix: Buffer,
    /// The same by the steps of its Gram matrix; then the result.
    lines: Buffer,
    /// Gram matrix, its square, part of a polynomial, a polynomial, product of those so far.
    squares: [Buffer; 5],
    scratch: Scratch,
}

impl Workspace {
    /// Bytes of memory for a matrix of these sides.
    pub(super) fn bytes([rows, columns]: [usize; 2]) -> usize {
        let (short, long) = (rows.min(columns), rows.max(columns));
        let grid = Grid::new(short);
        let factor = product_scratch(short, columns);
        size_of::<f32>() * (short * long + long * grid.stride + 5 * grid.square() + factor)
    }

    /// Calls `finish(first number, some rows of the orthogonal matrix, the same rows of beside)` for all of it.
    ///
    /// # Errors
    /// `beside` is not as long as the matrix.
    pub(super) fn orthogonalize(
        &mut self,
        level: Level,
        shape: [usize; 2],
        beside: &mut [f32],
        finish: impl Fn(&[f32], &mut [f32]) + Sync + Send,
    ) -> Result<(), ShapeError> {
        let Self { matrix, lines, squares, scratch } = self;
        let [rows, columns] = shape;
        let (grid, long) = (Grid::new(rows.min(columns)), rows.max(columns));
        let scale = 1.0 / (global_norm(matrix) + NORM_MIN);
        level.run(Lines { scale, shape, grid, matrix, lines: lines.fit(long * grid.stride) });
        let [gram, ..] = squares.each_mut().map(|square| square.fit(grid.square()));
        level.run(SymmetricProduct { grid, steps: long, factors: [lines, lines], out: gram, then: Then::Keep });
        let root = Matrix::strided(inverse_root(level, grid, squares), grid.side, grid.side, grid.stride)?;
        let x = Matrix::new(matrix, rows, columns)?;
        let factors = if rows <= columns { [root, x] } else { [x, root] };
        let results = [lines.fit(rows * columns), beside, &mut []];
        matmul_then(&Pool::single(level), factors, Start::Zero, results, scratch, |_, rows, beside| {
            finish(rows, beside);
        })
    }
}

/// The product of the polynomials, each of the Gram matrix of what the ones before it left: the polynomial of degree four of the
/// first square, which is not stated afterwards.
fn inverse_root(level: Level, grid: Grid, squares: &mut [Buffer; 5]) -> &[f32] {
    let [gram, squared, part, polynomial, product] = squares;
    let multiply = |factors: [&[f32]; 2], out: &mut [f32], then: Then<'_>| {
        level.run(SymmetricProduct { grid, steps: grid.side, factors, out, then });
    };
    for (index, &[a, b, c, d, e]) in POLYNOMIALS.iter().enumerate() {
        let high = Combination { weights: [e, d], other: gram, diagonal: c };
        multiply([gram, gram], squared, Then::Also(high, part));
        let low = Combination { weights: [1.0, b], other: gram, diagonal: a };
        multiply([squared, part], polynomial, Then::Become(low));
        if index + 1 < POLYNOMIALS.len() {
            multiply([polynomial, gram], part, Then::Keep);
            multiply([polynomial, part], gram, Then::Keep);
        }
        if index == 0 {
            core::mem::swap(product, polynomial);
        } else {
            multiply([polynomial, product], squared, Then::Keep);
            core::mem::swap(product, squared);
        }
    }
    product
}
