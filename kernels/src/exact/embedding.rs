//! Rows of a table, looked up, and their gradient.

use super::matmul::ShapeError;
use super::pool::Pool;
use super::rows::GROUP;
use super::simd::{Kernel, LANES, Simd};

/// `out[i] = table[tokens[i]] + positions[i mod seq]`. A token is whatever names a row.
///
/// # Shapes
/// `table`: `[vocab, d]`, `positions`: `[≥ seq, d]`, `tokens`: `[batch · seq]`, `out`: `[batch · seq, d]`.
///
/// # Errors
/// The shapes do not fit, or a token is beyond the table.
pub fn embed<T: Copy + Into<usize> + Sync>(
    pool: &Pool,
    [table, positions]: [&[f32]; 2],
    tokens: &[T],
    seq: usize,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let d = check("embed", table.len(), tokens, seq, out.len())?;
    if positions.len() < seq * d {
        return Err(ShapeError { op: "embed", left: vec![positions.len()], right: vec![seq, d] });
    }
    let group = GROUP * d;
    pool.chunks(out, group, |i, out| {
        pool.level().run(Lookup { table, positions, tokens: &tokens[i * GROUP..], first: i * GROUP, seq, d, out });
    });
    Ok(())
}

/// The width of a row.
fn check<T: Copy + Into<usize>>(
    op: &'static str,
    table: usize,
    tokens: &[T],
    seq: usize,
    out: usize,
) -> Result<usize, ShapeError> {
    let d = out.checked_div(tokens.len()).unwrap_or(0);
    let whole = seq > 0 && d > 0 && tokens.len().is_multiple_of(seq) && out == tokens.len() * d;
    let most = tokens.iter().map(|&token| token.into()).max().map_or(0, |last| last.saturating_add(1));
    if whole && most.saturating_mul(d) <= table && table.is_multiple_of(d) {
        return Ok(d);
    }
    Err(ShapeError { op, left: vec![table], right: vec![tokens.len(), seq, out, most] })
}

struct Lookup<'a, T> {
    table: &'a [f32],
    positions: &'a [f32],
    tokens: &'a [T],
    first: usize,
    seq: usize,
    d: usize,
    out: &'a mut [f32],
}

impl<T: Copy + Into<usize>> Kernel for Lookup<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, (out, &token)) in self.out.chunks_exact_mut(self.d).zip(self.tokens).enumerate() {
            let token = &self.table[token.into() * self.d..][..self.d];
            let position = &self.positions[(self.first + i) % self.seq * self.d..][..self.d];
            for ((out, token), position) in out.chunks_mut(LANES).zip(token.chunks(LANES)).zip(position.chunks(LANES)) {
                s.put(s.add(s.get(token), s.get(position)), out);
            }
        }
    }
}

/// Gradients of both tables, written over `grad_table` and `grad_positions`: each row is the sum, from `+0`, over the places where
/// it was used, in ascending order.
///
/// # Shapes
/// `grad`: `[batch · seq, d]`; positions beyond `seq` get zero.
///
/// # Errors
/// The shapes do not fit, or a token is beyond the table.
pub fn embed_backward<T: Copy + Into<usize>>(
    pool: &Pool,
    grad: &[f32],
    tokens: &[T],
    seq: usize,
    [grad_table, grad_positions]: [&mut [f32]; 2],
) -> Result<(), ShapeError> {
    let d = check("embed_backward", grad_table.len(), tokens, seq, grad.len())?;
    if grad_positions.len() < seq * d {
        return Err(ShapeError { op: "embed_backward", left: vec![grad_positions.len()], right: vec![seq, d] });
    }
    grad_table.fill(0.0);
    grad_positions.fill(0.0);
    pool.level().run(Scatter { grad, places: tokens.iter().map(|&token| token.into()), d, sums: grad_table });
    let places = (0..tokens.len()).map(|i| i % seq);
    pool.level().run(Scatter { grad, places, d, sums: grad_positions });
    Ok(())
}

struct Scatter<'a, I> {
    grad: &'a [f32],
    places: I,
    d: usize,
    sums: &'a mut [f32],
}

impl<I: Iterator<Item = usize>> Kernel for Scatter<'_, I> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (grad, place) in self.grad.chunks_exact(self.d).zip(self.places) {
            let sums = &mut self.sums[place * self.d..][..self.d];
            for (sum, grad) in sums.chunks_mut(LANES).zip(grad.chunks(LANES)) {
                s.put(s.add(s.get(sum), s.get(grad)), sum);
            }
        }
    }
}
