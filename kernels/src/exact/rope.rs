//! Rotary positions (Su et al. 2021): the two halves of a head are turned against each other by an angle that grows with position.
//!
//! Pair `i` of a head of `width` turns by `position · base^(−2i/width)`. The angle is computed in `f64` by plain additions and
//! products, taken modulo 2π and rounded to `f32`; then the profile's sine and cosine.

use super::buffer::Buffer;
use super::math::sin_cos;
use super::matmul::ShapeError;
use super::pool::Pool;
use super::rows::GROUP;
use super::simd::{Kernel, LANES, Simd};

/// Sines and cosines for every position and pair.
#[derive(Clone, Debug)]
pub struct Rope {
    width: usize,
    /// `[seq, width / 2]` each.
    cos: Buffer,
    sin: Buffer,
}

/// Which way to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The forward pass.
    Forward,
    /// Back: the backward pass, which turns gradients.
    Back,
}

impl Rope {
    /// Tables for `seq` positions and heads of `width`, for the given natural logarithm of the base (9.210340371976184 for 10,000).
    ///
    /// # Errors
    /// The width is odd.
    pub fn new(pool: &Pool, seq: usize, width: usize, ln_base: f64) -> Result<Self, ShapeError> {
        ShapeError::unless_equal("rope", &[width % 2], &[0])?;
        let half = width / 2;
        let mut angles = Buffer::zeros(seq * half);
        for (place, angle) in angles.iter_mut().enumerate() {
            let (position, pair) = (place / half, place % half);
            *angle = within_a_turn(position as f64 * exp(-((2 * pair) as f64) / width as f64 * ln_base));
        }
        let mut rope = Self { width, cos: Buffer::zeros(seq * half), sin: Buffer::zeros(seq * half) };
        pool.level().run(Angles { angles: &angles, cos: &mut rope.cos, sin: &mut rope.sin });
        Ok(rope)
    }

    /// Turns the heads of each row, in place. Row `i` is at position `i mod seq`, for the `seq` rows of a sequence.
    ///
    /// # Shapes
    /// `x`: `[batch · seq, heads · width]`, where `row` is `heads · width`.
    ///
    /// # Errors
    /// The shapes do not fit, or the sequence is longer than the tables.
    pub fn turn(&self, pool: &Pool, turn: Turn, x: &mut [f32], seq: usize, row: usize) -> Result<(), ShapeError> {
        let half = self.width / 2;
        let whole = |n: usize, part: usize| part > 0 && n.is_multiple_of(part);
        if !(whole(row, self.width) && whole(x.len(), row) && seq > 0 && seq * half <= self.cos.len()) {
            return Err(ShapeError { op: "rope", left: vec![x.len(), row], right: vec![seq, self.width] });
        }
        pool.chunks(x, GROUP * row, |group, x| {
            for (i, x) in x.chunks_exact_mut(row).enumerate() {
                let at = (group * GROUP + i) % seq * half;
                let (cos, sin) = (&self.cos[at..at + half], &self.sin[at..at + half]);
                pool.level().run(Turned { turn, x, cos, sin });
            }
        });
        Ok(())
    }
}

/// `eˣ` for moderate `x` in plain `f64` arithmetic: a series for `x / 256`, squared eight times.
fn exp(x: f64) -> f64 {
    let x = x / 256.0;
    let mut sum = 1.0;
    for n in (1..=14).rev() {
        sum = 1.0 + sum * x / f64::from(n);
    }
    (0..8).fold(sum, |power, _| power * power)
}

/// The angle less whole turns, rounded.
fn within_a_turn(angle: f64) -> f32 {
    const TURN: f64 = core::f64::consts::TAU;
    (angle - (angle / TURN).floor() * TURN) as f32
}

struct Angles<'a> {
    angles: &'a [f32],
    cos: &'a mut [f32],
    sin: &'a mut [f32],
}

impl Kernel for Angles<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let places = self.cos.chunks_mut(LANES).zip(self.sin.chunks_mut(LANES));
        for (angles, (cos, sin)) in self.angles.chunks(LANES).zip(places) {
            let [sine, cosine] = sin_cos(s, s.get(angles));
            s.put(sine, sin);
            s.put(cosine, cos);
        }
    }
}

struct Turned<'a> {
    turn: Turn,
    x: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Turned<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.cos.len();
        for head in self.x.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            let pairs = first.chunks_mut(LANES).zip(second.chunks_mut(LANES));
            for ((first, second), (cos, sin)) in pairs.zip(self.cos.chunks(LANES).zip(self.sin.chunks(LANES))) {
                let (x, y, cos) = (s.get(first), s.get(second), s.get(cos));
                let sin = match self.turn {
                    Turn::Forward => s.get(sin),
                    Turn::Back => s.sub(s.splat(0.0), s.get(sin)),
                };
                s.put(s.fma(x, cos, s.sub(s.splat(0.0), s.mul(y, sin))), first);
                s.put(s.fma(x, sin, s.mul(y, cos)), second);
            }
        }
    }
}
