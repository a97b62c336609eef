//! Products that are symmetric but for rounding: half of one is computed, the other half is its mirror image.
//!
//! Neither factor is packed. The left one is stored by steps, as a symmetric matrix is in any case, so that a tile finds its rows side
//! by side at each step; rows are padded such that those of one panel do not share few sets of the cache.
#![allow(unsafe_code)]

use super::super::simd::{Kernel, LANES, Row, Simd};
use super::DEPTH;

/// Rows that are turned at once.
pub(crate) const EIGHT: usize = 8;

/// Steps that a panel of the right factor is asked for ahead.
const AHEAD: usize = 8;

/// How a square matrix lies in memory, and a factor with as many columns: its columns are padded with zeros, which stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Rows, and columns.
    pub(crate) side: usize,
    /// The same in whole vectors.
    pub(crate) padded: usize,
    /// From a row to the next: an odd number of cache lines.
    pub(crate) stride: usize,
}

impl Grid {
    pub(crate) fn new(side: usize) -> Self {
        let padded = side.next_multiple_of(LANES);
        let stride = padded + if (padded / LANES).is_multiple_of(2) { LANES } else { 0 };
        Self { side, padded, stride }
    }

    /// Numbers of a square.
    pub(crate) fn square(self) -> usize {
        self.padded * self.stride
    }
}

/// `out = left · right`, of which the lower triangle counts. All matrices lie on the grid.
pub(crate) struct SymmetricProduct<'a> {
    pub(crate) grid: Grid,
    /// Terms of each sum.
    pub(crate) steps: usize,
    /// The left factor by columns, and the right by rows: `[steps, side]`.
    pub(crate) factors: [&'a [f32]; 2],
    /// `[side, side]`
    pub(crate) out: &'a mut [f32],
    pub(crate) then: Then<'a>,
}

/// What becomes of a product.
pub(crate) enum Then<'a> {
    /// It is the result.
    Keep,
    /// The result is a combination.
    Become(Combination<'a>),
    /// It is the result, and this is a combination.
    Also(Combination<'a>, &'a mut [f32]),
}

/// `fma(weights[0], product, weights[1] · other)`, and `diagonal` added on the diagonal.
#[derive(Clone, Copy)]
pub(crate) struct Combination<'a> {
    pub(crate) weights: [f32; 2],
    pub(crate) other: &'a [f32],
    pub(crate) diagonal: f32,
}

impl SymmetricProduct<'_> {
    /// Everything that the tiles will touch is inside the slices: checked once, before the first.
    fn check(&self) {
        let Self { grid, steps, factors: [left, right], out, then } = self;
        let lies = |values: &[f32], rows: usize| rows.checked_mul(grid.stride).is_some_and(|len| len <= values.len());
        assert!(lies(left, *steps) && lies(right, *steps), "a factor is not on the grid");
        let (other, also) = match then {
            Then::Keep => (None, None),
            Then::Become(combination) => (Some(combination.other), None),
            Then::Also(combination, also) => (Some(combination.other), Some(&**also)),
        };
        assert!(lies(out, grid.padded), "the result is not on the grid");
        assert!([other, also].into_iter().flatten().all(|values| lies(values, grid.padded)), "nor is its combination");
    }
}

impl Kernel for SymmetricProduct<'_> {
    type Out = ();

    /// A panel of the right factor stays in cache while the rows below its first column pass by.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.check();
        let Self { grid, steps, factors: [left, right], out, then } = self;
        let (combination, mut also) = match then {
            Then::Keep => (None, None),
            Then::Become(combination) => (Some(combination), None),
            Then::Also(combination, also) => (Some(combination), Some(also)),
        };
        let squares = [out.as_mut_ptr(), also.as_mut().map_or(core::ptr::null_mut(), |also| also.as_mut_ptr())];
        let [tall, wide] = S::SYMMETRIC_TILE;
        for first in (0..steps.max(1)).step_by(DEPTH) {
            let depth = (steps - first).min(DEPTH);
            let combination = combination.filter(|_| first + depth == steps);
            for column in (0..grid.padded).step_by(wide) {
                for row in (column..grid.padded).step_by(tall) {
                    let end = (row + tall).next_multiple_of(LANES).min(column + wide).min(grid.padded);
                    let place = row * grid.stride + column;
                    let tile = Tile {
                        depth,
                        factors: [
                            left.as_ptr().wrapping_add(first * grid.stride + row),
                            right.as_ptr().wrapping_add(first * grid.stride + column),
                        ],
                        stride: grid.stride,
                        width: (end - column) / LANES,
                        out: squares[0].wrapping_add(place),
                        also: if squares[1].is_null() { squares[1] } else { squares[1].wrapping_add(place) },
                        fresh: first == 0,
                        combination: combination.map(|with| (with.weights, with.other.as_ptr().wrapping_add(place))),
                    };
                    // SAFETY: `check` found all rows of all matrices inside their slices, and the result's are borrowed alone.
                    unsafe { s.symmetric_tile(tile) };
                }
            }
        }
        let last = also.unwrap_or(&mut *out);
        finish(s, grid, last, combination.map_or(0.0, |with| with.diagonal));
        if !squares[1].is_null() {
            finish(s, grid, out, 0.0);
        }
    }
}

/// Adds to the diagonal and mirrors the triangle.
#[inline(always)]
fn finish<S: Simd>(s: S, grid: Grid, matrix: &mut [f32], diagonal: f32) {
    if diagonal != 0.0 {
        matrix.iter_mut().step_by(grid.stride + 1).take(grid.side).for_each(|value| *value += diagonal);
    }
    s.enter(Mirror { grid, matrix });
}

/// Some rows and columns of the result over one block of steps.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Length of the sums.
    depth: usize,
    /// The first row of the tile at the first step, and its first column.
    factors: [*const f32; 2],
    /// From a step to the next, and from a row of a result to the next.
    stride: usize,
    /// Vectors of columns.
    width: usize,
    out: *mut f32,
    /// Null, or where the combination goes.
    also: *mut f32,
    /// The sums are the product, not added to what the result holds.
    fresh: bool,
    /// Weights, and the other part.
    combination: Option<([f32; 2], *const f32)>,
}

/// Computes a tile of `ROWS` rows and at most `16 · WIDE` columns.
///
/// # Safety
/// Both factors are readable at each step, the other part and the results over the whole tile, the results writable; nothing else
/// refers to them.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const ROWS: usize, const WIDE: usize>(s: S, job: Tile) {
    // SAFETY: the caller's promise, passed on; a tile is at most as wide as the instruction set's.
    unsafe {
        if WIDE > 2 && job.width > 2 {
            sums::<S, ROWS, 3>(s, job);
        } else if WIDE > 1 && job.width > 1 {
            sums::<S, ROWS, 2>(s, job);
        } else {
            sums::<S, ROWS, 1>(s, job);
        }
    }
}

#[inline(always)]
unsafe fn sums<S: Simd, const R: usize, const W: usize>(s: S, job: Tile) {
    let mut sums = [[s.splat(0.0); W]; R];
    let [mut left, mut right] = job.factors;
    // SAFETY: the caller's promise.
    unsafe {
        for _ in 0..job.depth {
            let mut columns = [s.splat(0.0); W];
            s.prefetch_read(left.wrapping_add(AHEAD * job.stride));
            for (j, column) in columns.iter_mut().enumerate() {
                s.prefetch_read(right.wrapping_add(AHEAD * job.stride + j * LANES));
                *column = s.load(&*right.add(j * LANES).cast::<Row>());
            }
            for (i, row) in sums.iter_mut().enumerate() {
                let number = s.splat(*left.add(i));
                for (sum, column) in row.iter_mut().zip(columns) {
                    *sum = s.fma(number, column, *sum);
                }
            }
            (left, right) = (left.wrapping_add(job.stride), right.wrapping_add(job.stride));
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                deliver(s, job, i * job.stride + j * LANES, *sum);
            }
        }
    }
}

/// A vector of a tile to its place.
#[inline(always)]
unsafe fn deliver<S: Simd>(s: S, job: Tile, place: usize, mut sum: S::V) {
    // SAFETY: the caller's promise.
    unsafe {
        let out = &mut *job.out.add(place).cast::<Row>();
        if !job.fresh {
            sum = s.add(s.load(out), sum);
        }
        let Some(([of_sum, of_other], other)) = job.combination else { return s.store(sum, out) };
        let other = s.mul(s.splat(of_other), s.load(&*other.add(place).cast::<Row>()));
        let combined = s.fma(s.splat(of_sum), sum, other);
        if job.also.is_null() {
            s.store(combined, out);
        } else {
            s.store(sum, out);
            s.store(combined, &mut *job.also.add(place).cast::<Row>());
        }
    }
}

/// What lies below the diagonal is copied to above it.
struct Mirror<'a> {
    grid: Grid,
    matrix: &'a mut [f32],
}

impl Kernel for Mirror<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { grid: Grid { padded, stride, .. }, matrix } = self;
        assert!(padded * stride <= matrix.len(), "a matrix on the grid");
        for column in (0..padded).step_by(LANES) {
            let mut block = [[0.0; LANES]; LANES];
            for half in [0, EIGHT] {
                let rows = eight_rows(s, &matrix[(column + half) * stride + column..], stride);
                // SAFETY: sixteen rows of sixteen numbers, of which each half writes eight.
                unsafe { s.turn(rows, block.as_mut_ptr().cast::<f32>().add(half), LANES) };
            }
            for (lane, turned) in block.iter().enumerate() {
                let own = &mut matrix[(column + lane) * stride + column..][..LANES];
                let (first, index) = (s.splat(lane as f32), s.load(&INDEX));
                s.put(s.if_less(first, index, s.load(turned), s.get(own)), own);
            }
            for row in (column + LANES..padded).step_by(EIGHT) {
                let rows = eight_rows(s, &matrix[row * stride + column..], stride);
                let above = &mut matrix[column * stride + row..][..(LANES - 1) * stride + EIGHT];
                // SAFETY: sixteen places of eight numbers.
                unsafe { s.turn(rows, above.as_mut_ptr(), stride) };
            }
        }
    }
}

const INDEX: Row = {
    let mut index = [0.0; LANES];
    let mut lane = 0;
    while lane < LANES {
        index[lane] = lane as f32;
        lane += 1;
    }
    index
};

/// The first sixteen numbers of eight rows.
#[inline(always)]
pub(crate) fn eight_rows<S: Simd>(s: S, from: &[f32], stride: usize) -> [S::V; EIGHT] {
    let mut rows = [s.splat(0.0); EIGHT];
    for (row, line) in rows.iter_mut().zip(from.chunks(stride)) {
        *row = s.get(&line[..LANES]);
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::pool::Pool;
    use super::super::super::random::uniform;
    use super::super::super::simd::Level;
    use super::super::{Matrix, Scratch, Start, matmul};
    use super::*;

    /// `[rows, side]` on the grid.
    fn on_grid(grid: Grid, rows: usize, stream: u64) -> Vec<f32> {
        let mut values = vec![0.0; rows * grid.stride];
        uniform(stream, 0, &mut values);
        for line in values.chunks_exact_mut(grid.stride) {
            line.iter_mut().for_each(|value| *value -= 0.5);
            line[grid.side..grid.padded].fill(0.0);
        }
        values
    }

    fn whole(grid: Grid, steps: usize, [left, right]: [&[f32]; 2]) -> Vec<f32> {
        let mut out = vec![9.0; grid.side * grid.side];
        let matrix = |values| Matrix::strided(values, steps, grid.side, grid.stride).unwrap();
        let (left, right) = (matrix(left).transposed(), matrix(right));
        matmul(&Pool::single(Level::SCALAR), left, right, Start::Zero, &mut out, &mut Scratch::default()).unwrap();
        out
    }

    #[test]
    fn a_symmetric_product_is_the_lower_triangle_of_the_whole_one_and_its_mirror_image() {
        for [side, steps] in [[1, 1], [7, 3], [16, 16], [64, 300], [97, 40], [200, 513], [3, 0]] {
            let grid = Grid::new(side);
            let (left, right, other) =
                (on_grid(grid, steps, 1), on_grid(grid, steps, 2), on_grid(grid, grid.padded, 3));
            let factors = [&left[..], &right[..]];
            let whole = whole(grid, steps, factors);
            let with = Combination { weights: [0.3, 1.7], other: &other, diagonal: 0.9 };
            let sum = |row: usize, column: usize| whole[row.max(column) * side + row.min(column)];
            let combined = |row: usize, column: usize| {
                let other = other[row.max(column) * grid.stride + row.min(column)];
                0.3f32.mul_add(sum(row, column), 1.7 * other) + if row == column { 0.9 } else { 0.0 }
            };
            for level in Level::available() {
                let [mut kept, mut changed, mut both, mut also] = [(); 4].map(|()| vec![7.0; grid.square()]);
                let run = |out: &mut [f32], then: Then<'_>| {
                    level.run(SymmetricProduct { grid, steps, factors, out, then });
                };
                run(&mut kept, Then::Keep);
                run(&mut changed, Then::Become(with));
                run(&mut both, Then::Also(with, &mut also));
                for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
                    let found = [&kept, &both, &changed, &also].map(|all| all[row * grid.stride + column].to_bits());
                    let [sum, combined] = [sum(row, column), combined(row, column)].map(f32::to_bits);
                    assert_eq!(found, [sum, sum, combined, combined], "{level:?} {side} {steps} {row} {column}");
                }
            }
        }
    }
}
