//! Copies the factors into the order in which the tiles read them.
#![allow(unsafe_code)]

use core::ops::Range;

use super::super::rows::{ADDED, AddRows};
use super::super::simd::{Kernel, LANES, Simd};
use super::matrix::Matrix;

/// Steps of a transposed left factor that are asked for ahead: they may lie a page apart, where the machine does not guess the next.
const AHEAD: usize = 3;

/// Rows that are turned at once.
pub(super) const EIGHT: usize = 8;

/// Where the numbers of a packed right factor are: cut into pieces of so many steps, each piece into panels as wide as a tile, each
/// panel step after step. So a piece is written from whole rows of the factor, which memory likes best.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panels {
    /// Columns of the factor.
    pub(crate) columns: usize,
    /// Steps in a piece; of the last there may be fewer, in the room of a whole one.
    pub(crate) piece: usize,
}

impl Panels {
    /// Numbers in a piece.
    pub(crate) fn piece_len(&self, wide: usize) -> usize {
        self.columns.next_multiple_of(wide) * self.piece
    }

    /// Where the panel that begins at a column has a step.
    pub(crate) fn place(&self, column: usize, step: usize, wide: usize) -> usize {
        step / self.piece * self.piece_len(wide) + column * self.piece + step % self.piece * wide
    }

    /// Numbers in all, for so many steps.
    pub(crate) fn len(&self, steps: usize, wide: usize) -> usize {
        steps.div_ceil(self.piece) * self.piece_len(wide)
    }
}

/// One piece of a right factor `[depth, columns]`. Columns beyond the factor are zero up to a whole row of sixteen; what follows is left
/// as it is.
pub(crate) struct Right<'a> {
    pub(crate) factor: Matrix<'a>,
    pub(crate) steps: Range<usize>,
    pub(crate) panels: Panels,
    pub(crate) piece: &'a mut [f32],
    /// Empty, or for each [`ADDED`] rows of a factor that is not transposed their sum, from `+0`.
    pub(crate) sums: &'a mut [f32],
}

impl Kernel for Right<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.factor.transposed { self.turned(s) } else { self.straight(s) }
    }
}

impl Right<'_> {
    #[inline(always)]
    fn straight<S: Simd>(self, s: S) {
        let (wide, Matrix { values, stride, .. }) = (S::TILE[1], self.factor);
        let panel = wide * self.panels.piece;
        self.sums.fill(0.0);
        for (index, step) in self.steps.enumerate() {
            let row = &values[step * stride..][..self.panels.columns];
            for (from, panel) in row.chunks(wide).zip(self.piece.chunks_exact_mut(panel)) {
                let places = panel[index * wide..][..wide].as_chunks_mut::<LANES>().0;
                for (from, place) in from.chunks(LANES).zip(places) {
                    s.store(s.get(from), place);
                }
            }
            if let Some(sums) = self.sums.get_mut(index / ADDED * row.len()..).filter(|sums| !sums.is_empty()) {
                AddRows { values: row, sums: &mut sums[..row.len()] }.run(s);
            }
        }
    }

    /// Rows of the stored matrix become columns of the panels.
    #[inline(always)]
    fn turned<S: Simd>(self, s: S) {
        let (wide, Matrix { values, stride, .. }) = (S::TILE[1], self.factor);
        let panel = wide * self.panels.piece;
        for (first, panel) in (0..self.panels.columns).step_by(wide).zip(self.piece.chunks_exact_mut(panel)) {
            let columns = wide.min(self.panels.columns - first);
            let stored = |column: usize, step: usize| &values[(first + column) * stride + step..];
            for (step, rows) in self.steps.clone().step_by(LANES).zip(panel.chunks_mut(LANES * wide)) {
                let count = LANES.min(self.steps.end - step);
                let turned = if count == LANES { columns / EIGHT * EIGHT } else { 0 };
                for column in (0..turned).step_by(EIGHT) {
                    let mut lines = [&values[..0]; EIGHT];
                    lines.iter_mut().enumerate().for_each(|(i, line)| *line = stored(column + i, step));
                    turn(s, lines, EIGHT * stride, &mut rows[column..], wide);
                }
                for column in turned..columns {
                    let source = &stored(column, step)[..count];
                    rows.chunks_exact_mut(wide).zip(source).for_each(|(row, value)| row[column] = *value);
                }
                for row in rows.chunks_exact_mut(wide) {
                    row[columns..columns.next_multiple_of(LANES)].fill(0.0);
                }
            }
        }
    }
}

/// Sixteen steps of eight lines, to one place every `stride` numbers. The lines to come lie `ahead`, a page apart perhaps, where the machine
/// does not guess them; so they are asked for.
#[inline(always)]
fn turn<S: Simd>(s: S, lines: [&[f32]; EIGHT], ahead: usize, into: &mut [f32], stride: usize) {
    assert!(into.len() >= (LANES - 1) * stride + EIGHT, "sixteen places of eight");
    let mut rows = [s.splat(0.0); EIGHT];
    for (row, line) in rows.iter_mut().zip(lines) {
        s.prefetch_read(line.as_ptr().wrapping_add(ahead));
        *row = s.get(&line[..LANES]);
    }
    // SAFETY: the last of the places ends inside the slice.
    unsafe { s.turn(rows, into.as_mut_ptr(), stride) }
}

/// A few rows of a left factor, in panels as tall as a tile: `tall` numbers for each step. What is left at the places of rows that
/// are not there, and at the eight behind the last panel, is not stated.
#[inline(always)]
pub(crate) fn left<S: Simd>(s: S, factor: Matrix<'_>, panels: &mut [f32]) {
    let (tall, [rows, depth]) = (S::TILE[0], factor.shape());
    let len = rows.next_multiple_of(tall) * depth;
    assert!(tall <= EIGHT && len + EIGHT <= panels.len(), "a panel for every row");
    if factor.transposed {
        return turned_left(s, factor, tall, panels);
    }
    let Matrix { values, stride, .. } = factor;
    for row in (0..rows).step_by(tall) {
        let (count, panel) = (tall.min(rows - row), &mut panels[row * depth..][..tall * depth + EIGHT]);
        let mut lines = [&values[..0]; EIGHT];
        for (i, line) in lines.iter_mut().enumerate() {
            *line = &values[(row + i.min(count - 1)) * stride..][..depth];
        }
        interleave(s, lines, tall * stride, [tall, count], panel);
    }
}

/// The rows are columns of what is stored: a step of all of them lies together.
#[inline(always)]
fn turned_left<S: Simd>(s: S, factor: Matrix<'_>, tall: usize, panels: &mut [f32]) {
    let ([rows, depth], Matrix { values, stride, .. }) = (factor.shape(), factor);
    for step in 0..depth {
        let from = &values[step * stride..][..rows];
        for line in from.chunks(LANES) {
            s.prefetch_read(line.as_ptr().wrapping_add(AHEAD * stride));
        }
        let whole = from.chunks_exact(tall);
        let rest = whole.remainder();
        for (index, from) in whole.enumerate() {
            // SAFETY: `left` found a panel for every row; each has a place for every step.
            unsafe {
                let place = panels.as_mut_ptr().add((index * depth + step) * tall);
                place.copy_from_nonoverlapping(from.as_ptr(), tall);
            }
        }
        if !rest.is_empty() {
            panels[(rows / tall * depth + step) * tall..][..rest.len()].copy_from_slice(rest);
        }
    }
}

/// A number of each line in turns, `tall` of them for each step, of which `count` matter. Eight are written at once: those beyond
/// the places of a step are written over by the next, and the panel has room for eight more.
#[inline(always)]
fn interleave<S: Simd>(s: S, lines: [&[f32]; EIGHT], ahead: usize, [tall, count]: [usize; 2], panel: &mut [f32]) {
    let depth = lines[0].len();
    let whole = depth / LANES * LANES;
    for step in (0..whole).step_by(LANES) {
        let mut lines = lines;
        lines.iter_mut().for_each(|line| *line = &line[step..]);
        turn(s, lines, ahead, &mut panel[step * tall..], tall);
    }
    for (step, place) in (whole..depth).zip(panel[whole * tall..].chunks_exact_mut(tall)) {
        place[..count].iter_mut().zip(lines).for_each(|(place, line)| *place = line[step]);
    }
}
