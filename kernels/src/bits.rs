//! Bits in and out of bytes, least significant bit first.

/// Appends bits to a byte vector, which is of the right length only after [`BitWriter::finish`].
pub(crate) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
    pending: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Starts at the next whole byte of `out` and appends at most `bytes_max`.
    pub(crate) fn new(out: &'a mut Vec<u8>, bytes_max: usize) -> Self {
        let at = out.len();
        out.resize(at + bytes_max + size_of::<u64>(), 0);
        Self { out, at, pending: 0, used: 0 }
    }

    /// Appends the low `width` bits of `value`; the others must be zero. `width` ≤ [`Bits::WINDOW`].
    #[inline(always)]
    pub(crate) fn push(&mut self, value: u64, width: u32) {
        self.pending |= value << self.used;
        // Stores a whole word every time and advances by the full bytes, so there is no branch to mispredict.
        self.out[self.at..self.at + size_of::<u64>()].copy_from_slice(&self.pending.to_le_bytes());
        let total = self.used + width;
        self.at += (total / 8) as usize;
        self.pending >>= total / 8 * 8;
        self.used = total % 8;
    }

    /// Appends `count` zeros and a one.
    #[inline]
    pub(crate) fn push_unary(&mut self, mut count: u32) {
        while count >= 32 {
            self.push(0, 32);
            count -= 32;
        }
        self.push(1 << count, count + 1);
    }

    /// Appends the first `count` bits of `bytes`.
    pub(crate) fn push_all(&mut self, bytes: &[u8], count: usize) {
        for at in (0..count).step_by(Bits::WINDOW) {
            let width = Bits::WINDOW.min(count - at);
            self.push(low(Bits(bytes).window(at), width), width as u32);
        }
    }

    /// Pads the last byte with zeros, and says how many bits the vector has without them, those before the writer included.
    pub(crate) fn finish(self) -> usize {
        // The last push has stored the pending bits already.
        self.out.truncate(self.at + usize::from(self.used > 0));
        8 * self.at + self.used as usize
    }
}

/// Random access to the bits of untrusted bytes. Reading past the end gives zeros, so that the caller checks the end once
/// per chunk and not once per bit.
#[derive(Clone, Copy)]
pub(crate) struct Bits<'a>(pub(crate) &'a [u8]);

impl Bits<'_> {
    /// The bits from `at` on, lowest first; at least [`Bits::WINDOW`] of them are real.
    #[inline(always)]
    pub(crate) fn window(self, at: usize) -> u64 {
        let word = match self.0.get(at / 8..).and_then(|rest| rest.first_chunk()) {
            Some(&whole) => u64::from_le_bytes(whole),
            None => self.tail(at / 8),
        };
        word >> (at % 8)
    }

    /// Bits a window always holds.
    pub(crate) const WINDOW: usize = 56;

    #[cold]
    fn tail(self, from: usize) -> u64 {
        let mut word = [0; 8];
        let rest = self.0.get(from..).unwrap_or(&[]);
        word[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(word)
    }
}

/// The low `width` bits of a window, `width` < 64.
#[inline(always)]
pub(crate) fn low(window: u64, width: usize) -> u64 {
    window & ((1 << width) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read_at_every_width() {
        let mut out = vec![0xaa];
        let mut bits = BitWriter::new(&mut out, 300);
        for width in 0..=56u32 {
            bits.push(0x5a5a_5a5a_5a5a_5a5a & ((1 << width) - 1), width);
        }
        bits.finish();
        assert_eq!(out.len(), 1 + (56usize * 57 / 2).div_ceil(8));
        let mut at = 8;
        for width in 0..=56 {
            assert_eq!(low(Bits(&out).window(at), width), low(0x5a5a_5a5a_5a5a_5a5a, width));
            at += width;
        }
    }

    #[test]
    fn a_full_byte_leaves_nothing_behind() {
        let mut out = Vec::new();
        let mut bits = BitWriter::new(&mut out, 9);
        bits.push(low(u64::MAX, 56), 56);
        bits.push(255, 8);
        bits.push(1, 1);
        bits.finish();
        assert_eq!(out, [255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn unary_is_zeros_then_a_one() {
        let mut out = Vec::new();
        let mut bits = BitWriter::new(&mut out, 300);
        bits.push_unary(0);
        bits.push_unary(70);
        bits.finish();
        assert_eq!(out, [1, 0, 0, 0, 0, 0, 0, 0, 128]);
    }

    #[test]
    fn bits_move_to_any_place() {
        let bytes: Vec<u8> = (0..40u8).map(|i| i.wrapping_mul(37).wrapping_add(5)).collect();
        for (before, count) in [(0, 0), (3, 1), (5, 56), (7, 57), (1, 300), (8, 320)] {
            let mut out = Vec::new();
            let mut bits = BitWriter::new(&mut out, 50);
            bits.push(0, before);
            bits.push_all(&bytes, count);
            assert_eq!(bits.finish(), before as usize + count);
            for at in 0..count {
                let expected = Bits(&bytes).window(at) & 1;
                assert_eq!(Bits(&out).window(before as usize + at) & 1, expected, "bit {at} after {before}");
            }
        }
    }

    #[test]
    fn past_the_end_there_are_zeros() {
        let bits = Bits(&[255, 255]);
        assert_eq!([0, 15, 16, 1000].map(|at| bits.window(at)), [0xffff, 1, 0, 0]);
    }
}
