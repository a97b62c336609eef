//! One chunk's sent entries into bits, as [`crate::layout`] lays them out.

use crate::CHUNK;
use crate::bits::{BitWriter, low};
use crate::layout::{ChunkLayout, LEVEL_ESCAPE, LEVEL_RICE, Levels};

/// What a chunk sends, besides the indices: two levels, and two bits per entry, 64 entries a word.
pub(crate) struct Entries {
    pub(crate) levels: Levels,
    pub(crate) signs: [u64; CHUNK / 64],
    pub(crate) sizes: [u64; CHUNK / 64],
}

/// Writes chunks one after another.
pub(crate) struct ChunkWriter<'a> {
    bits: BitWriter<'a>,
    previous: Levels,
}

impl<'a> ChunkWriter<'a> {
    /// Appends to `payload`, at most `bytes_max`.
    pub(crate) fn new(payload: &'a mut Vec<u8>, bytes_max: usize) -> Self {
        Self { bits: BitWriter::new(payload, bytes_max), previous: Levels::START }
    }

    /// Appends a chunk; `indices` are those sent, ascending.
    pub(crate) fn write(&mut self, layout: ChunkLayout, indices: &[u16], entries: &Entries) {
        self.level(self.previous.small, entries.levels.small);
        self.level(self.previous.spread, entries.levels.spread);
        self.previous = entries.levels;
        if layout.complement {
            let mut absent = [0; CHUNK];
            self.indices(layout, complement(indices, &mut absent[..layout.coded]));
        } else {
            self.indices(layout, indices);
        }
        self.plane(&entries.signs, layout.count);
        self.plane(&entries.sizes, layout.count);
    }

    pub(crate) fn finish(self) {
        self.bits.finish();
    }

    fn level(&mut self, previous: u8, code: u8) {
        let step = code.wrapping_sub(previous) as i8;
        let zigzag = u32::from(((step << 1) ^ (step >> 7)) as u8);
        let quotient = zigzag >> LEVEL_RICE;
        if quotient < LEVEL_ESCAPE {
            self.bits.push_unary(quotient);
            self.bits.push(low(zigzag.into(), LEVEL_RICE as usize), LEVEL_RICE);
        } else {
            self.bits.push(0, LEVEL_ESCAPE);
            self.bits.push(zigzag.into(), 8);
        }
    }

    fn indices(&mut self, layout: ChunkLayout, coded: &[u16]) {
        for gap in gaps(coded) {
            self.bits.push_unary(gap >> layout.rice);
        }
        for gap in gaps(coded) {
            self.bits.push(low(gap.into(), layout.rice), layout.rice as u32);
        }
    }

    fn plane(&mut self, plane: &[u64], count: usize) {
        const HALF: usize = 32;
        for at in (0..count).step_by(HALF) {
            let width = HALF.min(count - at);
            self.bits.push(low(plane[at / 64] >> (at % 64), width), width as u32);
        }
    }
}

/// Each index's distance from the one before it, minus one.
fn gaps(indices: &[u16]) -> impl Iterator<Item = u32> {
    let mut expected = 0;
    indices.iter().map(move |&index| {
        let gap = u32::from(index) - expected;
        expected = u32::from(index) + 1;
        gap
    })
}

/// Fills `absent` with the indices that are not in `indices`; both ascending.
fn complement<'a>(indices: &[u16], absent: &'a mut [u16]) -> &'a [u16] {
    let mut sent = indices.iter().copied().peekable();
    let mut places = absent.iter_mut();
    for index in 0.. {
        if sent.next_if_eq(&index).is_some() {
            continue;
        }
        let Some(place) = places.next() else { break };
        *place = index;
    }
    absent
}
