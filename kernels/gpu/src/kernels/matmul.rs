//! Products of matrices, all transposes, batched.
//!
//! Each element of the result is a sum over blocks of 256 steps, each `fma(a[i, k], b[k, j], sum)` for ascending `k` from `+0`, kept in
//! registers of one unit. A cube computes 64×64 of them, four by four to a unit, from slices of 16 steps that it shares.

use cubecl::prelude::*;

use super::round::{nothing, rounded};
use super::view::{Place, View};
use crate::{Buffer, Gpu, GpuError};

/// Rows and columns of a cube's tile.
const TILE: usize = 64;
/// Steps that are shared at once.
const STEPS: usize = 16;
/// Slices of a block.
const SLICES: usize = 256 / STEPS;
/// Units along each side of the cube.
const SIDE: usize = 16;
/// Rows and columns of a unit's own tile.
const OWN: usize = 4;
/// Numbers of a slice that one unit fetches.
const FETCHED: usize = TILE * STEPS / (SIDE * SIDE);

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

/// What is compiled into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Form {
    a_along_steps: bool,
    b_along_columns: bool,
    start: Start,
}

/// Sizes of a product.
#[derive(CubeType, CubeLaunch)]
struct Sizes {
    m: usize,
    n: usize,
    k: usize,
    heads: usize,
    /// Always 0.
    zero: u32,
}

/// `a`, `b` and `out` with their places; a cube for each tile of each matrix.
#[cube(launch)]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
fn product(
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    a_place: Place,
    b_place: Place,
    out_place: Place,
    sizes: Sizes,
    #[comptime] form: Form,
) {
    let mut rows = Shared::<[f32]>::new_slice(TILE * STEPS);
    let mut columns = Shared::<[f32]>::new_slice(STEPS * TILE);
    let batch = CUBE_POS_Z as usize / sizes.heads;
    let head = CUBE_POS_Z as usize % sizes.heads;
    let a_first = a_place.first + batch * a_place.batch + head * a_place.head;
    let b_first = b_place.first + batch * b_place.batch + head * b_place.head;
    let out_first = out_place.first + batch * out_place.batch + head * out_place.head;
    let first_row = CUBE_POS_Y as usize * TILE;
    let first_column = CUBE_POS_X as usize * TILE;
    let own_row = UNIT_POS_Y as usize * OWN;
    let own_column = UNIT_POS_X as usize * OWN;
    let unit = UNIT_POS as usize;
    let mut sums = Array::<f32>::new(OWN * OWN);
    let mut totals = Array::<f32>::new(OWN * OWN);
    #[unroll]
    for own in 0..OWN * OWN {
        sums[own] = nothing(sizes.zero);
        totals[own] = nothing(sizes.zero);
        if comptime!(form.start == Start::Current) {
            let i = first_row + own_row + own / OWN;
            let j = first_column + own_column + own % OWN;
            if i < sizes.m && j < sizes.n {
                totals[own] = out[out_first + i * out_place.row + j * out_place.column];
            }
        }
    }
    let slices = sizes.k.div_ceil(STEPS);
    for slice in 0..slices {
        let first = slice * STEPS;
        // Neighbouring units read neighbouring numbers, whichever way the factor lies.
        #[unroll]
        for part in 0..FETCHED {
            let place = part * SIDE * SIDE + unit;
            let mut i = place % TILE;
            let mut step = place / TILE;
            if comptime!(form.a_along_steps) {
                i = place / STEPS;
                step = place % STEPS;
            }
            if first_row + i < sizes.m && first + step < sizes.k {
                let at = (first_row + i) * a_place.row + (first + step) * a_place.column;
                rows[step * TILE + i] = a[a_first + at];
            }
        }
        #[unroll]
        for part in 0..FETCHED {
            let place = part * SIDE * SIDE + unit;
            let mut j = place / STEPS;
            let mut step = place % STEPS;
            if comptime!(form.b_along_columns) {
                j = place % TILE;
                step = place / TILE;
            }
            if first_column + j < sizes.n && first + step < sizes.k {
                let at = (first + step) * b_place.row + (first_column + j) * b_place.column;
                columns[step * TILE + j] = b[b_first + at];
            }
        }
        sync_cube();
        // The steps past the end are left out, not padded: even a product of zeros can change the sign of a zero.
        for step in 0..(sizes.k - first).min(STEPS) {
            #[unroll]
            for own in 0..OWN * OWN {
                let left = rows[step * TILE + own_row + own / OWN];
                let right = columns[step * TILE + own_column + own % OWN];
                sums[own] = fma(left, right, sums[own]);
            }
        }
        sync_cube();
        if (slice + 1) % SLICES == 0 || slice + 1 == slices {
            #[unroll]
            for own in 0..OWN * OWN {
                let sum = rounded(sums[own], sizes.zero);
                let added = totals[own] + sum;
                if comptime!(form.start == Start::Current) {
                    totals[own] = added;
                } else {
                    // Not added to zero, which would turn a sum of minus zero.
                    totals[own] = select(slice < SLICES, sum, added);
                }
                sums[own] = nothing(sizes.zero);
            }
        }
    }
    #[unroll]
    for own in 0..OWN * OWN {
        let i = first_row + own_row + own / OWN;
        let j = first_column + own_column + own % OWN;
        if i < sizes.m && j < sizes.n {
            out[out_first + i * out_place.row + j * out_place.column] = totals[own];
        }
    }
}

/// `out = a · b` or `out += a · b`, for each head of each sequence. The caller has checked that all lies inside the buffers.
pub(crate) fn multiply(
    gpu: &Gpu,
    [a, b, out]: [View<'_>; 3],
    [m, n, k]: [usize; 3],
    [batch, heads]: [usize; 2],
    start: Start,
) {
    let tiles = |count: usize| count.div_ceil(TILE) as u32;
    let count = CubeCount::Static(tiles(n), tiles(m), (batch * heads) as u32);
    let side = CubeDim::new_2d(SIDE as u32, SIDE as u32);
    let form = Form { a_along_steps: a.along_rows(), b_along_columns: b.along_rows(), start };
    let [a_arg, b_arg, out_arg] = [a, b, out].map(|view| view.values.arg());
    let sizes = SizesLaunch::new(m, n, k, heads, 0);
    product::launch(&gpu.client, count, side, a_arg, b_arg, out_arg, a.place(), b.place(), out.place(), sizes, form);
}

/// `out = a · b`, or `out += a · b`, for each matrix of the batch.
///
/// # Shapes
/// `a`: `[batch, m, k]`, `b`: `[batch, k, n]`, `out`: `[batch, m, n]`.
///
/// # Errors
/// The shapes do not fit.
pub fn matmul(gpu: &Gpu, a: Factor<'_>, b: Factor<'_>, start: Start, out: &Buffer) -> Result<(), GpuError> {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    GpuError::unless_equal("matmul", &[a.batch, a.columns], &[b.batch, b.rows])?;
    GpuError::unless_equal("matmul", &[out.len()], &[a.batch * m * n])?;
    if !out.is_empty() {
        let result = View { values: out, first: 0, strides: [m * n, 0, n, 1] };
        multiply(gpu, [a.view, b.view, result], [m, n, k], [a.batch, 1], start);
    }
    Ok(())
}
