//! Sixteen lanes in two registers.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use super::super::matmul::tile::{Tile, tile};
use super::{Kernel, LANES, Row, Simd};
use crate::simd::Level;

/// Lanes 0 to 7, and 8 to 15.
pub(super) type Pair = [__m256; 2];

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
    unsafe fn turn(self, rows: [Pair; 8], into: *mut f32, stride: usize) {
        // SAFETY: `self` proves that the CPU has the instructions; the caller's promise for the places.
        unsafe {
            let [a, b, c, d, e, f, g, h] = rows;
            put_columns([a[0], b[0], c[0], d[0], e[0], f[0], g[0], h[0]], into, stride);
            let into = into.add(LANES / 2 * stride);
            put_columns([a[1], b[1], c[1], d[1], e[1], f[1], g[1], h[1]], into, stride);
        }
    }

    #[inline(always)]
    fn load_head(self, values: &[f32]) -> Pair {
        let [low, high] = masks(values.len());
        // SAFETY: `self` proves that the CPU has the instructions; the masks keep the reads within the slice.
        unsafe {
            let behind = values.as_ptr().wrapping_add(LANES / 2);
            [_mm256_maskload_ps(values.as_ptr(), low), _mm256_maskload_ps(behind, high)]
        }
    }

    #[inline(always)]
    fn sum(self, v: Pair) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { sum(v) }
    }

    #[inline(always)]
    fn largest(self, v: Pair) -> f32 {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { largest(v) }
    }

    #[inline(always)]
    unsafe fn tile(self, job: Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { tile::<Self, 6, 1>(self, job) }
    }
}

/// See [`Simd::sum`].
#[inline(always)]
pub(super) unsafe fn sum([low, high]: Pair) -> f32 {
    // SAFETY: the caller's proof that the CPU has the instructions.
    unsafe {
        let eight = _mm256_add_ps(low, high);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// See [`Simd::largest`]. `max` of two is the first if it is greater, else the second.
#[inline(always)]
pub(super) unsafe fn largest([low, high]: Pair) -> f32 {
    // SAFETY: the caller's proof that the CPU has the instructions.
    unsafe {
        let eight = _mm256_max_ps(low, high);
        let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
    }
}

/// All bits of the first `lanes` lanes, at most sixteen.
#[inline(always)]
fn masks(lanes: usize) -> [__m256i; 2] {
    static EDGE: [i32; 2 * LANES] = {
        let mut edge = [0; 2 * LANES];
        let mut place = 0;
        while place < LANES {
            edge[place] = -1;
            place += 1;
        }
        edge
    };
    let (low, high) = EDGE[LANES - lanes.min(LANES)..][..LANES].split_at(LANES / 2);
    // SAFETY: only `Avx2` calls this, whose values prove that the CPU has the instructions; each half is eight readable numbers.
    unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
}

/// Rows become columns, each to one place every `stride` numbers, in ascending order.
#[inline(always)]
unsafe fn put_columns([a, b, c, d, e, f, g, h]: [__m256; 8], into: *mut f32, stride: usize) {
    // SAFETY: the caller's proof that the CPU has the instructions, and its promise for the places.
    unsafe {
        let [first, second] = [four_by_four([a, b, c, d]), four_by_four([e, f, g, h])];
        for lane in 0..4 {
            let column = _mm256_permute2f128_ps::<0x20>(first[lane], second[lane]);
            _mm256_storeu_ps(into.add(lane * stride), column);
        }
        for lane in 0..4 {
            let column = _mm256_permute2f128_ps::<0x31>(first[lane], second[lane]);
            _mm256_storeu_ps(into.add((4 + lane) * stride), column);
        }
    }
}

/// Four by four, twice: half `h` of result `i` holds lane `4h + i` of each of the rows.
#[inline(always)]
unsafe fn four_by_four([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    // SAFETY: the caller's proof that the CPU has the instructions.
    unsafe {
        let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xee>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
        ]
    }
}
