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

/// Columns in a group, about: with the steps of a block, as much as the second-level cache holds beside the rest.
const GROUP: usize = 384;

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
    fn run<S: Simd>(mut self, s: S) {
        if self.rows == 0 || self.columns == 0 || self.depth == 0 {
            return;
        }
        self.check(S::TILE);
        let [tall, wide] = S::TILE;
        // A row of tiles takes all panels of a group in turn: its left factor stays in the first-level cache, the group in the second.
        let group = (GROUP / wide).max(1) * wide;
        for first in (0..self.columns).step_by(group) {
            let columns = first..self.columns.min(first + group);
            for row in (0..self.rows).step_by(tall) {
                for column in columns.clone().step_by(wide) {
                    let next = if column + wide < columns.end { [row, column + wide] } else { [row + tall, first] };
                    // SAFETY: `check` found that rows and columns up to the ends of the block are inside the slices.
                    unsafe { s.tile(self.tile([row, column], next, S::TILE)) };
                }
            }
        }
    }
}

impl Block<'_> {
    /// The tile at a place, a row and a column, and where the next one is.
    #[inline(always)]
    fn tile(&mut self, [row, column]: [usize; 2], next: [usize; 2], [tall, wide]: [usize; 2]) -> Tile {
        let (a, a_row, a_step) = match self.left {
            Left::Rows { values, stride } => (values[row * stride..].as_ptr(), stride, 1),
            Left::Panels(values) => (values[row * self.depth..].as_ptr(), 1, tall),
        };
        let c = self.out.as_mut_ptr();
        Tile {
            depth: self.depth,
            a,
            a_row,
            a_step,
            b: self.right[column * self.depth..].as_ptr(),
            c: c.wrapping_add(row * self.stride + column),
            c_row: self.stride,
            rows: tall.min(self.rows - row),
            columns: wide.min(self.columns - column),
            next: c.wrapping_add(next[0] * self.stride + next[1]),
            fresh: self.fresh,
        }
    }
}
