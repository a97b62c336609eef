//! No vector instructions: what every other implementation is compared with.

#![allow(unsafe_code)]

use super::super::matmul::tile::{Tile, tile};
use super::{Kernel, LANES, Row, Simd};

/// Plain Rust. `f32::mul_add` is exact on every target, and slow where the compiler may not use the instruction.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Row {
    let mut row = [0.0; LANES];
    for (lane, value) in row.iter_mut().enumerate() {
        *value = f(lane);
    }
    row
}

#[inline(always)]
fn bits(f: impl Fn(usize) -> u32) -> Row {
    each(|i| f32::from_bits(f(i)))
}

impl Simd for Scalar {
    type V = Row;

    const TILE: [usize; 2] = [4, 16];

    fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Row {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Row {
        *row
    }

    #[inline(always)]
    fn store(self, v: Row, row: &mut Row) {
        *row = v;
    }

    #[inline(always)]
    fn add(self, a: Row, b: Row) -> Row {
        each(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Row, b: Row) -> Row {
        each(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Row, b: Row) -> Row {
        each(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Row, b: Row) -> Row {
        each(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn fma(self, a: Row, b: Row, c: Row) -> Row {
        each(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn sqrt(self, a: Row) -> Row {
        each(|i| a[i].sqrt())
    }

    #[inline(always)]
    fn max(self, a: Row, b: Row) -> Row {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn if_less(self, a: Row, b: Row, yes: Row, no: Row) -> Row {
        each(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn and(self, a: Row, b: Row) -> Row {
        bits(|i| a[i].to_bits() & b[i].to_bits())
    }

    #[inline(always)]
    fn xor(self, a: Row, b: Row) -> Row {
        bits(|i| a[i].to_bits() ^ b[i].to_bits())
    }

    #[inline(always)]
    fn add_bits(self, a: Row, b: Row) -> Row {
        bits(|i| a[i].to_bits().wrapping_add(b[i].to_bits()))
    }

    #[inline(always)]
    fn up_23(self, a: Row) -> Row {
        bits(|i| a[i].to_bits() << 23)
    }

    #[inline(always)]
    fn exponent(self, a: Row) -> Row {
        each(|i| (a[i].to_bits().cast_signed() >> 23) as f32)
    }

    #[inline(always)]
    unsafe fn tile(self, job: Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { tile::<Self, 4, 1>(self, job) }
    }
}
