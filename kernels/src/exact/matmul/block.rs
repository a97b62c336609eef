//! Rows of a product, tile by tile.
#![allow(unsafe_code)]

use core::cell::RefCell;
use core::ops::Range;

use super::super::buffer::Buffer;
use super::super::simd::{Kernel, Simd};
use super::matrix::Matrix;
use super::pack::Panels;
use super::tile::Tile;
use super::{DEPTH, pack};

/// Most rows of the left factor that are packed at once. While they are, all panels pass by: the more, the less often.
const ROWS: usize = 96;

/// Columns in a group, about: with the steps of a block they fill half the second-level cache.
const GROUP: usize = 384;

thread_local! {
    /// The packed rows of the block that this thread computes.
    static ROOM: RefCell<Buffer> = RefCell::default();
}

/// A product `left · right`, its blocks of steps counted from its own first. `out` holds its rows `stride` apart.
pub(crate) struct Block<'a> {
    /// `[rows, depth]`.
    pub(crate) left: Matrix<'a>,
    /// `[depth, columns]`, packed.
    pub(crate) right: &'a [f32],
    pub(crate) panels: Panels,
    pub(crate) out: &'a mut [f32],
    pub(crate) stride: usize,
    /// The sums are the result, not added to what `out` holds.
    pub(crate) fresh: bool,
}

impl Kernel for Block<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let ([rows, depth], tall) = (self.left.shape(), S::TILE[0]);
        if rows == 0 || self.panels.columns == 0 || depth == 0 {
            return;
        }
        self.check(S::TILE);
        ROOM.with_borrow_mut(|room| {
            let room = room.fit(ROWS / tall * tall * depth.min(DEPTH) + pack::EIGHT);
            for first in (0..depth).step_by(DEPTH) {
                let steps = first..depth.min(first + DEPTH);
                for top in (0..rows).step_by(ROWS / tall * tall) {
                    let some = top..rows.min(top + ROWS / tall * tall);
                    s.enter(Packing { factor: self.left.part(some.clone(), &steps), panels: &mut *room });
                    s.enter(Tiles { block: &mut self, left: &*room, rows: some, steps: steps.clone() });
                }
            }
        });
    }
}

struct Packing<'a> {
    factor: Matrix<'a>,
    panels: &'a mut [f32],
}

impl Kernel for Packing<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        pack::left(s, self.factor, self.panels);
    }
}

/// Some rows of a block over some steps.
struct Tiles<'a, 'b> {
    block: &'a mut Block<'b>,
    left: &'a [f32],
    rows: Range<usize>,
    steps: Range<usize>,
}

impl Kernel for Tiles<'_, '_> {
    type Out = ();

    /// A row of tiles takes all panels of a group in turn: its left factor stays in the first-level cache, the panels in the second.
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (Self { block, left, rows, steps }, [tall, wide]) = (self, S::TILE);
        let group = (GROUP / wide).max(1) * wide;
        let panels = block.right[block.panels.place(0, steps.start, wide)..].as_ptr();
        for first in (0..block.panels.columns).step_by(group) {
            let columns = first..block.panels.columns.min(first + group);
            for (row, left) in rows.clone().step_by(tall).zip(left.chunks_exact(tall * steps.len())) {
                for column in columns.clone().step_by(wide) {
                    let next = if column + wide < columns.end { [row, column + wide] } else { [row + tall, first] };
                    let tile = block.tile([row, column], next, [left.as_ptr(), panels], &steps, S::TILE);
                    // SAFETY: `check` found that all rows, columns and steps of the block are inside the slices.
                    unsafe { s.tile(tile) };
                }
            }
        }
    }
}

impl Block<'_> {
    /// Everything that the tiles will touch is inside the slices: checked once, before the first.
    fn check(&self, [tall, wide]: [usize; 2]) {
        let ([rows, depth], columns) = (self.left.shape(), self.panels.columns);
        assert!(tall <= ROWS, "a tile that is taller than its room");
        let piece = self.panels.piece;
        assert!(depth <= piece || DEPTH.is_multiple_of(piece), "a block that begins within a piece");
        assert!(self.panels.len(depth, wide) <= self.right.len(), "a panel is missing");
        let needed = (rows - 1).checked_mul(self.stride).and_then(|last| last.checked_add(columns));
        assert!(columns <= self.stride && needed.is_some_and(|len| len <= self.out.len()), "a result too short");
    }

    /// The tile at a row and a column, over some steps: its panel of the left factor, and where the panels of the right begin.
    #[inline(always)]
    fn tile(
        &mut self,
        [row, column]: [usize; 2],
        next: [usize; 2],
        [left, panels]: [*const f32; 2],
        steps: &Range<usize>,
        [tall, wide]: [usize; 2],
    ) -> Tile {
        let (rows, columns) = (self.left.shape()[0], self.panels.columns);
        let c = self.out.as_mut_ptr();
        Tile {
            depth: steps.len(),
            a: left,
            b: panels.wrapping_add(self.panels.place(column, 0, wide)),
            piece: self.panels.piece,
            b_skip: self.panels.piece_len(wide),
            c: c.wrapping_add(row * self.stride + column),
            c_row: self.stride,
            rows: tall.min(rows - row),
            columns: wide.min(columns - column),
            next: c.wrapping_add(next[0] * self.stride + next[1]),
            fresh: self.fresh && steps.start == 0,
        }
    }
}
