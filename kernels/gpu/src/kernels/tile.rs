//! A cube's tile of a product of matrices.
//!
//! Each number of the result is a sum over blocks of 256 steps, each `fma(a[i, k], b[k, j], sum)` for ascending `k` from `+0`, kept in a
//! register of one unit; a block that is done is added to those before, or becomes a result of its own. A cube has 16 × 16 units
//! with 2 × 2, 4 × 4 or 8 × 8 numbers each, and shares slices of eight steps. While it computes with one slice, the numbers of the
//! next are on their way from memory; the two take turns in shared memory, so that one barrier a slice is enough.

use cubecl::prelude::*;

use super::matmul::Start;
use super::round::{nothing, rounded};
use super::view::Place;

/// Units along each side of the cube.
pub(super) const SIDE: usize = 16;
/// Units of the cube.
pub(super) const UNITS: usize = SIDE * SIDE;
/// Steps of a slice.
const STEPS: usize = 8;
/// Steps of a block.
pub(super) const BLOCK: usize = 256;
const SLICES: usize = BLOCK / STEPS;
/// Each unit's rows come in two groups of neighbours, and so do its columns: units side by side then read numbers side by side.
const GROUPS: usize = 2;
/// Groups of lines in a slice, and the distance between steps in shared memory: one more, so that eight steps of one group lie in
/// different banks.
const LINES: usize = GROUPS * SIDE;
const APART: usize = LINES + 1;
/// Units that execute together on most devices, and how many of them lie along a tile's row.
const WARP: usize = 32;
const WARP_COLUMNS: usize = 8;

/// What is compiled into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// Rows, and columns, of one unit.
    pub(super) own: usize,
    /// Whether a factor's numbers of neighbouring steps are neighbours in memory, rather than those of neighbouring lines.
    pub(super) a_along_steps: bool,
    pub(super) b_along_steps: bool,
    /// Whether a factor, or the result, is moved by whole groups of lines.
    pub(super) a_whole: bool,
    pub(super) b_whole: bool,
    pub(super) out_whole: bool,
    pub(super) start: Start,
    /// Whether blocks of steps are added up here.
    pub(super) blocks: bool,
}

/// Sizes of a product.
#[derive(CubeType, CubeLaunch)]
pub(super) struct Sizes {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) heads: usize,
    /// Blocks of steps that are made side by side, each a result of its own; or 1, if they are added up here.
    pub(super) parts: usize,
    /// Where those results lie, one from the next.
    pub(super) apart: usize,
    /// Always 0.
    pub(super) zero: u32,
}

/// The numbers of a group of lines at one step. Lines beyond the last are the last: no result is made of them.
#[cube]
fn fetch<N: Size, V: Size>(
    values: &[Vector<f32, V>],
    place: usize,
    line: usize,
    lines: usize,
    apart: usize,
    #[comptime] own: usize,
    #[comptime] whole: bool,
) -> Vector<f32, N> {
    let count = comptime!(own / GROUPS);
    let mut found = Vector::<f32, N>::new(0.0f32);
    if comptime!(whole) {
        let group = values[(place + line.min(lines - count)) / count];
        #[unroll]
        for i in 0..count {
            found.insert(i, group.extract(i));
        }
    } else {
        #[unroll]
        for i in 0..count {
            let at = (line + i).min(lines - 1);
            found.insert(i, values[place + at * apart].extract(0usize));
        }
    }
    found
}

/// One more step for each of a unit's numbers; `at` is where the step begins in shared memory.
#[cube]
fn advance<N: Size>(
    rows: &Shared<[Vector<f32, N>]>,
    columns: &Shared<[Vector<f32, N>]>,
    row: usize,
    column: usize,
    sums: &mut Array<f32>,
    #[comptime] own: usize,
) {
    let count = comptime!(own / GROUPS);
    let mut left = Array::<f32>::new(own);
    let mut right = Array::<f32>::new(own);
    #[unroll]
    for group in 0..GROUPS {
        let mine = rows[row + group * SIDE];
        let other = columns[column + group * SIDE];
        #[unroll]
        for i in 0..count {
            left[group * count + i] = mine.extract(i);
            right[group * count + i] = other.extract(i);
        }
    }
    #[unroll]
    for i in 0..own {
        #[unroll]
        for j in 0..own {
            sums[i * own + j] = fma(left[i], right[j], sums[i * own + j]);
        }
    }
}

/// `a`, `b` and `out` with their places; a cube for each tile of each matrix. There is at least one step, row and column.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
pub(super) fn product<N: Size, GroupA: Size, GroupB: Size, GroupOut: Size>(
    a: &[Vector<f32, GroupA>],
    b: &[Vector<f32, GroupB>],
    out: &mut [Vector<f32, GroupOut>],
    a_place: Place,
    b_place: Place,
    out_place: Place,
    sizes: Sizes,
    #[comptime] form: Form,
) {
    let own = comptime!(form.own);
    let count = comptime!(form.own / GROUPS);
    let tile = comptime!(form.own * SIDE);
    let mut rows = Shared::<[Vector<f32, N>]>::new_slice(2 * STEPS * APART);
    let mut columns = Shared::<[Vector<f32, N>]>::new_slice(2 * STEPS * APART);
    let part = CUBE_POS_Z as usize % sizes.parts;
    let matrix = CUBE_POS_Z as usize / sizes.parts;
    let batch = matrix / sizes.heads;
    let head = matrix % sizes.heads;
    let a_first = a_place.first + batch * a_place.batch + head * a_place.head + part * BLOCK * a_place.column;
    let b_first = b_place.first + batch * b_place.batch + head * b_place.head + part * BLOCK * b_place.row;
    let out_first = out_place.first + batch * out_place.batch + head * out_place.head + part * sizes.apart;
    let mut steps = sizes.k;
    if sizes.parts > 1 {
        steps = (sizes.k - part * BLOCK).min(BLOCK);
    }
    let first_row = CUBE_POS_Y as usize * tile;
    let first_column = CUBE_POS_X as usize * tile;

    let unit = UNIT_POS as usize;
    let warp = unit / WARP;
    let lane = unit % WARP;
    // Four rows of eight units, of which each eight neighbours are two by four: so they read the fewest different numbers.
    let own_row = warp / GROUPS * (WARP / WARP_COLUMNS) + lane / SIDE * 2 + lane % 2;
    let own_column = warp % GROUPS * WARP_COLUMNS + lane / 2 % WARP_COLUMNS;

    // Neighbouring units fetch neighbouring numbers, whichever way the factor lies.
    let mut a_step = unit / LINES;
    let mut a_group = unit % LINES;
    if comptime!(form.a_along_steps) {
        a_step = unit % STEPS;
        a_group = unit / STEPS;
    }
    let mut b_step = unit / LINES;
    let mut b_group = unit % LINES;
    if comptime!(form.b_along_steps) {
        b_step = unit % STEPS;
        b_group = unit / STEPS;
    }
    let a_line = first_row + a_group * count;
    let b_line = first_column + b_group * count;
    let last = steps - 1;

    let mut sums = Array::<f32>::new(own * own);
    let ours = Ours {
        first: out_first,
        row: first_row + own_row * count,
        column: first_column + own_column * count,
        m: sizes.m,
        n: sizes.n,
    };
    let adds = comptime!(form.blocks || form.start == Start::Current);
    let mut totals = Array::<f32>::new(own * own);
    if comptime!(form.start == Start::Current) {
        collect::<GroupOut>(out, &out_place, &ours, &mut totals, own, comptime!(form.out_whole));
    } else if comptime!(adds) {
        #[unroll]
        for i in 0..own * own {
            totals[i] = nothing(sizes.zero);
        }
    }

    let a_from = a_first + a_step.min(last) * a_place.column;
    let b_from = b_first + b_step.min(last) * b_place.row;
    rows[a_step * APART + a_group] =
        fetch::<N, GroupA>(a, a_from, a_line, sizes.m, a_place.row, own, comptime!(form.a_whole));
    columns[b_step * APART + b_group] =
        fetch::<N, GroupB>(b, b_from, b_line, sizes.n, b_place.column, own, comptime!(form.b_whole));
    sync_cube();

    let slices = steps.div_ceil(STEPS);
    let blocks = steps.div_ceil(BLOCK);
    for block in 0..blocks {
        #[unroll]
        for i in 0..own * own {
            sums[i] = nothing(sizes.zero);
        }
        for slice in block * SLICES..((block + 1) * SLICES).min(slices) {
            let here = slice % 2 * (STEPS * APART);
            let there = STEPS * APART - here;
            // Past the end the last step is fetched again, and not used.
            let next = (slice + 1) * STEPS;
            let a_from = a_first + (next + a_step).min(last) * a_place.column;
            let b_from = b_first + (next + b_step).min(last) * b_place.row;
            let a_next = fetch::<N, GroupA>(a, a_from, a_line, sizes.m, a_place.row, own, comptime!(form.a_whole));
            let b_next = fetch::<N, GroupB>(b, b_from, b_line, sizes.n, b_place.column, own, comptime!(form.b_whole));
            if next <= steps {
                #[unroll]
                for step in 0..STEPS {
                    let at = here + step * APART;
                    advance::<N>(&rows, &columns, at + own_row, at + own_column, &mut sums, own);
                }
            } else {
                // The steps past the end are left out, not padded: even a product of zeros can change the sign of a zero.
                for step in 0..steps - slice * STEPS {
                    let at = here + step * APART;
                    advance::<N>(&rows, &columns, at + own_row, at + own_column, &mut sums, own);
                }
            }
            rows[there + a_step * APART + a_group] = a_next;
            columns[there + b_step * APART + b_group] = b_next;
            sync_cube();
        }
        if comptime!(adds) {
            #[unroll]
            for i in 0..own * own {
                let sum = rounded(sums[i], sizes.zero);
                let added = totals[i] + sum;
                if comptime!(form.start == Start::Zero) {
                    // The first block is not added to zero, which would turn a sum of minus zero.
                    totals[i] = select(block == 0, sum, added);
                } else {
                    totals[i] = added;
                }
            }
        }
    }
    if comptime!(adds) {
        deliver::<GroupOut>(out, &out_place, &ours, &totals, own, comptime!(form.out_whole));
    } else {
        deliver::<GroupOut>(out, &out_place, &ours, &sums, own, comptime!(form.out_whole));
    }
}

/// Where a unit's numbers are in the result, and how large that is.
#[derive(CubeType)]
struct Ours {
    first: usize,
    row: usize,
    column: usize,
    m: usize,
    n: usize,
}

/// Where the `i`th of a unit's lines lies after its first, in groups of `count` neighbours.
fn line(i: usize, count: usize) -> usize {
    i / count * (SIDE * count) + i % count
}

/// What the result holds. Beyond its edges the last is read again, and not used.
#[cube]
fn collect<O: Size>(
    out: &mut [Vector<f32, O>],
    place: &Place,
    ours: &Ours,
    numbers: &mut Array<f32>,
    #[comptime] own: usize,
    #[comptime] whole: bool,
) {
    let count = comptime!(own / GROUPS);
    #[unroll]
    for i in 0..own {
        let row = ours.row + comptime!(line(i, count));
        let row = ours.first + row.min(ours.m - 1) * place.row;
        #[unroll]
        for group in 0..GROUPS {
            let column = ours.column + comptime!(line(group * count, count));
            if comptime!(whole) {
                let held = out[(row + column.min(ours.n - count)) / count];
                #[unroll]
                for j in 0..count {
                    numbers[i * own + group * count + j] = held.extract(j);
                }
            } else {
                #[unroll]
                for j in 0..count {
                    let at = row + (column + j).min(ours.n - 1) * place.column;
                    numbers[i * own + group * count + j] = out[at].extract(0usize);
                }
            }
        }
    }
}

/// Writes the result.
#[cube]
fn deliver<O: Size>(
    out: &mut [Vector<f32, O>],
    place: &Place,
    ours: &Ours,
    numbers: &Array<f32>,
    #[comptime] own: usize,
    #[comptime] whole: bool,
) {
    let count = comptime!(own / GROUPS);
    #[unroll]
    for i in 0..own {
        let row = ours.row + comptime!(line(i, count));
        #[unroll]
        for group in 0..GROUPS {
            let column = ours.column + comptime!(line(group * count, count));
            let at = ours.first + row * place.row + column * place.column;
            if comptime!(whole) {
                if row < ours.m && column < ours.n {
                    let mut vector = Vector::<f32, O>::new(0.0f32);
                    #[unroll]
                    for j in 0..count {
                        vector.insert(j, numbers[i * own + group * count + j]);
                    }
                    out[at / count] = vector;
                }
            } else {
                #[unroll]
                for j in 0..count {
                    if row < ours.m && column + j < ours.n {
                        out[at + j * place.column] = Vector::<f32, O>::new(numbers[i * own + group * count + j]);
                    }
                }
            }
        }
    }
}
