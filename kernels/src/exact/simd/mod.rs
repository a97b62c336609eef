//! Sixteen numbers at a time: the one vector width of the profile, on whatever registers the CPU has.
//!
//! A kernel is written once, against [`Simd`], and compiled once for each instruction set. All operations of the trait are
//! IEEE 754 single operations (or operations on bits), so each implementation gives the same bits, and so does any kernel.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod unfused;

pub use level::Level;

/// Numbers in a vector, on every CPU.
pub(crate) const LANES: usize = 16;

/// Sixteen `f32` in a row.
pub(crate) type Row = [f32; LANES];

/// Work that is compiled for an instruction set.
pub(crate) trait Kernel {
    /// What it gives back.
    type Out;

    /// Does the work. Implementations are `#[inline(always)]`, as is all they call, so that the instruction set reaches them.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// An instruction set. A value of the type is the proof that this CPU has it.
///
/// `NaN` rule: which NaN comes out of an operation is not stated, that one comes out is. Subnormal numbers are kept.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen `f32`.
    type V: Copy;

    /// Compiles `kernel` for this instruction set and runs it.
    fn enter<K: Kernel>(self, kernel: K) -> K::Out;
    /// One number in each lane.
    fn splat(self, x: f32) -> Self::V;
    /// The numbers of a row.
    fn load(self, row: &Row) -> Self::V;
    /// Writes a row.
    fn store(self, v: Self::V, row: &mut Row);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`, correctly rounded.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The square root, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`: a NaN in `a` is dropped, one in `b` stays.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { yes } else { no }`.
    fn if_less(self, a: Self::V, b: Self::V, yes: Self::V, no: Self::V) -> Self::V;
    /// Bitwise and.
    fn and(self, a: Self::V, b: Self::V) -> Self::V;
    /// Bitwise exclusive or.
    fn xor(self, a: Self::V, b: Self::V) -> Self::V;
    /// The bits as integers, added; they wrap.
    fn add_bits(self, a: Self::V, b: Self::V) -> Self::V;
    /// The bits shifted up by 23: an integer moves into the exponent.
    fn up_23(self, a: Self::V) -> Self::V;
    /// The bits as a signed integer, shifted down by 23 and turned into a number.
    fn exponent(self, a: Self::V) -> Self::V;
    /// Asks for the cache line of a row that will be written.
    #[inline(always)]
    fn prefetch(self, _row: *const Row) {}
    /// Asks for a cache line that will be read; any address will do.
    #[inline(always)]
    fn prefetch_read(self, _row: *const f32) {}
    /// Rows become columns: the numbers of lane `i` go to `into[i · stride..]`, one after the other. Where places overlap, as `stride`
    /// is less than eight, those of the higher lane stay.
    ///
    /// # Safety
    /// Eight numbers are writable at each of the sixteen places.
    #[inline(always)]
    unsafe fn turn(self, rows: [Self::V; 8], into: *mut f32, stride: usize) {
        let mut lines = [[0.0; LANES]; 8];
        lines.iter_mut().zip(rows).for_each(|(line, row)| self.store(row, line));
        for lane in 0..LANES {
            for (i, line) in lines.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { *into.add(lane * stride + i) = line[lane] };
            }
        }
    }
    /// Computes the register tile that this instruction set is best at.
    ///
    /// # Safety
    /// As [`tile`](super::matmul::tile::tile).
    unsafe fn tile(self, job: super::matmul::tile::Tile);
    /// Rows and columns of that tile.
    const TILE: [usize; 2];
    /// Computes a tile of a symmetric product.
    ///
    /// # Safety
    /// As [`tile`](super::matmul::symmetric::tile).
    #[inline(always)]
    unsafe fn symmetric_tile(self, job: super::matmul::symmetric::Tile) {
        // SAFETY: the caller's promise, passed on.
        unsafe { super::matmul::symmetric::tile::<Self, 4, 1>(self, job) }
    }
    /// Rows, which divide a vector, and columns, whole vectors, of that tile.
    const SYMMETRIC_TILE: [usize; 2] = [4, LANES];

    /// Bits in each lane.
    #[inline(always)]
    fn splat_bits(self, bits: u32) -> Self::V {
        self.splat(f32::from_bits(bits))
    }

    /// Up to sixteen numbers; the other lanes are `+0`.
    #[inline(always)]
    fn load_head(self, values: &[f32]) -> Self::V {
        let mut row = [0.0; LANES];
        row[..values.len()].copy_from_slice(values);
        self.load(&row)
    }

    /// Writes the first lanes.
    #[inline(always)]
    fn store_head(self, v: Self::V, values: &mut [f32]) {
        let mut row = [0.0; LANES];
        self.store(v, &mut row);
        values.copy_from_slice(&row[..values.len()]);
    }

    /// Sixteen numbers, or the last few of a row.
    #[inline(always)]
    fn get(self, values: &[f32]) -> Self::V {
        match values.first_chunk() {
            Some(row) => self.load(row),
            None => self.load_head(values),
        }
    }

    /// Writes sixteen numbers, or the last few of a row.
    #[inline(always)]
    fn put(self, v: Self::V, values: &mut [f32]) {
        match values.first_chunk_mut() {
            Some(row) => self.store(v, row),
            None => self.store_head(v, values),
        }
    }

    /// The lanes added as a tree: eight apart, then four, two, one.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let mut row = [0.0; LANES];
        self.store(v, &mut row);
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                row[lane] += row[lane + half];
            }
            half /= 2;
        }
        row[0]
    }

    /// The largest lane, found along the same tree.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        let mut row = [0.0; LANES];
        self.store(v, &mut row);
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                row[lane] = if row[lane] > row[lane + half] { row[lane] } else { row[lane + half] };
            }
            half /= 2;
        }
        row[0]
    }
}
