//! Products of matrices, all transposes.
//!
//! Each element of the result is one sum, `fma(a[i, k], b[k, j], sum)` for ascending `k` from `+0`, or from what the result held.
//! Cutting the sum into blocks that go on from the stored `f32` changes nothing, nor does computing elements in another
//! order; so tiles, blocks and threads are free to be whatever is fastest.

pub(crate) mod block;
mod matrix;
pub(crate) mod pack;
pub(crate) mod tile;

pub use matrix::{Matrix, ShapeError};

use super::buffer::Buffer;
use super::pool::Pool;
use super::simd::{Kernel, Simd};
use block::{Block, Left};

/// Steps that are packed at once. Longer blocks store the sums less often; a panel of the right factor then comes from the
/// second-level cache, which keeps up. Found by trying 96 to 384.
const DEPTH: usize = 384;

/// Most rows in one task: their packed copy and a panel share the second-level cache.
const ROWS: usize = 384;

/// Packed copies of the factors; keep one and pass it to every product.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    left: Buffer,
    right: Buffer,
}

/// What the sums start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// `+0`.
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
    let tile = pool.level().run(TileShape);
    let rows = rows_per_task(m, tile[0], pool.threads());
    for first in (0..k.max(1)).step_by(DEPTH) {
        let steps = first..k.min(first + DEPTH);
        let part = Part { a, b, steps, tile };
        let Scratch { left, right } = scratch;
        part.pack_right(pool, right);
        part.pack_left(pool, left);
        let (fresh, last) = (start == Start::Zero && first == 0, part.steps.end == k);
        let work = |task: usize, chunk: &mut [f32], beside: &mut [f32]| {
            let first_row = task * rows;
            part.rows(pool, first_row, left, right, fresh, chunk);
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

/// Some steps of a product.
struct Part<'a> {
    a: Matrix<'a>,
    b: Matrix<'a>,
    steps: core::ops::Range<usize>,
    tile: [usize; 2],
}

impl Part<'_> {
    fn pack_right(&self, pool: &Pool, panels: &mut Buffer) {
        let (wide, columns, depth) = (self.tile[1], self.b.shape()[1], self.steps.len());
        let panels = panels.fit(columns.div_ceil(wide) * wide * depth);
        pool.chunks(panels, wide * depth, |panel, place| {
            pack::right(self.b, self.steps.clone(), panel * wide, place);
        });
    }

    /// Rows are read where they are, unless they lie whole pages apart: then all rows of a tile want the same few places of the
    /// first-level cache.
    fn packs_left(&self) -> bool {
        const PAGE: usize = 1024;
        self.a.transposed || self.a.stride.is_multiple_of(PAGE)
    }

    fn pack_left(&self, pool: &Pool, panels: &mut Buffer) {
        if !self.packs_left() {
            return;
        }
        let (tall, rows, depth) = (self.tile[0], self.a.shape()[0], self.steps.len());
        let panels = panels.fit(rows.div_ceil(tall) * tall * depth);
        pool.chunks(panels, tall * depth, |panel, place| {
            pack::left(self.a, self.steps.clone(), panel * tall, tall, place);
        });
    }

    /// The rows of `out`, which begin at `first_row`, a whole number of tiles.
    fn rows(&self, pool: &Pool, first_row: usize, left: &[f32], right: &[f32], fresh: bool, out: &mut [f32]) {
        let (columns, depth) = (self.b.shape()[1], self.steps.len());
        let left = if self.packs_left() {
            Left::Panels(&left[first_row * depth..])
        } else {
            let stride = self.a.stride;
            Left::Rows { values: &self.a.values[first_row * stride + self.steps.start..], stride }
        };
        let rows = out.len() / columns;
        pool.level().run(Block { left, right, out, rows, columns, stride: columns, depth, fresh });
    }
}
