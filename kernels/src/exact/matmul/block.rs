//! Rows of a product, tile by tile.
#![allow(unsafe_code)]

use super::super::simd::{Kernel, Simd};
use super::tile::Tile;

/// The left factor's rows, as stored or packed.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Contiguous rows `stride` apart, from the first number of this block of steps on.
    Rows { values: &'a [f32], stride: usize },
    /// Panels of as many rows as a tile has, one after the other.
    Panels(&'a [f32]),
}

/// `rows` rows of a product over `depth` steps. `out` holds them `stride` apart, `columns` of each; `right` is packed in panels.
pub(crate) struct Block<'a> {
    pub(crate) left: Left<'a>,
    pub(crate) right: &'a [f32],
    pub(crate) out: &'a mut [f32],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) stride: usize,
    pub(crate) depth: usize,
    /// The sums start from zero, not from what `out` holds.
    pub(crate) fresh: bool,
}

impl Block<'_> {
    /// Everything that the tiles will touch is inside the slices: checked once, before the first.
    fn check(&self, [tall, wide]: [usize; 2]) {
        let last = |stride: usize, width: usize| (self.rows - 1) * stride + width;
        let fits = match self.left {
            Left::Rows { values, stride } => {
                self.depth <= stride.max(self.depth) && last(stride, self.depth) <= values.len()
            }
            Left::Panels(values) => self.rows.div_ceil(tall) * tall * self.depth <= values.len(),
        };
        assert!(fits, "a left factor shorter than its shape");
        assert!(self.columns.div_ceil(wide) * wide * self.depth <= self.right.len(), "a panel is missing");
        assert!(self.columns <= self.stride && last(self.stride, self.columns) <= self.out.len(), "a result too short");
    }
}

impl Kernel for Block<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.rows == 0 || self.columns == 0 || self.depth == 0 {
            return;
        }
        self.check(S::TILE);
        let [tall, wide] = S::TILE;
        let c = self.out.as_mut_ptr();
        for column in (0..self.columns).step_by(wide) {
            let b = self.right[column * self.depth..].as_ptr();
            for row in (0..self.rows).step_by(tall) {
                let (a, a_row, a_step) = match self.left {
                    Left::Rows { values, stride } => (values[row * stride..].as_ptr(), stride, 1),
                    Left::Panels(values) => (values[row * self.depth..].as_ptr(), 1, tall),
                };
                let rows = tall.min(self.rows - row);
                let place = row * self.stride + column;
                // SAFETY: `check` found that rows and columns up to the ends of the block are inside the slices.
                unsafe {
                    let job = Tile {
                        depth: self.depth,
                        a,
                        a_row,
                        a_step,
                        b,
                        c: c.add(place),
                        c_row: self.stride,
                        rows,
                        fresh: self.fresh,
                    };
                    if column + wide <= self.columns {
                        s.tile(job);
                    } else {
                        edge(s, job, self.columns - column);
                    }
                }
            }
        }
    }
}

/// A tile with fewer columns than the registers have, computed beside the result.
#[inline(always)]
unsafe fn edge<S: Simd>(s: S, job: Tile, columns: usize) {
    const ROOM: usize = 1024;
    let wide = S::TILE[1];
    let mut room = [0.0f32; ROOM];
    debug_assert!(job.rows * wide <= ROOM);
    // SAFETY: the caller's promise for the first `columns` of each row; the room holds a whole tile.
    unsafe {
        for row in 0..job.rows {
            let from = core::slice::from_raw_parts(job.c.add(row * job.c_row), columns);
            room[row * wide..][..columns].copy_from_slice(from);
        }
        s.tile(Tile { c: room.as_mut_ptr(), c_row: wide, ..job });
        for row in 0..job.rows {
            let into = core::slice::from_raw_parts_mut(job.c.add(row * job.c_row), columns);
            into.copy_from_slice(&room[row * wide..][..columns]);
        }
    }
}
