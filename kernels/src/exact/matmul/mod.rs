//! Products of matrices, all transposes.
//!
//! The steps of each element's sum go in blocks of 256, counted from the first. A block is one accumulator,
//! `fma(a[i, k], b[k, j], sum)` for ascending `k` from `+0`; the blocks are added in ascending order, to each other and to what the
//! result held. So an error grows with the root of 256 steps and hardly with the number of blocks.
//! Computing elements in another order changes nothing; so tiles and threads are free to be whatever is fastest.

pub(crate) mod block;
mod matrix;
pub(crate) mod pack;
pub(crate) mod tile;

pub use matrix::{Matrix, ShapeError};

use core::ops::Range;

use super::buffer::Buffer;
use super::pool::Pool;
use super::simd::{Kernel, Simd};
use block::Block;
use pack::{Panels, Right};

/// Steps in a block: part of the profile, so nothing may cut a sum elsewhere.
pub(crate) const DEPTH: usize = 256;

/// Steps in a piece of a packed factor: pieces are what threads share out, and panels of one must not all lie pages apart. They fill a block.
const PIECE: usize = 64;

/// Most rows in one task: few enough that what follows the product finds them in the second-level cache.
const ROWS: usize = 96;

/// A packed copy of some of the right factor; keep one and pass it to every product.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    right: Buffer,
}

/// What the blocks of a sum are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing: the first is the result so far; without any, that is `+0`.
    Zero,
    /// What the result holds.
    Current,
}

/// `out = a · b`, or `out += a · b`.
///
/// # Shapes
/// `a`: `[m, k]`, `b`: `[k, n]`, `out`: `[m, n]`.
///
/// # Errors
/// The shapes do not fit.
pub fn matmul(
    pool: &Pool,
    a: Matrix<'_>,
    b: Matrix<'_>,
    start: Start,
    out: &mut [f32],
    scratch: &mut Scratch,
) -> Result<(), ShapeError> {
    matmul_then(pool, [a, b], start, [out, &mut []], scratch, |_, _, _| ())
}

/// As [`matmul`]; then `finish(first_row, rows, rows of beside)` is called once for each group of finished rows, while they are in
/// cache. `beside` is empty or as long as `out`.
///
/// # Errors
/// The shapes do not fit.
pub(crate) fn matmul_then(
    pool: &Pool,
    [a, b]: [Matrix<'_>; 2],
    start: Start,
    [out, beside]: [&mut [f32]; 2],
    scratch: &mut Scratch,
    finish: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) -> Result<(), ShapeError> {
    let ([m, k], [depth, n]) = (a.shape(), b.shape());
    ShapeError::unless_equal("matmul", &[k], &[depth])?;
    ShapeError::unless_equal("matmul", &[out.len()], &[m * n])?;
    if m * n == 0 {
        return Ok(());
    }
    if k == 0 && start == Start::Zero {
        out.fill(0.0);
    }
    let [tall, wide] = pool.level().run(TileShape);
    let rows = rows_per_task(m, tall, pool.threads());
    let panels = Panels { columns: n, piece: PIECE };
    for first in (0..k.max(1)).step_by(DEPTH) {
        let steps = first..k.min(first + DEPTH);
        let right = scratch.right.fit(panels.len(steps.len(), wide));
        pack(pool, b, &steps, panels, right);
        let part = Part { a, steps: &steps, right, panels, fresh: start == Start::Zero && first == 0 };
        let last = steps.end == k;
        let work = |task: usize, chunk: &mut [f32], beside: &mut [f32]| {
            let first_row = task * rows;
            part.multiply(pool, first_row, chunk);
            if last {
                finish(first_row, chunk, beside);
            }
        };
        if beside.is_empty() {
            pool.chunks(out, rows * n, |task, chunk| work(task, chunk, &mut []));
        } else {
            pool.pairs([(&mut *out, rows * n), (&mut *beside, rows * n)], work);
        }
    }
    Ok(())
}

/// Whole tiles, few enough that every thread gets several tasks.
fn rows_per_task(m: usize, tall: usize, threads: usize) -> usize {
    let wanted = if threads == 1 { ROWS } else { m.div_ceil(4 * threads).min(ROWS) };
    wanted.div_ceil(tall) * tall
}

struct TileShape;

impl Kernel for TileShape {
    type Out = [usize; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [usize; 2] {
        S::TILE
    }
}

/// Some steps of a right factor, in panels.
fn pack(pool: &Pool, factor: Matrix<'_>, steps: &Range<usize>, panels: Panels, place: &mut [f32]) {
    let len = panels.piece_len(pool.level().run(TileShape)[1]);
    pool.chunks(place, len, |index, piece| {
        let first = steps.start + index * panels.piece;
        let steps = first..steps.end.min(first + panels.piece);
        pool.level().run(Right { factor, steps, panels, piece });
    });
}

/// A block of steps of a product.
struct Part<'a> {
    a: Matrix<'a>,
    steps: &'a Range<usize>,
    right: &'a [f32],
    panels: Panels,
    fresh: bool,
}

impl Part<'_> {
    /// The rows of the result from `first_row` on.
    fn multiply(&self, pool: &Pool, first_row: usize, out: &mut [f32]) {
        let Self { right, panels, fresh, .. } = *self;
        let left = self.a.part(first_row..first_row + out.len() / panels.columns, self.steps);
        pool.level().run(Block { left, right, panels, out, stride: panels.columns, fresh });
    }
}
