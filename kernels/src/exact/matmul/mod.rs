//! Products of matrices, all transposes.
//!
//! The steps of each element's sum go in blocks of 256, counted from the first. A block is one accumulator,
//! `fma(a[i, k], b[k, j], sum)` for ascending `k` from `+0`; the blocks are added in ascending order, to each other and to what the
//! result held. So an error grows with the root of 256 steps and hardly with the number of blocks.
//! Computing elements in another order changes nothing; so tiles and threads are free to be whatever is fastest.

pub(crate) mod block;
mod matrix;
pub(crate) mod pack;
pub(crate) mod symmetric;
pub(crate) mod tile;

pub use matrix::{Matrix, ShapeError};

use core::ops::Range;

use super::buffer::Buffer;
use super::pool::Pool;
use super::rows::ADDED;
use super::simd::{Kernel, Level, Simd};
use block::Block;
use pack::{Panels, Right};

/// Steps in a block: part of the profile, so nothing may cut a sum elsewhere.
pub(crate) const DEPTH: usize = 256;

/// Steps in a piece of a packed factor: pieces are what threads share out, and panels of one must not all lie pages apart. They fill a block.
const PIECE: usize = 64;

/// Numbers of a right factor that are packed at once, about, in whole blocks. The more blocks, the seldomer the result is read and
/// written; but all of them should stay in the third-level cache.
const RIGHT: usize = 1 << 18;

/// No tile has more columns, and all divide this.
const TILE_COLUMNS_MAX: usize = 48;

/// Most rows in one task: few enough that what follows the product finds them in the second-level cache.
const ROWS: usize = 96;

/// A packed copy of some of the right factor; keep one and pass it to every product.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    right: Buffer,
}

impl Scratch {
    /// A right factor, packed whole.
    pub(crate) fn factor(&mut self, pool: &Pool, factor: Matrix<'_>) -> Factor<'_> {
        let ([steps, columns], wide) = (factor.shape(), pool.level().run(TileShape)[1]);
        let panels = Panels { columns, piece: PIECE };
        let right = self.right.fit(panels.len(steps, wide));
        pack(pool, factor, &(0..steps), panels, [&mut *right, &mut []]);
        Factor { right, panels, wide }
    }
}

/// A right factor, packed.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    right: &'a [f32],
    panels: Panels,
    wide: usize,
}

impl Factor<'_> {
    /// Without its first steps, which are whole blocks.
    pub(crate) fn from(self, step: usize) -> Self {
        Self { right: &self.right[self.panels.place(0, step, self.wide)..], ..self }
    }

    /// `out = left · self`, or `out +=`, over as many steps as `left` has, on the caller's thread.
    pub(crate) fn multiply(self, level: Level, left: Matrix<'_>, out: &mut [f32], fresh: bool) {
        let Self { right, panels, .. } = self;
        level.run(Block { left, right, panels, out, stride: panels.columns, fresh });
    }
}

/// Numbers of scratch that a product with a right factor `[k, n]` takes, at most: at the instruction set with the widest tiles.
pub fn product_scratch(k: usize, n: usize) -> usize {
    let panels = Panels { columns: n, piece: PIECE };
    panels.len(k.min(slab(n)), TILE_COLUMNS_MAX)
}

/// Steps of a right factor with `n` columns that are packed at once.
fn slab(n: usize) -> usize {
    (RIGHT / (DEPTH * n.max(1))).max(1) * DEPTH
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
    matmul_then(pool, [a, b], start, [out, &mut [], &mut []], scratch, |_, _, _| ())
}

/// As [`matmul`]; then `finish(first_row, rows, rows of beside)` is called once for each group of finished rows, while they are in
/// cache. `beside` is empty or as long as `out`. `sums` is empty, or gets the sum of each [`ADDED`] rows of the right factor
/// `[k, n]`, which must then be stored as it is: they are made while it is packed.
///
/// # Errors
/// The shapes do not fit.
pub(crate) fn matmul_then(
    pool: &Pool,
    [a, b]: [Matrix<'_>; 2],
    start: Start,
    [out, beside, sums]: [&mut [f32]; 3],
    scratch: &mut Scratch,
    finish: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) -> Result<(), ShapeError> {
    let ([m, k], [depth, n]) = (a.shape(), b.shape());
    ShapeError::unless_equal("matmul", &[k], &[depth])?;
    ShapeError::unless_filled("matmul", out.len(), [m, n])?;
    if n == 0 {
        return Ok(());
    }
    if k == 0 && start == Start::Zero {
        out.fill(0.0);
    }
    let [tall, wide] = pool.level().run(TileShape);
    let most = (ROWS / tall).max(1);
    let panels = Panels { columns: n, piece: PIECE };
    let slab = slab(n);
    for first in (0..k.max(1)).step_by(slab) {
        let steps = first..k.min(first + slab);
        let right = scratch.right.fit(panels.len(steps.len(), wide));
        let some = first / ADDED * n..steps.end.div_ceil(ADDED) * n;
        pack(pool, b, &steps, panels, [right, sums.get_mut(some).unwrap_or_default()]);
        let part = Part { a, steps: &steps, right, panels, fresh: start == Start::Zero && first == 0 };
        let last = steps.end == k;
        pool.halves([&mut *out, &mut *beside], tall * n, most, |first, some, beside| {
            part.multiply(pool, first * tall, some);
            if last {
                finish(first * tall, some, beside);
            }
        });
    }
    Ok(())
}

struct TileShape;

impl Kernel for TileShape {
    type Out = [usize; 2];

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> [usize; 2] {
        S::TILE
    }
}

/// Some steps of a right factor, in panels; and the sums of their rows, unless there is no place for them.
fn pack(pool: &Pool, factor: Matrix<'_>, steps: &Range<usize>, panels: Panels, [place, sums]: [&mut [f32]; 2]) {
    let len = panels.piece_len(pool.level().run(TileShape)[1]);
    let work = |index: usize, piece: &mut [f32], sums: &mut [f32]| {
        let first = steps.start + index * panels.piece;
        let steps = first..steps.end.min(first + panels.piece);
        pool.level().run(Right { factor, steps, panels, piece, sums });
    };
    if sums.is_empty() {
        pool.chunks(place, len, |index, piece| work(index, piece, &mut []));
    } else {
        pool.pairs([(place, len), (sums, panels.piece / ADDED * panels.columns)], work);
    }
}

/// Some blocks of steps of a product.
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
