//! Products of matrices, all transposes, batched.
//!
//! A cube makes a tile of the result: 128 × 128 numbers where there are enough of those tiles to keep a device busy, else 64 × 64 or 32 × 32.

use cubecl::prelude::*;

use super::round::{nothing, rounded};
use super::tile::{BLOCK, Form, SIDE, SizesLaunch, UNITS, product};
use super::view::View;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

/// What the blocks of a sum are added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// Nothing: the first is the result so far; without any, that is `+0`.
    Zero,
    /// What the result holds.
    Current,
}

/// A factor: row-major matrices one after the other, or their transposes.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    view: View<'a>,
    batch: usize,
    rows: usize,
    columns: usize,
}

impl<'a> Factor<'a> {
    /// `[batch, rows, columns]`.
    ///
    /// # Errors
    /// The buffer is not exactly as long.
    pub fn new(values: &'a Buffer, batch: usize, rows: usize, columns: usize) -> Result<Self, GpuError> {
        GpuError::unless_equal("matrix", &[values.len()], &[batch * rows * columns])?;
        let view = View { values, first: 0, strides: [rows * columns, 0, columns, 1] };
        Ok(Self { view, batch, rows, columns })
    }

    /// Rows become columns; nothing is moved.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { view: self.view.transposed(), rows: self.columns, columns: self.rows, ..self }
    }
}

/// How much of a result one cube makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    /// 32 × 32 numbers.
    Small,
    /// 64 × 64.
    Middle,
    /// 128 × 128.
    Large,
}

impl Tile {
    /// Rows, and columns, of one unit.
    fn own(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Middle => 4,
            Self::Large => 8,
        }
    }

    fn side(self) -> usize {
        SIDE * self.own()
    }

    /// The largest of which a result has so many that none of the cores of a large device is idle.
    fn of(m: usize, n: usize, batch: usize) -> Self {
        const ENOUGH: usize = 128;
        let busy = |tile: &Self| m.div_ceil(tile.side()) * n.div_ceil(tile.side()) * batch >= ENOUGH;
        [Self::Large, Self::Middle].into_iter().find(busy).unwrap_or(Self::Small)
    }
}

/// Every number becomes `+0`.
pub(crate) fn clear(gpu: &Gpu, values: &Buffer) {
    let count = cubes(values.len().div_ceil(UNITS));
    zeros::launch(&gpu.client, count, CubeDim::new_1d(UNITS as u32), values.arg(), 0);
}

#[cube(launch)]
fn zeros(values: &mut [f32], zero: u32) {
    if ABSOLUTE_POS < values.len() {
        values[ABSOLUTE_POS] = nothing(zero);
    }
}

/// A product's factors and result; there is at least one step, row and column, and all lies inside the buffers.
#[derive(Clone, Copy)]
struct Job<'a> {
    a: View<'a>,
    b: View<'a>,
    out: View<'a>,
    /// Rows, columns, steps.
    sizes: [usize; 3],
    /// Sequences, heads.
    batch: [usize; 2],
    start: Start,
}

/// `out = a · b` or `out += a · b`, for each head of each sequence. There is at least one step, row and column; the caller has checked
/// that all lies inside the buffers.
pub(crate) fn multiply(gpu: &Gpu, [a, b, out]: [View<'_>; 3], sizes: [usize; 3], batch: [usize; 2], start: Start) {
    let tile = Tile::of(sizes[0], sizes[1], batch[0] * batch[1]);
    launch(gpu, tile, Job { a, b, out, sizes, batch, start }, [1, 0]);
}

/// Starts the cubes: for the whole result, or for `parts` blocks of steps whose results lie `apart`.
#[allow(unsafe_code)]
fn launch(gpu: &Gpu, tile: Tile, job: Job<'_>, [parts, apart]: [usize; 2]) {
    let Job { a, b, out, sizes: [m, n, k], batch: [batch, heads], start } = job;
    let tiles = |count: usize| count.div_ceil(tile.side()) as u32;
    let count = CubeCount::Static(tiles(n), tiles(m), (batch * heads * parts) as u32);
    let group = tile.own() / 2;
    let form = Form {
        own: tile.own(),
        a_along_steps: a.along_rows(),
        b_along_steps: !b.along_rows(),
        a_whole: a.transposed().in_groups(group, m),
        b_whole: b.in_groups(group, n),
        out_whole: out.in_groups(group, n) && apart.is_multiple_of(group),
        start,
        blocks: parts == 1 && k > BLOCK,
    };
    let width = |whole: bool| if whole { group } else { 1 };
    let widths @ [a_width, b_width, out_width] = [form.a_whole, form.b_whole, form.out_whole].map(width);
    let mut args =
        [a, b, out].into_iter().zip(widths).map(|(view, width)| view.values.arg_of(view.values.len() / width));
    let mut arg = || args.next().expect("three of them");
    let (a_arg, b_arg, out_arg) = (arg(), arg(), arg());
    let sizes = SizesLaunch::new(m, n, k, heads, parts, apart, 0);
    // SAFETY: the kernel stays below `m` rows, `n` columns and `k` steps, all of which lie inside the buffers.
    unsafe {
        product::launch_unchecked(
            &gpu.client,
            count,
            CubeDim::new_1d(UNITS as u32),
            group,
            a_width,
            b_width,
            out_width,
            a_arg,
            b_arg,
            out_arg,
            a.place(),
            b.place(),
            out.place(),
            sizes,
            form,
        );
    }
}

/// How a product is divided among cubes. It changes no bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    tile: Tile,
    /// Whether blocks of steps are made side by side, and then added up.
    aside: bool,
}

impl Plan {
    /// One of each kind.
    pub(crate) const ALL: [Self; 4] = [
        Self { tile: Tile::Small, aside: false },
        Self { tile: Tile::Middle, aside: false },
        Self { tile: Tile::Large, aside: false },
        Self { tile: Tile::Middle, aside: true },
    ];

    /// A result too small for many large tiles, but of long sums, is made block by block.
    fn of([m, n, k]: [usize; 3], batch: usize) -> Self {
        let tile = Tile::of(m, n, batch);
        let aside = tile != Tile::Large && k > BLOCK;
        let parts = k.div_ceil(BLOCK).min(PARTS_MAX);
        Self { tile: if aside { Tile::of(m, n, batch * parts) } else { tile }, aside }
    }
}

/// Blocks made at once; more of them take turns, so that the room they need is bounded.
const PARTS_MAX: usize = 32;

/// `out = a · b` or `out += a · b`, where `out` is matrices one after the other, in blocks of steps.
fn aside(gpu: &Gpu, tile: Tile, job: Job<'_>) {
    let [_, _, k] = job.sizes;
    let count = job.out.values.len();
    let room = gpu.room(count * k.div_ceil(BLOCK).min(PARTS_MAX));
    for first in (0..k).step_by(PARTS_MAX * BLOCK) {
        let [m, n, _] = job.sizes;
        let steps = (k - first).min(PARTS_MAX * BLOCK);
        let parts = steps.div_ceil(BLOCK);
        let a = job.a.transposed().below(first).transposed();
        let out = View { values: &room, ..job.out };
        let blocks = Job { a, b: job.b.below(first), out, sizes: [m, n, steps], start: Start::Zero, ..job };
        launch(gpu, tile, blocks, [parts, count]);
        let (cubes, units) = (cubes(count.div_ceil(UNITS)), CubeDim::new_1d(UNITS as u32));
        let add = job.start == Start::Current || first > 0;
        add_parts::launch(&gpu.client, cubes, units, room.arg(), job.out.values.arg(), parts, 0, add);
    }
}

/// `out` becomes the sum of the parts, ascending, or they are added to it.
#[cube(launch)]
fn add_parts(rooms: &[f32], out: &mut [f32], parts: usize, zero: u32, #[comptime] add: bool) {
    let at = ABSOLUTE_POS;
    if at < out.len() {
        let mut sum = rooms[at];
        if comptime!(add) {
            sum += out[at];
        }
        for part in 1..parts {
            sum = rounded(sum, zero) + rooms[part * out.len() + at];
        }
        out[at] = sum;
    }
}

/// `out = a · b`, or `out += a · b`, for each matrix of the batch.
///
/// # Shapes
/// `a`: `[batch, m, k]`, `b`: `[batch, k, n]`, `out`: `[batch, m, n]`.
///
/// # Errors
/// The shapes do not fit.
pub fn matmul(gpu: &Gpu, a: Factor<'_>, b: Factor<'_>, start: Start, out: &Buffer) -> Result<(), GpuError> {
    matmul_by(gpu, Plan::of([a.rows, b.columns, a.columns], a.batch), a, b, start, out)
}

/// The same by a stated plan.
pub(crate) fn matmul_by(
    gpu: &Gpu,
    plan: Plan,
    a: Factor<'_>,
    b: Factor<'_>,
    start: Start,
    out: &Buffer,
) -> Result<(), GpuError> {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    GpuError::unless_equal("matmul", &[a.batch, a.columns], &[b.batch, b.rows])?;
    GpuError::unless_equal("matmul", &[out.len()], &[a.batch * m * n])?;
    if !out.is_empty() && k > 0 {
        let result = View { values: out, first: 0, strides: [m * n, 0, n, 1] };
        let job = Job { a: a.view, b: b.view, out: result, sizes: [m, n, k], batch: [a.batch, 1], start };
        if plan.aside { aside(gpu, plan.tile, job) } else { launch(gpu, plan.tile, job, [1, 0]) }
    } else if start == Start::Zero {
        clear(gpu, out);
    }
    Ok(())
}
