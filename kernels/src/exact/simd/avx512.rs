//! Sixteen lanes in one register.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::super::matmul::symmetric;
use super::super::matmul::tile::{Tile, tile};
use super::avx2::{self, Pair};
use super::{Kernel, LANES, Row, Simd};
use crate::simd::Level;

/// The proof that this CPU has AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Self> {
        Level::Avx512.is_available().then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f")]
fn with_avx512<K: Kernel>(s: Avx512, kernel: K) -> K::Out {
    kernel.run(s)
}

// SAFETY of every block below: a value of the type exists only where the CPU has the instructions.
impl Simd for Avx512 {
    type V = __m512;

    const TILE: [usize; 2] = [8, 48];

    #[inline(always)]
    fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { with_avx512(self, kernel) }
    }

    #[inline(always)]
    fn load(self, row: &Row) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions; a row is sixteen readable numbers, alignment is not needed.
        unsafe { _mm512_loadu_ps(row.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, row: &mut Row) {
        // SAFETY: `self` proves that the CPU has the instructions; a row is sixteen writable numbers.
        unsafe { _mm512_storeu_ps(row.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_sqrt_ps(a) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn if_less(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes) }
    }

    #[inline(always)]
    fn and(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
    }

    #[inline(always)]
    fn xor(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
    }

    #[inline(always)]
    fn add_bits(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b))) }
    }

    #[inline(always)]
    fn up_23(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(a))) }
    }

    #[inline(always)]
    fn exponent(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { _mm512_cvtepi32_ps(_mm512_srai_epi32::<23>(_mm512_castps_si512(a))) }
    }

    #[inline(always)]
    fn load_head(self, values: &[f32]) -> __m512 {
        let lanes = values.len().min(LANES);
        // SAFETY: `self` proves that the CPU has the instructions; the mask keeps the read within the slice.
        unsafe { _mm512_maskz_loadu_ps(((1u32 << lanes) - 1) as u16, values.as_ptr()) }
    }

    #[inline(always)]
    fn store_head(self, v: __m512, values: &mut [f32]) {
        let lanes = values.len().min(LANES);
        // SAFETY: `self` proves that the CPU has the instructions; the mask keeps the write within the slice.
        unsafe { _mm512_mask_storeu_ps(values.as_mut_ptr(), ((1u32 << lanes) - 1) as u16, v) }
    }

    #[inline(always)]
    fn prefetch(self, row: *const Row) {
        // SAFETY: a hint; it cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(row.cast()) };
    }

    #[inline(always)]
    fn prefetch_read(self, row: *const f32) {
        // SAFETY: a hint; it cannot fault, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.cast()) };
    }

    #[inline(always)]
    unsafe fn turn(self, [a, b, c, d, e, f, g, h]: [__m512; 8], into: *mut f32, stride: usize) {
        // SAFETY: `self` proves that the CPU has the instructions; the caller's promise for the places.
        unsafe {
            let [first, second] = [quarters([a, b, c, d]), quarters([e, f, g, h])];
            for lane in 0..4 {
                let low = _mm512_permutex2var_ps(first[lane], LOW, second[lane]);
                let high = _mm512_permutex2var_ps(first[lane], HIGH, second[lane]);
                for (step, pair) in [low, high].into_iter().enumerate() {
                    let place = into.add((8 * step + lane) * stride);
                    let [lower, upper] = halves(pair);
                    _mm256_storeu_ps(place, lower);
                    _mm256_storeu_ps(place.add(4 * stride), upper);
                }
            }
        }
    }

    #[inline(always)]
    fn sum(self, v: __m512) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions, and with them those of AVX2.
        unsafe { avx2::sum(halves(v)) }
    }

    #[inline(always)]
    fn largest(self, v: __m512) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions, and with them those of AVX2.
        unsafe { avx2::largest(halves(v)) }
    }

    #[inline(always)]
    unsafe fn tile(self, job: Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { tile::<Self, 8, 3>(self, job) }
    }

    const SYMMETRIC_TILE: [usize; 2] = [8, 48];

    #[inline(always)]
    unsafe fn symmetric_tile(self, job: symmetric::Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { symmetric::tile::<Self, 8, 3>(self, job) }
    }
}

/// Lanes 0 to 7, and 8 to 15.
#[inline(always)]
unsafe fn halves(v: __m512) -> Pair {
    // SAFETY: the caller's proof that the CPU has the instructions.
    unsafe { [_mm512_castps512_ps256(v), _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)))] }
}

/// Lanes of two registers: quarters 0 and 1 of each, in turns; then quarters 2 and 3.
const LOW: __m512i = lanes([0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23]);
const HIGH: __m512i = lanes([8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31]);

const fn lanes(numbers: [u32; LANES]) -> __m512i {
    // SAFETY: both are 64 bytes of which every value is valid.
    unsafe { core::mem::transmute(numbers) }
}

/// Four by four, four times: quarter `q` of result `i` holds lane `4q + i` of each of the rows.
#[inline(always)]
unsafe fn quarters([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: the caller's proof that the CPU has the instructions.
    unsafe {
        let (ab, ab_high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd, cd_high) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let (ab, ab_high) = (_mm512_castps_pd(ab), _mm512_castps_pd(ab_high));
        let (cd, cd_high) = (_mm512_castps_pd(cd), _mm512_castps_pd(cd_high));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high)),
        ]
    }
}
