//! Causal attention of all heads, forward and backward, without a sequence-by-sequence matrix.
//!
//! Queries go in blocks of 64, as in [`murmur_kernels::exact`]: a block's scores, shares and slopes are whole matrices in scratch
//! memory, made by the same product as any other, and a pass over their rows.

use cubecl::prelude::*;
use murmur_kernels::exact;

use super::lanes::{LANES, ROWS, kept, tree_sum, units};
use super::matmul::{Start, clear, multiply};
use super::round::{nothing, rounded};
use super::softmax::{scaled, weights};
use super::view::View;
use crate::device::cubes;
use crate::{Buffer, Gpu, GpuError};

/// Queries in a block.
const QUERIES: usize = 64;

/// Scores of a block become shares; those of later keys are `+0`. Row `r` of `scores` `[heads of all sequences, block, columns]` is
/// the query at position `first + r mod block`.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn block_shares(
    scores: &mut [f32],
    rows: usize,
    block: usize,
    columns: usize,
    first: usize,
    scale: f32,
    zero: u32,
    #[comptime] keeps: usize,
) {
    let mut parts = Shared::<[f32]>::new_slice(ROWS * LANES);
    let mut own = Array::<f32>::new(keeps.max(1));
    let row = CUBE_POS * ROWS + UNIT_POS_Y as usize;
    let there = row < rows;
    let start = row * columns;
    let past = first + row % block + 1;
    let (_best, mass) = weights(scores, start, past, there, scale, zero, &mut parts, &mut own, keeps);
    if there {
        scaled(scores, start, past, rounded(1.0f32 / mass, zero), &own, keeps);
        for step in 0..columns.div_ceil(LANES) {
            let at = step * LANES + UNIT_POS_X as usize;
            if at >= past && at < columns {
                scores[start + at] = 0.0f32;
            }
        }
    }
}

/// Slopes of the shares become those of the scores: `share · (slope − Σ share·slope) · scale`, zero for later keys.
#[cube(launch)]
fn score_slopes(
    shares: &[f32],
    slopes: &mut [f32],
    rows: usize,
    block: usize,
    columns: usize,
    first: usize,
    scale: f32,
    zero: u32,
) {
    let mut parts = Shared::<[f32]>::new_slice(ROWS * LANES);
    let row = CUBE_POS * ROWS + UNIT_POS_Y as usize;
    let there = row < rows;
    let start = row * columns;
    let past = first + row % block + 1;
    let mut sum = nothing(zero);
    if there {
        for step in 0..past.div_ceil(LANES) {
            let at = step * LANES + UNIT_POS_X as usize;
            let mut slope = 0.0f32;
            let mut share = 0.0f32;
            if at < past {
                slope = slopes[start + at];
                share = shares[start + at];
            }
            sum = fma(slope, share, sum);
        }
    }
    let mean = tree_sum(sum, &mut parts);
    if there {
        for step in 0..columns.div_ceil(LANES) {
            let at = step * LANES + UNIT_POS_X as usize;
            if at < past {
                slopes[start + at] = shares[start + at] * ((slopes[start + at] - mean) * scale);
            } else if at < columns {
                slopes[start + at] = 0.0f32;
            }
        }
    }
}

/// The mixed values `[batch, seq, heads · width]` of `qkv` `[batch, seq, 3 · heads · width]`.
///
/// # Errors
/// The shapes do not fit.
pub fn attention(gpu: &Gpu, sizes: exact::Attention, qkv: &Buffer, mixed: &Buffer) -> Result<(), GpuError> {
    let work = Work::new(gpu, sizes, qkv, mixed)?;
    if mixed.is_empty() {
        return Ok(());
    }
    let shares = work.room();
    for block in work.blocks() {
        let [first, rows, columns] = block;
        let shares = work.block(&shares, block);
        work.shares(shares, block);
        let out = work.mixed(mixed).below(first);
        work.multiply([shares, work.part(qkv, 2), out], [rows, sizes.width, columns], Start::Zero);
    }
    Ok(())
}

/// The gradient of `qkv`, written over `grad_qkv`, from that of the mixed values.
///
/// # Errors
/// The shapes do not fit.
pub fn attention_backward(
    gpu: &Gpu,
    sizes: exact::Attention,
    [qkv, grad]: [&Buffer; 2],
    grad_qkv: &Buffer,
) -> Result<(), GpuError> {
    let work = Work::new(gpu, sizes, qkv, grad)?;
    Work::new(gpu, sizes, grad_qkv, grad)?;
    if grad.is_empty() {
        return Ok(());
    }
    clear(gpu, grad_qkv);
    let (shares, slopes) = (work.room(), work.room());
    let [query, key, value] = [0, 1, 2].map(|part| work.part(qkv, part));
    let [grad_query, grad_key, grad_value] = [0, 1, 2].map(|part| work.part(grad_qkv, part));
    let width = sizes.width;
    for block in work.blocks() {
        let [first, rows, columns] = block;
        let (shares, slopes) = (work.block(&shares, block), work.block(&slopes, block));
        let grad = work.mixed(grad).below(first);
        work.shares(shares, block);
        work.multiply([grad, value.transposed(), slopes], [rows, columns, width], Start::Zero);
        work.slopes([shares, slopes], block);
        work.multiply([slopes, key, grad_query.below(first)], [rows, width, columns], Start::Zero);
        let by_key = [columns, width, rows];
        work.multiply([slopes.transposed(), query.below(first), grad_key], by_key, Start::Current);
        work.multiply([shares.transposed(), grad, grad_value], by_key, Start::Current);
    }
    Ok(())
}

/// An attention whose shapes were checked.
struct Work<'a> {
    gpu: &'a Gpu,
    sizes: exact::Attention,
    qkv: &'a Buffer,
}

impl<'a> Work<'a> {
    fn new(gpu: &'a Gpu, sizes: exact::Attention, qkv: &'a Buffer, mixed: &Buffer) -> Result<Self, GpuError> {
        let numbers = sizes.batch * sizes.seq * sizes.heads * sizes.width;
        GpuError::unless_equal("attention", &[qkv.len(), mixed.len()], &[3 * numbers, numbers])?;
        Ok(Self { gpu, sizes, qkv })
    }

    fn d(&self) -> usize {
        self.sizes.heads * self.sizes.width
    }

    fn scale(&self) -> f32 {
        1.0 / (self.sizes.width as f32).sqrt()
    }

    /// The blocks: where each begins, how many queries it has, and how many keys they look at.
    fn blocks(&self) -> impl Iterator<Item = [usize; 3]> + use<> {
        let seq = self.sizes.seq;
        (0..seq).step_by(QUERIES).map(move |first| {
            let end = seq.min(first + QUERIES);
            [first, end - first, end]
        })
    }

    /// Room for the largest block of every head of every sequence.
    fn room(&self) -> Buffer {
        let Self { sizes, .. } = self;
        self.gpu.room(sizes.batch * sizes.heads * QUERIES.min(sizes.seq) * sizes.seq)
    }

    /// A block in that room: `[batch, heads, rows, columns]`.
    fn block<'b>(&self, values: &'b Buffer, [_, rows, columns]: [usize; 3]) -> View<'b> {
        let one = rows * columns;
        View { values, first: 0, strides: [self.sizes.heads * one, one, columns, 1] }
    }

    /// Queries, keys or values: `[batch, heads, seq, width]`.
    fn part<'b>(&self, values: &'b Buffer, part: usize) -> View<'b> {
        let row = 3 * self.d();
        View { values, first: part * self.d(), strides: [self.sizes.seq * row, self.sizes.width, row, 1] }
    }

    /// The same of mixed values.
    fn mixed<'b>(&self, values: &'b Buffer) -> View<'b> {
        let row = self.d();
        View { values, first: 0, strides: [self.sizes.seq * row, self.sizes.width, row, 1] }
    }

    fn multiply(&self, views: [View<'_>; 3], sizes: [usize; 3], start: Start) {
        multiply(self.gpu, views, sizes, [self.sizes.batch, self.sizes.heads], start);
    }

    fn shares(&self, shares: View<'_>, [first, block, columns]: [usize; 3]) {
        let [query, key] = [0, 1].map(|part| self.part(self.qkv, part));
        self.multiply([query.below(first), key.transposed(), shares], [block, columns, self.sizes.width], Start::Zero);
        let rows = self.sizes.batch * self.sizes.heads * block;
        let (count, values) = (cubes(rows.div_ceil(ROWS)), shares.values.arg());
        let (scale, keeps) = (self.scale(), kept(columns));
        block_shares::launch(&self.gpu.client, count, units(), values, rows, block, columns, first, scale, 0, keeps);
    }

    fn slopes(&self, [shares, slopes]: [View<'_>; 2], [first, block, columns]: [usize; 3]) {
        let rows = self.sizes.batch * self.sizes.heads * block;
        let (count, shares, slopes) = (cubes(rows.div_ceil(ROWS)), shares.values.arg(), slopes.values.arg());
        score_slopes::launch(
            &self.gpu.client,
            count,
            units(),
            shares,
            slopes,
            rows,
            block,
            columns,
            first,
            self.scale(),
            0,
        );
    }
}
