//! What the profile is *not*: every operation of [`Scalar`], but a multiply-add rounded twice.
//!
//! Some devices have no fused multiply-add, software ones among them. Their kernels are compared with these results, which
//! checks everything but the fusing.
#![allow(unsafe_code)]

use super::super::matmul::tile::{Tile, tile};
use super::scalar::Scalar;
use super::{Kernel, Row, Simd};

/// Scalar code that multiplies, rounds, and then adds.
#[derive(Clone, Copy)]
pub(crate) struct Unfused;

impl Simd for Unfused {
    type V = Row;

    const TILE: [usize; 2] = Scalar::TILE;

    fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        kernel.run(self)
    }

    #[inline(always)]
    fn fma(self, a: Row, b: Row, c: Row) -> Row {
        Scalar.add(Scalar.mul(a, b), c)
    }

    #[inline(always)]
    unsafe fn tile(self, job: Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { tile::<Self, 4, 1>(self, job) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Row {
        Scalar.splat(x)
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Row {
        Scalar.load(row)
    }

    #[inline(always)]
    fn store(self, v: Row, row: &mut Row) {
        Scalar.store(v, row);
    }

    #[inline(always)]
    fn add(self, a: Row, b: Row) -> Row {
        Scalar.add(a, b)
    }

    #[inline(always)]
    fn sub(self, a: Row, b: Row) -> Row {
        Scalar.sub(a, b)
    }

    #[inline(always)]
    fn mul(self, a: Row, b: Row) -> Row {
        Scalar.mul(a, b)
    }

    #[inline(always)]
    fn div(self, a: Row, b: Row) -> Row {
        Scalar.div(a, b)
    }

    #[inline(always)]
    fn sqrt(self, a: Row) -> Row {
        Scalar.sqrt(a)
    }

    #[inline(always)]
    fn max(self, a: Row, b: Row) -> Row {
        Scalar.max(a, b)
    }

    #[inline(always)]
    fn if_less(self, a: Row, b: Row, yes: Row, no: Row) -> Row {
        Scalar.if_less(a, b, yes, no)
    }

    #[inline(always)]
    fn and(self, a: Row, b: Row) -> Row {
        Scalar.and(a, b)
    }

    #[inline(always)]
    fn xor(self, a: Row, b: Row) -> Row {
        Scalar.xor(a, b)
    }

    #[inline(always)]
    fn add_bits(self, a: Row, b: Row) -> Row {
        Scalar.add_bits(a, b)
    }

    #[inline(always)]
    fn up_23(self, a: Row) -> Row {
        Scalar.up_23(a)
    }

    #[inline(always)]
    fn exponent(self, a: Row) -> Row {
        Scalar.exponent(a)
    }
}
