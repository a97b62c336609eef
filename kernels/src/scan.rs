//! How many large values a vector has, and where: the two loops of compression that the compiler does not turn into good
//! vector code by itself.

use crate::CHUNK;
use crate::simd::Level;

/// Places written beyond the last position found, at most: a vector is stored whole and counted in part.
const SLACK: usize = 16;

/// Positions of a chunk's values, ascending.
pub(crate) type Positions = [u32; POSITIONS];

/// Places that the positions of a chunk's values take.
pub(crate) const POSITIONS: usize = CHUNK + SLACK;

/// Writes the positions of the values whose magnitude is at least `bound`, in order, and says how many they are.
///
/// # Panics
/// If there are more than [`CHUNK`] values: a bug of the caller.
#[allow(unsafe_code)]
pub(crate) fn positions(values: &[f32], bound: f32, out: &mut Positions) -> usize {
    assert!(values.len() <= CHUNK, "positions are those of one chunk");
    match Level::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the active level is never above what this CPU has.
        Level::Avx512 => unsafe { x86::positions_avx512(values, bound, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::positions_avx2(values, bound, out) },
        _ => remaining(values, 0, bound, out, 0),
    }
}

/// How many magnitudes are at least `least`.
#[allow(unsafe_code)]
pub(crate) fn count_reaching(magnitudes: &[f32], least: f32) -> usize {
    match Level::active() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the active level is never above what this CPU has.
        Level::Avx512 => unsafe { x86::count_avx512(magnitudes, least) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { x86::count_avx2(magnitudes, least) },
        _ => count(magnitudes, least),
    }
}

#[inline(always)]
fn count(magnitudes: &[f32], least: f32) -> usize {
    magnitudes.iter().map(|&magnitude| u32::from(magnitude >= least)).sum::<u32>() as usize
}

/// From value `from` on, with `found` positions written before.
#[inline(always)]
fn remaining(values: &[f32], from: usize, bound: f32, out: &mut Positions, mut found: usize) -> usize {
    for (position, value) in values.iter().enumerate().skip(from) {
        // Store always, advance sometimes: no branch to mispredict. `found` ≤ `position` < CHUNK, so the mask only spares
        // the bounds check.
        out[found % CHUNK] = position as u32;
        found += usize::from(value.abs() >= bound);
    }
    found
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Positions, SLACK, count, remaining};

    #[target_feature(enable = "avx512f,avx2,popcnt")]
    pub(super) fn positions_avx512(values: &[f32], bound: f32, out: &mut Positions) -> usize {
        const { assert!(SLACK >= 16) };
        let (rows, _) = values.as_chunks::<16>();
        let bounds = _mm512_set1_ps(bound);
        let mut places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let mut found = 0;
        for row in rows {
            // SAFETY: `row` is 16 values long, and the load needs no alignment.
            let row = unsafe { _mm512_loadu_ps(row.as_ptr()) };
            let large = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_abs_ps(row), bounds);
            let packed = _mm512_maskz_compress_epi32(large, places);
            // SAFETY: at most 16 positions per row before are found, so `found` ≤ CHUNK − 16 and 16 more fit in `out`.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(found).cast(), packed) };
            found += large.count_ones() as usize;
            places = _mm512_add_epi32(places, _mm512_set1_epi32(16));
        }
        remaining(values, rows.len() * 16, bound, out, found)
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn positions_avx2(values: &[f32], bound: f32, out: &mut Positions) -> usize {
        let (rows, _) = values.as_chunks::<8>();
        let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
        let bounds = _mm256_set1_ps(bound);
        let mut found = 0;
        for (place, row) in rows.iter().enumerate() {
            // SAFETY: `row` is 8 values long, and the load needs no alignment.
            let row = unsafe { _mm256_loadu_ps(row.as_ptr()) };
            let large = _mm256_cmp_ps::<_CMP_GE_OQ>(_mm256_and_ps(row, magnitude), bounds);
            let large = _mm256_movemask_ps(large) as usize;
            let packed = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(PACKED[large].cast_signed()));
            let packed = _mm256_add_epi32(packed, _mm256_set1_epi32(8 * place as i32));
            // SAFETY: at most 8 positions per row before are found, so `found` ≤ CHUNK − 8 and 8 more fit in `out`.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().add(found).cast::<__m256i>(), packed) };
            found += large.count_ones() as usize;
        }
        remaining(values, rows.len() * 8, bound, out, found)
    }

    #[target_feature(enable = "avx512f,popcnt")]
    pub(super) fn count_avx512(magnitudes: &[f32], least: f32) -> usize {
        let (rows, rest) = magnitudes.as_chunks::<16>();
        let bound = _mm512_set1_ps(least);
        let reaching = |row: &[f32; 16]| {
            // SAFETY: `row` is 16 values long, and the load needs no alignment.
            let row = unsafe { _mm512_loadu_ps(row.as_ptr()) };
            _mm512_cmp_ps_mask::<_CMP_GE_OQ>(row, bound).count_ones()
        };
        rows.iter().map(reaching).sum::<u32>() as usize + count(rest, least)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn count_avx2(magnitudes: &[f32], least: f32) -> usize {
        let (rows, rest) = magnitudes.as_chunks::<8>();
        let bound = _mm256_set1_ps(least);
        let mut counts = [_mm256_setzero_si256(); 4];
        for rows in rows.chunks(4) {
            for (row, count) in rows.iter().zip(&mut counts) {
                // SAFETY: `row` is 8 values long, and the load needs no alignment.
                let row = unsafe { _mm256_loadu_ps(row.as_ptr()) };
                let reaching = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GE_OQ>(row, bound));
                // A lane that reaches is all ones, which is −1.
                *count = _mm256_sub_epi32(*count, reaching);
            }
        }
        let [a, b, c, d] = counts;
        let sum = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
        let mut lanes = [0u32; 8];
        // SAFETY: `lanes` is 32 bytes long, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().sum::<u32>() as usize + count(rest, least)
    }

    /// The places of the ones of a byte, one a byte, lowest first.
    static PACKED: [u64; 256] = packed();

    const fn packed() -> [u64; 256] {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut bit, mut count) = (0, 0);
            while bit < 8 {
                if byte >> bit & 1 == 1 {
                    table[byte] |= (bit as u64) << (8 * count);
                    count += 1;
                }
                bit += 1;
            }
            byte += 1;
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_finds_what_a_filter_finds() {
        for length in [0, 1, 7, 8, 9, 15, 16, 17, 100, CHUNK - 1, CHUNK] {
            let values: Vec<f32> = (0..length).map(|i| ((i * 2_654_435_761) % 1000) as f32 - 500.0).collect();
            for bound in [0.0, 1.0, 250.0, 499.0, 501.0] {
                let expected: Vec<u32> = (0..length as u32).filter(|&i| values[i as usize].abs() >= bound).collect();
                for level in Level::available() {
                    level.activate();
                    let magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
                    assert_eq!(count_reaching(&magnitudes, bound), expected.len());
                    let mut out = [0; POSITIONS];
                    let found = positions(&values, bound, &mut out);
                    assert_eq!(out[..found], expected, "{level}, {length} values, bound {bound}");
                }
            }
        }
    }
}
