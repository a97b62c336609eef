//! Sixteen lanes in two registers.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::super::matmul::tile::{Tile, tile};
use super::{Kernel, LANES, Row, Simd};
use crate::simd::Level;

type Pair = [__m256; 2];

/// The proof that this CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Self> {
        Level::Avx2.is_available().then_some(Self(()))
    }
}

#[inline(always)]
fn halves(row: &Row) -> [&[f32]; 2] {
    let (low, high) = row.split_at(LANES / 2);
    [low, high]
}

#[target_feature(enable = "avx2,fma")]
fn with_avx2<K: Kernel>(s: Avx2, kernel: K) -> K::Out {
    kernel.run(s)
}

// SAFETY of every block below: a value of the type exists only where the CPU has the instructions.
impl Simd for Avx2 {
    type V = Pair;

    const TILE: [usize; 2] = [6, 16];

    #[inline(always)]
    fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { with_avx2(self, kernel) }
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Pair {
        let [low, high] = halves(row);
        // SAFETY: `self` proves that the CPU has the instructions; each half is eight readable numbers.
        unsafe { [_mm256_loadu_ps(low.as_ptr()), _mm256_loadu_ps(high.as_ptr())] }
    }

    #[inline(always)]
    fn store(self, v: Pair, row: &mut Row) {
        let (low, high) = row.split_at_mut(LANES / 2);
        // SAFETY: `self` proves that the CPU has the instructions; each half is eight writable numbers.
        unsafe {
            _mm256_storeu_ps(low.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(high.as_mut_ptr(), v[1]);
        }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn sqrt(self, a: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn if_less(self, a: Pair, b: Pair, yes: Pair, no: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            [
                _mm256_blendv_ps(no[0], yes[0], _mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0])),
                _mm256_blendv_ps(no[1], yes[1], _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])),
            ]
        }
    }

    #[inline(always)]
    fn and(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_and_ps(a[0], b[0]), _mm256_and_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn xor(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { [_mm256_xor_ps(a[0], b[0]), _mm256_xor_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn add_bits(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            [
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a[0]), _mm256_castps_si256(b[0]))),
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a[1]), _mm256_castps_si256(b[1]))),
            ]
        }
    }

    #[inline(always)]
    fn up_23(self, a: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a[0]))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(a[1]))),
            ]
        }
    }

    #[inline(always)]
    fn exponent(self, a: Pair) -> Pair {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(_mm256_castps_si256(a[0]))),
                _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(_mm256_castps_si256(a[1]))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn tile(self, job: Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { tile::<Self, 6, 1>(self, job) }
    }
}
