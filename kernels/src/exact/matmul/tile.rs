//! The register tile: where a step spends nine tenths of its time.
#![allow(unsafe_code)]

use super::super::simd::{LANES, Row, Simd};

/// One tile's work over one block of steps: `c += a · b`, or `c = a · b`.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Length of the sums: a block of steps, whole or the last.
    pub(crate) depth: usize,
    /// The panel of the left factor: for each step as many numbers as the tile has rows.
    pub(crate) a: *const f32,
    /// The panel of the right factor: for each step as many numbers as the tile has columns, in pieces.
    pub(crate) b: *const f32,
    /// Steps of `b` that follow each other.
    pub(crate) piece: usize,
    /// Distance from a piece of `b` to the next.
    pub(crate) b_skip: usize,
    /// First number of the result.
    pub(crate) c: *mut f32,
    /// Distance between its rows.
    pub(crate) c_row: usize,
    /// Rows to compute, at most what the tile has.
    pub(crate) rows: usize,
    /// Columns to compute, at most what the tile has.
    pub(crate) columns: usize,
    /// First number of the result's next tile: its lines are asked for now, to be there when its turn comes. Any address will do.
    pub(crate) next: *const f32,
    /// The sums are the result, not added to what it holds.
    pub(crate) fresh: bool,
}

impl Tile {
    /// The same tile, `rows` further down.
    unsafe fn below(self, rows: usize) -> Self {
        // SAFETY: the panel has as many numbers at each step as the tile has rows, so this is inside it or at its end.
        let a = unsafe { self.a.add(rows) };
        // After the last rows this is nowhere, and nothing is read or written there.
        let c = self.c.wrapping_add(rows * self.c_row);
        Self { a, c, rows: self.rows - rows, next: self.next.wrapping_add(rows * self.c_row), ..self }
    }

    /// The same tile, `columns` further to the right.
    unsafe fn beside(self, columns: usize) -> Self {
        // SAFETY: the caller has columns left, so both places are inside what `tile` was promised.
        let (b, c) = unsafe { (self.b.add(columns), self.c.add(columns)) };
        Self { b, c, columns: self.columns - columns, ..self }
    }
}

/// Computes up to `ROWS × (16 · WIDE)` sums, each in its own accumulator, by fused multiply-add in ascending order of steps, from `+0`; the
/// result is needed only after the last of them.
///
/// # Safety
/// Both panels are readable at each step; the result's rows are writable over the columns to compute, and nothing else refers to
/// them.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, const ROWS: usize, const WIDE: usize>(s: S, mut job: Tile) {
    // SAFETY: the caller's promise; no call takes more columns than are left.
    unsafe {
        if job.columns >= WIDE * LANES {
            return rows::<S, ROWS, WIDE, ROWS, WIDE>(s, job);
        }
        while WIDE > 2 && job.columns >= 2 * LANES {
            rows::<S, ROWS, 2, ROWS, WIDE>(s, job);
            job = job.beside(2 * LANES);
        }
        while WIDE > 1 && job.columns >= LANES {
            rows::<S, ROWS, 1, ROWS, WIDE>(s, job);
            job = job.beside(LANES);
        }
        if job.columns > 0 {
            part_of_a_row::<S, ROWS, WIDE>(s, job);
        }
    }
}

/// Fewer columns than a register has, computed beside the result.
#[inline(always)]
unsafe fn part_of_a_row<S: Simd, const ROWS: usize, const WIDE: usize>(s: S, job: Tile) {
    let mut room = [[0.0f32; LANES]; ROWS];
    // SAFETY: the caller's promise for the columns there are; the room holds whole rows of the tile.
    unsafe {
        for (row, place) in room.iter_mut().enumerate().take(job.rows) {
            let from = core::slice::from_raw_parts(job.c.add(row * job.c_row), job.columns);
            place[..job.columns].copy_from_slice(from);
        }
        let c = room.as_mut_ptr().cast();
        rows::<S, ROWS, 1, ROWS, WIDE>(s, Tile { c, c_row: LANES, next: c, ..job });
        for (row, place) in room.iter().enumerate().take(job.rows) {
            let into = core::slice::from_raw_parts_mut(job.c.add(row * job.c_row), job.columns);
            into.copy_from_slice(&place[..job.columns]);
        }
    }
}

/// All rows, `16 · W` columns, of panels `TALL` and `16 · WIDE` numbers wide.
#[inline(always)]
unsafe fn rows<S: Simd, const ROWS: usize, const W: usize, const TALL: usize, const WIDE: usize>(s: S, mut job: Tile) {
    // SAFETY: the caller's promise; each call takes no more rows than are left.
    unsafe {
        if job.rows >= ROWS {
            return sums::<S, ROWS, W, TALL, WIDE>(s, job);
        }
        if job.rows >= 4 {
            sums::<S, 4, W, TALL, WIDE>(s, job);
            job = job.below(4);
        }
        if job.rows >= 2 {
            sums::<S, 2, W, TALL, WIDE>(s, job);
            job = job.below(2);
        }
        if job.rows > 0 {
            sums::<S, 1, W, TALL, WIDE>(s, job);
        }
    }
}

#[inline(always)]
unsafe fn sums<S: Simd, const R: usize, const W: usize, const TALL: usize, const WIDE: usize>(s: S, job: Tile) {
    let mut sums = [[s.splat(0.0); W]; R];
    // SAFETY: the caller's promise: rows and columns of the tile are inside `c`.
    unsafe {
        for (i, row) in sums.iter().enumerate() {
            for j in 0..row.len() {
                s.prefetch(job.next.wrapping_add(i * job.c_row + j * LANES).cast());
            }
        }
        let (mut a, mut b, mut left) = (job.a, job.b, job.depth);
        loop {
            let steps = left.min(job.piece);
            along::<S, R, W, TALL, WIDE>(s, [a, b], steps, &mut sums);
            left -= steps;
            if left == 0 {
                break;
            }
            (a, b) = (a.add(steps * TALL), b.add(job.b_skip));
        }
        if !job.fresh {
            for (i, row) in sums.iter_mut().enumerate() {
                for (j, sum) in row.iter_mut().enumerate() {
                    *sum = s.add(s.load(&*at(job.c, i * job.c_row + j * LANES)), *sum);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                s.store(*sum, &mut *at_mut(job.c, i * job.c_row + j * LANES));
            }
        }
    }
}

const UNROLLED: usize = 4;

/// How many steps ahead the right panel is asked for.
const AHEAD: usize = 8;

/// The steps of a piece.
#[inline(always)]
unsafe fn along<S: Simd, const R: usize, const W: usize, const TALL: usize, const WIDE: usize>(
    s: S,
    [a, b]: [*const f32; 2],
    steps: usize,
    sums: &mut [[S::V; W]; R],
) {
    let mut step = 0;
    while step + UNROLLED <= steps {
        for _ in 0..UNROLLED {
            // SAFETY: there is such a step.
            unsafe { multiply::<S, R, W, WIDE>(s, a.add(step * TALL), b.add(step * WIDE * LANES), sums) }
            step += 1;
        }
    }
    while step < steps {
        // SAFETY: there is such a step.
        unsafe { multiply::<S, R, W, WIDE>(s, a.add(step * TALL), b.add(step * WIDE * LANES), sums) }
        step += 1;
    }
}

/// One step of every sum.
#[inline(always)]
unsafe fn multiply<S: Simd, const R: usize, const W: usize, const WIDE: usize>(
    s: S,
    a: *const f32,
    b: *const f32,
    sums: &mut [[S::V; W]; R],
) {
    let mut right = [s.splat(0.0); W];
    for (j, right) in right.iter_mut().enumerate() {
        s.prefetch_read(b.wrapping_add((j + AHEAD * WIDE) * LANES));
        // SAFETY: the panel has so many rows of sixteen at each step.
        *right = s.load(unsafe { &*at(b, j * LANES) });
    }
    for (i, row) in sums.iter_mut().enumerate() {
        // SAFETY: the panel has so many rows at each step.
        let left = s.splat(unsafe { *a.add(i) });
        for (sum, right) in row.iter_mut().zip(right) {
            *sum = s.fma(left, right, *sum);
        }
    }
}

#[inline(always)]
unsafe fn at(base: *const f32, offset: usize) -> *const Row {
    // SAFETY: the caller's promise, passed on.
    unsafe { base.add(offset).cast() }
}

#[inline(always)]
unsafe fn at_mut(base: *mut f32, offset: usize) -> *mut Row {
    // SAFETY: the caller's promise, passed on.
    unsafe { base.add(offset).cast() }
}
