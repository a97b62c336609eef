//! Sixteen lanes in four registers.
#![allow(unsafe_code)]

use core::arch::aarch64::*;
use core::array::from_fn;

use super::super::matmul::tile::{Tile, tile};
use super::{Kernel, LANES, Row, Simd};
use crate::simd::Level;

type Four = [float32x4_t; 4];

/// Lanes of one register.
const QUARTER: usize = LANES / 4;

/// The proof that this CPU has NEON, which in this architecture includes fused multiply-add, division and the square root, and keeps
/// subnormal numbers.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// The proof, if this CPU has the instructions.
    pub(crate) fn new() -> Option<Self> {
        Level::Neon.is_available().then_some(Self(()))
    }
}

#[target_feature(enable = "neon")]
fn with_neon<K: Kernel>(s: Neon, kernel: K) -> K::Out {
    kernel.run(s)
}

// SAFETY of every block below: a value of the type exists only where the CPU has the instructions.
impl Simd for Neon {
    type V = Four;

    /// Of the 32 registers, sums take 20, a row of the right factor four, numbers of the left one two. That is five multiply-adds
    /// in flight for each of the four that a large core starts at once, and it waits four turns for a result. With a sixth row
    /// the compiler, which loads ahead, keeps sums in memory.
    const TILE: [usize; 2] = [5, 16];

    #[inline(always)]
    fn enter<K: Kernel>(self, kernel: K) -> K::Out {
        // SAFETY: `self` proves that the CPU has the instructions.
        unsafe { with_neon(self, kernel) }
    }

    #[inline(always)]
    fn load(self, row: &Row) -> Four {
        let (quarters, _) = row.as_chunks::<QUARTER>();
        // SAFETY: `self` proves that the CPU has the instructions; each quarter is four readable numbers, alignment is not needed.
        from_fn(|i| unsafe { vld1q_f32(quarters[i].as_ptr()) })
    }

    #[inline(always)]
    fn store(self, v: Four, row: &mut Row) {
        let (quarters, _) = row.as_chunks_mut::<QUARTER>();
        for (quarter, v) in quarters.iter_mut().zip(v) {
            // SAFETY: `self` proves that the CPU has the instructions; each quarter is four writable numbers.
            unsafe { vst1q_f32(quarter.as_mut_ptr(), v) };
        }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        [unsafe { vdupq_n_f32(x) }; 4]
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn sub(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn mul(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn div(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vdivq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn fma(self, a: Four, b: Four, c: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }

    #[inline(always)]
    fn sqrt(self, a: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vsqrtq_f32(a[i]) })
    }

    /// The architecture's own maximum keeps a NaN of either side, so it is a comparison and a choice.
    #[inline(always)]
    fn max(self, a: Four, b: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) })
    }

    #[inline(always)]
    fn if_less(self, a: Four, b: Four, yes: Four, no: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), yes[i], no[i]) })
    }

    #[inline(always)]
    fn and(self, a: Four, b: Four) -> Four {
        bits(self, a, b, |a, b| {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { vandq_u32(a, b) }
        })
    }

    #[inline(always)]
    fn xor(self, a: Four, b: Four) -> Four {
        bits(self, a, b, |a, b| {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { veorq_u32(a, b) }
        })
    }

    #[inline(always)]
    fn add_bits(self, a: Four, b: Four) -> Four {
        bits(self, a, b, |a, b| {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { vaddq_u32(a, b) }
        })
    }

    #[inline(always)]
    fn up_23(self, a: Four) -> Four {
        bits(self, a, a, |a, _| {
            // SAFETY: `self` proves that the CPU has the instructions.
            unsafe { vshlq_n_u32::<23>(a) }
        })
    }

    #[inline(always)]
    fn exponent(self, a: Four) -> Four {
        // SAFETY: `self` proves that the CPU has the instructions.
        from_fn(|i| unsafe { vcvtq_f32_s32(vshrq_n_s32::<23>(vreinterpretq_s32_f32(a[i]))) })
    }

    #[inline(always)]
    unsafe fn tile(self, job: Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { tile::<Self, 5, 1>(self, job) }
    }
}

/// An operation on the bits of each register.
#[inline(always)]
fn bits(_: Neon, a: Four, b: Four, f: impl Fn(uint32x4_t, uint32x4_t) -> uint32x4_t) -> Four {
    // SAFETY: the first argument proves that the CPU has the instructions.
    from_fn(|i| unsafe { vreinterpretq_f32_u32(f(vreinterpretq_u32_f32(a[i]), vreinterpretq_u32_f32(b[i]))) })
}
