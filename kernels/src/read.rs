//! One chunk of an untrusted payload, checked completely before anything of it is used.

use crate::bits::{Bits, low};
use crate::error::CodecError;
use crate::layout::{ChunkLayout, LEVEL_ESCAPE, LEVEL_RICE, Levels};
use crate::{CHUNK, layout};

/// Entries whose bits are handed out together.
pub(crate) const BATCH: usize = 32;

/// What one chunk sends, checked.
pub(crate) struct Sent {
    /// Entries sent.
    pub(crate) count: usize,
    pub(crate) levels: Levels,
    /// Entries of the large level.
    pub(crate) large_count: usize,
    signs_at: usize,
    sizes_at: usize,
    indices: [u16; CHUNK],
}

impl Sent {
    /// What an empty chunk sends; also the memory for the chunks to come.
    pub(crate) fn none() -> Self {
        Self { count: 0, levels: Levels::START, large_count: 0, signs_at: 0, sizes_at: 0, indices: [0; CHUNK] }
    }

    /// The sent parameters' places within the chunk, ascending; each is below its length.
    pub(crate) fn indices(&self) -> &[u16] {
        &self.indices[..self.count]
    }
}

/// Reads chunks one after another, in constant memory.
#[derive(Clone)]
pub(crate) struct ChunkReader<'a> {
    bits: Bits<'a>,
    bits_count: usize,
    at: usize,
    chunk: usize,
    previous: Levels,
}

impl<'a> ChunkReader<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        let bits_count = payload.len().saturating_mul(8);
        Self { bits: Bits(payload), bits_count, at: 0, chunk: 0, previous: Levels::START }
    }

    /// Reads the next chunk into `sent`. After an error, neither `sent` nor the reader is of any use.
    pub(crate) fn next(&mut self, layout: ChunkLayout, sent: &mut Sent) -> Result<(), CodecError> {
        let levels = self.levels()?;
        let signs_at = self.indices(layout, &mut sent.indices)?;
        let sizes_at = signs_at + layout.count;
        let end = sizes_at + layout.count;
        if end > self.bits_count {
            return Err(CodecError::Truncated { chunk: self.chunk });
        }
        let large_count = self.ones(sizes_at, layout.count);
        let both = large_count > 0 && large_count < layout.count;
        if if levels.spread > 0 { !both } else { large_count > 0 } {
            return Err(CodecError::NotCanonical { chunk: self.chunk });
        }
        sent.count = layout.count;
        (sent.levels, sent.large_count) = (levels, large_count);
        (sent.signs_at, sent.sizes_at) = (signs_at, sizes_at);
        self.at = end;
        self.chunk += 1;
        self.previous = levels;
        Ok(())
    }

    /// Goes past a chunk without checking it, some ten times as fast as [`ChunkReader::next`]. If that accepts the chunk, both
    /// end in the same place; `None` if it would not.
    pub(crate) fn skip(&mut self, layout: ChunkLayout) -> Option<()> {
        self.previous = self.levels().ok()?;
        let unary = if layout.coded > 0 { self.unary_bits(layout)? } else { 0 };
        self.at += unary + layout.coded * layout.rice + 2 * layout.count;
        self.chunk += 1;
        (self.at <= self.bits_count).then_some(())
    }

    /// Bits of the unary run: up to its last one.
    fn unary_bits(&self, layout: ChunkLayout) -> Option<usize> {
        let (mut base, mut missing) = (0, layout.coded);
        while base <= layout.unary_bits_max() {
            let mut window = low(self.bits.window(self.at + base), Bits::WINDOW);
            let ones = window.count_ones() as usize;
            if ones >= missing {
                for _ in 1..missing {
                    window &= window - 1;
                }
                return Some(base + window.trailing_zeros() as usize + 1);
            }
            missing -= ones;
            base += Bits::WINDOW;
        }
        None
    }

    /// The sign bits and size bits of the [`BATCH`] entries of a chunk from `batch · BATCH` on; the lowest is the first
    /// entry's, and those past the last entry mean nothing.
    #[inline(always)]
    pub(crate) fn batch(&self, chunk: &Sent, batch: usize) -> (u64, u64) {
        let window = |at| self.bits.window(at + batch * BATCH);
        (window(chunk.signs_at), window(chunk.sizes_at))
    }

    /// Checks that nothing but zero padding of less than a byte follows the last chunk.
    pub(crate) fn finish(self) -> Result<(), CodecError> {
        let rest = self.bits_count - self.at;
        if rest >= 8 {
            Err(CodecError::TrailingBytes { count: rest / 8 })
        } else if low(self.bits.window(self.at), rest) != 0 {
            Err(CodecError::Padding)
        } else {
            Ok(())
        }
    }

    fn levels(&mut self) -> Result<Levels, CodecError> {
        let small = self.level(self.previous.small)?;
        let spread = self.level(self.previous.spread)?;
        if small.checked_add(spread).is_none() {
            return Err(CodecError::Level { chunk: self.chunk });
        }
        Ok(Levels { small, spread })
    }

    fn level(&mut self, previous: u8) -> Result<u8, CodecError> {
        let window = self.bits.window(self.at);
        let quotient = window.trailing_zeros().min(LEVEL_ESCAPE);
        let zigzag = if quotient < LEVEL_ESCAPE {
            self.at += (quotient + 1 + LEVEL_RICE) as usize;
            (quotient << LEVEL_RICE) as u64 | low(window >> (quotient + 1), LEVEL_RICE as usize)
        } else {
            self.at += layout::LEVEL_BITS_MAX;
            low(window >> LEVEL_ESCAPE, 8)
        };
        if quotient == LEVEL_ESCAPE && zigzag >> LEVEL_RICE < LEVEL_ESCAPE.into() {
            return Err(CodecError::NotCanonical { chunk: self.chunk });
        }
        let zigzag = zigzag as u8;
        let step = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        Ok(previous.wrapping_add(step))
    }

    /// Fills `indices` with what is sent, and says where the index bits end.
    fn indices(&self, layout: ChunkLayout, indices: &mut [u16; CHUNK]) -> Result<usize, CodecError> {
        let end = if layout.coded > 0 { self.coded(layout, &mut indices[..layout.coded])? } else { self.at };
        if layout.complement {
            let mut sent = [u64::MAX; CHUNK / 64];
            for &index in &indices[..layout.coded] {
                sent[usize::from(index) / 64] &= !(1 << (index % 64));
            }
            expand(&sent, &mut indices[..layout.count]);
        }
        Ok(end)
    }

    fn coded(&self, layout: ChunkLayout, indices: &mut [u16]) -> Result<usize, CodecError> {
        let remainders_at = self.quotients(layout, indices)?;
        if self.gaps(remainders_at, layout.rice, indices) >= layout.len {
            return Err(CodecError::Index { chunk: self.chunk });
        }
        Ok(remainders_at + layout.coded * layout.rice)
    }

    /// Turns the places of the ones in the unary run into indices, and returns the last index before it is cut to 16 bits.
    fn gaps(&self, remainders_at: usize, rice: usize, indices: &mut [u16]) -> usize {
        let group = Bits::WINDOW.checked_div(rice).unwrap_or(indices.len());
        let (mut at, mut i, mut sum, mut last) = (remainders_at, 0, 0, 0);
        for indices in indices.chunks_mut(group) {
            let mut window = self.bits.window(at);
            for index in indices {
                sum += low(window, rice) as usize;
                window >>= rice;
                // The i-th one has i ones before it; the other places before it count the quotients so far.
                last = ((usize::from(*index) - i) << rice) + sum + i;
                *index = last as u16;
                i += 1;
            }
            at += group * rice;
        }
        last
    }

    /// Fills `indices` with the places of the ones in the unary run, and says where it ends.
    fn quotients(&self, layout: ChunkLayout, indices: &mut [u16]) -> Result<usize, CodecError> {
        let (mut places, mut base, mut last) = (indices.iter_mut(), 0, 0);
        while places.len() > 0 {
            if base > layout.unary_bits_max() {
                return Err(CodecError::Index { chunk: self.chunk });
            }
            let mut window = low(self.bits.window(self.at + base), Bits::WINDOW);
            let ones = window.count_ones() as usize;
            for place in places.by_ref().take(ones) {
                last = base + window.trailing_zeros() as usize;
                *place = last as u16;
                window &= window - 1;
            }
            base += Bits::WINDOW;
        }
        Ok(self.at + last + 1)
    }

    fn ones(&self, at: usize, count: usize) -> usize {
        let starts = (0..count).step_by(BATCH);
        let ones = starts.map(|i| low(self.bits.window(at + i), BATCH.min(count - i)).count_ones());
        ones.sum::<u32>() as usize
    }
}

/// Writes the places of the ones in `sent`, until `indices` is full.
fn expand(sent: &[u64], indices: &mut [u16]) {
    let mut places = indices.iter_mut();
    for (word, &bits) in sent.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            let Some(place) = places.next() else { return };
            *place = (word * 64) as u16 + bits.trailing_zeros() as u16;
            bits &= bits - 1;
        }
    }
}
