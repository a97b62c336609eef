//! Causal attention of all heads, forward and backward, without a sequence-by-sequence matrix.
//!
//! Queries go in blocks of 64. The scores of a block against the keys up to its end are products in ascending order of the
//! head's width; each row's softmax (scale inside the exponent) covers the keys up to its own position, and the shares of
//! later keys are `+0`; the block's shares times the values are products in ascending order of keys. The backward pass computes
//! the shares again. Each block of queries is a product of its own, added to the gradients of keys and values: those are sums of at most
//! 64 queries, added in ascending order from `+0`. All products go in blocks of 256 steps, like any other. The order is the same for
//! any number of threads: a sequence is one task.
//! Masked keys of a block take part with a share of zero: a NaN or infinity in them spoils the whole block.

use super::buffer::Buffer;
use super::matmul::block::Block;
use super::matmul::pack::{Panels, Right};
use super::matmul::{Matrix, ShapeError};
use super::pool::Pool;
use super::rows::dot;
use super::simd::{Kernel, LANES, Simd};
use super::softmax::{scaled, weights};

/// Queries in a block.
const QUERIES: usize = 64;

/// Sizes of an attention: queries, keys and values lie side by side, `[batch, seq, 3 · heads · width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Positions of each.
    pub seq: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub width: usize,
}

impl Attention {
    fn d(self) -> usize {
        self.heads * self.width
    }

    fn check(self, qkv: &[f32], mixed: &[f32]) -> Result<(), ShapeError> {
        let tokens = self.batch * self.seq;
        let expected = [tokens * 3 * self.d(), tokens * self.d()];
        ShapeError::unless_equal("attention", &[qkv.len(), mixed.len()], &expected)
    }

    /// Numbers of scratch for one sequence: two blocks of scores and four packed factors.
    fn room(self) -> usize {
        let wide = |n: usize| n.next_multiple_of(64);
        2 * QUERIES * self.seq + 4 * (wide(self.seq) + 64) * (wide(self.width) + 64)
    }

    /// Numbers of scratch that a pass takes, forward or backward.
    pub fn scratch(self) -> usize {
        self.batch.saturating_mul(self.room())
    }

    /// The mixed values `[batch, seq, heads · width]`.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn forward(self, pool: &Pool, qkv: &[f32], mixed: &mut [f32], scratch: &mut Buffer) -> Result<(), ShapeError> {
        self.check(qkv, mixed)?;
        if mixed.is_empty() {
            return Ok(());
        }
        let (one, room) = (self.seq * self.d(), self.room());
        let scratch = scratch.fit(self.scratch());
        pool.pairs([(mixed, one), (scratch, room)], |i, mixed, room| {
            let qkv = &qkv[i * 3 * one..][..3 * one];
            for head in 0..self.heads {
                pool.level().run(Forward { sizes: self, head, qkv, mixed: &mut *mixed, room: &mut *room });
            }
        });
        Ok(())
    }

    /// The gradient of `qkv`, written over `grad_qkv`, from that of the mixed values.
    ///
    /// # Errors
    /// The shapes do not fit.
    pub fn backward(
        self,
        pool: &Pool,
        [qkv, grad]: [&[f32]; 2],
        grad_qkv: &mut [f32],
        scratch: &mut Buffer,
    ) -> Result<(), ShapeError> {
        self.check(qkv, grad)?;
        self.check(grad_qkv, grad)?;
        if grad.is_empty() {
            return Ok(());
        }
        let (one, room) = (self.seq * self.d(), self.room());
        let scratch = scratch.fit(self.scratch());
        pool.pairs([(grad_qkv, 3 * one), (scratch, room)], |i, grad_qkv, room| {
            let (qkv, grad) = (&qkv[i * 3 * one..][..3 * one], &grad[i * one..][..one]);
            grad_qkv.fill(0.0);
            for head in 0..self.heads {
                pool.level().run(Backward { sizes: self, head, qkv, grad, grad_qkv: &mut *grad_qkv, room: &mut *room });
            }
        });
        Ok(())
    }

    /// Queries, keys or values of one head: `[seq, width]`.
    fn part(self, qkv: &[f32], part: usize, head: usize) -> Rows<'_> {
        Rows { values: &qkv[part * self.d() + head * self.width..], stride: 3 * self.d() }
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The blocks: where each begins, how many queries it has, and how many keys they look at.
    fn blocks(self) -> impl Iterator<Item = [usize; 3]> {
        (0..self.seq).step_by(QUERIES).map(move |first| {
            let end = self.seq.min(first + QUERIES);
            [first, end - first, end]
        })
    }
}

/// Rows somewhere in a slice.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
}

impl<'a> Rows<'a> {
    fn from(self, row: usize) -> Self {
        Self { values: &self.values[row * self.stride..], ..self }
    }

    /// `[count, width]` of them.
    fn matrix(self, count: usize, width: usize) -> Matrix<'a> {
        let matrix = Matrix::strided(self.values, count, width, self.stride);
        matrix.expect("a head's rows are inside the slice whose size was checked")
    }
}

/// A right factor, packed.
#[derive(Clone, Copy)]
struct Packed<'r> {
    right: &'r [f32],
    panels: Panels,
}

/// A factor `[depth, columns]`, packed for the tiles in one piece.
#[inline(always)]
fn packed<'r, S: Simd>(s: S, factor: Matrix<'_>, room: &mut &'r mut [f32]) -> Packed<'r> {
    let [depth, columns] = factor.shape();
    let panels = Panels { columns, piece: depth };
    let piece = take(room, panels.piece_len(S::TILE[1]));
    Right { factor, steps: 0..depth, panels, piece: &mut *piece, sums: &mut [] }.run(s);
    Packed { right: piece, panels }
}

impl Packed<'_> {
    /// `out = left · self`, or `out +=`, over as many steps as `left` has; rows of `out` lie `stride` apart.
    #[inline(always)]
    fn multiply<S: Simd>(self, s: S, left: Matrix<'_>, out: &mut [f32], stride: usize, fresh: bool) {
        s.enter(Block { left, right: self.right, panels: self.panels, out, stride, fresh });
    }

    /// Only its first columns.
    fn first(self, columns: usize) -> Self {
        Self { panels: Panels { columns, ..self.panels }, ..self }
    }
}

fn take<'r>(room: &mut &'r mut [f32], len: usize) -> &'r mut [f32] {
    let (taken, rest) = core::mem::take(room).split_at_mut(len);
    *room = rest;
    taken
}

struct Forward<'a> {
    sizes: Attention,
    head: usize,
    qkv: &'a [f32],
    mixed: &'a mut [f32],
    room: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Attention { seq, width, .. } = self.sizes;
        let [query, key, value] = [0, 1, 2].map(|part| self.sizes.part(self.qkv, part, self.head));
        let mut room = self.room;
        let keys = packed(s, key.matrix(seq, width).transposed(), &mut room);
        let values = packed(s, value.matrix(seq, width), &mut room);
        let (shares, d) = (take(&mut room, QUERIES * seq), self.sizes.d());
        for [first, rows, columns] in self.sizes.blocks() {
            let shares = &mut shares[..rows * columns];
            block_shares(s, self.sizes, query.from(first), keys, [first, columns], shares);
            let out = &mut self.mixed[first * d + self.head * width..];
            let left = Rows { values: shares, stride: columns }.matrix(rows, columns);
            values.multiply(s, left, out, d, true);
        }
    }
}

/// The shares of some queries, of which the first is at position `first`, in the keys before `columns`.
#[inline(always)]
fn block_shares<S: Simd>(
    s: S,
    sizes: Attention,
    query: Rows<'_>,
    keys: Packed<'_>,
    [first, columns]: [usize; 2],
    shares: &mut [f32],
) {
    let rows = shares.len() / columns;
    let left = query.matrix(rows, sizes.width);
    keys.first(columns).multiply(s, left, shares, columns, true);
    for (i, row) in shares.chunks_exact_mut(columns).enumerate() {
        let (past, future) = row.split_at_mut(first + i + 1);
        let (_, mass) = weights(s, past, sizes.scale());
        scaled(s, past, 1.0 / mass);
        future.fill(0.0);
    }
}

struct Backward<'a> {
    sizes: Attention,
    head: usize,
    qkv: &'a [f32],
    grad: &'a [f32],
    grad_qkv: &'a mut [f32],
    room: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Attention { seq, width, .. } = self.sizes;
        let (d, at) = (self.sizes.d(), self.head * self.sizes.width);
        let [query, key, value] = [0, 1, 2].map(|part| self.sizes.part(self.qkv, part, self.head));
        let grad = Rows { values: &self.grad[at..], stride: d };
        let mut room = self.room;
        let keys = packed(s, key.matrix(seq, width).transposed(), &mut room);
        let values = packed(s, value.matrix(seq, width).transposed(), &mut room);
        let rows_of_keys = packed(s, key.matrix(seq, width), &mut room);
        let (shares, slopes) = (take(&mut room, QUERIES * seq), take(&mut room, QUERIES * seq));
        for [first, rows, columns] in self.sizes.blocks() {
            let (shares, slopes) = (&mut shares[..rows * columns], &mut slopes[..rows * columns]);
            block_shares(s, self.sizes, query.from(first), keys, [first, columns], shares);
            let (left, out) = (grad.from(first).matrix(rows, width), &mut *slopes);
            values.first(columns).multiply(s, left, out, columns, true);
            score_slopes(s, self.sizes, first, columns, shares, slopes);
            let left = Rows { values: slopes, stride: columns }.matrix(rows, columns);
            let out = &mut self.grad_qkv[first * 3 * d + at..];
            rows_of_keys.multiply(s, left, out, 3 * d, true);
            for (part, weights, rows_of) in [(1, &*slopes, query), (2, &*shares, grad)] {
                let mut rest = &mut *room;
                let right = packed(s, rows_of.from(first).matrix(rows, width), &mut rest);
                let left = Rows { values: weights, stride: columns }.matrix(rows, columns).transposed();
                let out = &mut self.grad_qkv[part * d + at..];
                right.multiply(s, left, out, 3 * d, false);
            }
        }
    }
}

/// `share · (slope − Σ share·slope) · scale` in place of the slopes of the shares; zero for later keys.
#[inline(always)]
fn score_slopes<S: Simd>(s: S, sizes: Attention, first: usize, columns: usize, shares: &[f32], slopes: &mut [f32]) {
    let scale = s.splat(sizes.scale());
    let rows = slopes.chunks_exact_mut(columns).zip(shares.chunks_exact(columns));
    for (i, (slopes, shares)) in rows.enumerate() {
        let (past, future) = slopes.split_at_mut(first + i + 1);
        let shares = &shares[..past.len()];
        let mean = s.splat(dot(s, past, shares));
        for (slope, share) in past.chunks_mut(LANES).zip(shares.chunks(LANES)) {
            let off = s.mul(s.sub(s.get(slope), mean), scale);
            s.put(s.mul(s.get(share), off), slope);
        }
        future.fill(0.0);
    }
}
