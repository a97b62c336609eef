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

/// The bits of adjacent chunks, without the levels of the first: these are coded against those of the chunk before, which
/// another thread may be working on.
pub(crate) struct Part {
    first: Levels,
    last: Levels,
    bits: Vec<u8>,
    bits_count: usize,
}

/// Writes the chunks of one part.
pub(crate) struct PartWriter<'a> {
    bits: BitWriter<'a>,
    levels: Option<(Levels, Levels)>,
}

impl PartWriter<'_> {
    /// Lets `write` write, at most `bytes_max`.
    pub(crate) fn part(bytes_max: usize, write: impl FnOnce(&mut PartWriter<'_>)) -> Part {
        let mut bits = Vec::new();
        let mut writer = PartWriter { bits: BitWriter::new(&mut bits, bytes_max), levels: None };
        write(&mut writer);
        let (first, last) = writer.levels.unwrap_or((Levels::START, Levels::START));
        let bits_count = writer.bits.finish();
        Part { first, last, bits, bits_count }
    }

    /// Appends a chunk; `indices` are those sent, ascending.
    pub(crate) fn write(&mut self, layout: ChunkLayout, indices: &[u16], entries: &Entries) {
        let levels = entries.levels;
        self.levels = match self.levels {
            None => Some((levels, levels)),
            Some((first, previous)) => {
                push_levels(&mut self.bits, previous, levels);
                Some((first, levels))
            }
        };
        if layout.complement {
            let mut absent = [0; CHUNK];
            self.indices(layout, complement(indices, &mut absent[..layout.coded]));
        } else {
            self.indices(layout, indices);
        }
        self.plane(&entries.signs, layout.count);
        self.plane(&entries.sizes, layout.count);
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

/// Appends the parts to `payload`, at most `bytes_max`.
pub(crate) fn join(parts: &[Part], payload: &mut Vec<u8>, bytes_max: usize) {
    let mut bits = BitWriter::new(payload, bytes_max);
    let mut previous = Levels::START;
    for part in parts {
        push_levels(&mut bits, previous, part.first);
        bits.push_all(&part.bits, part.bits_count);
        previous = part.last;
    }
    bits.finish();
}

fn push_levels(bits: &mut BitWriter<'_>, previous: Levels, levels: Levels) {
    push_level(bits, previous.small, levels.small);
    push_level(bits, previous.spread, levels.spread);
}

fn push_level(bits: &mut BitWriter<'_>, previous: u8, code: u8) {
    let step = code.wrapping_sub(previous) as i8;
    let zigzag = u32::from(((step << 1) ^ (step >> 7)) as u8);
    let quotient = zigzag >> LEVEL_RICE;
    if quotient < LEVEL_ESCAPE {
        bits.push_unary(quotient);
        bits.push(low(zigzag.into(), LEVEL_RICE as usize), LEVEL_RICE);
    } else {
        bits.push(0, LEVEL_ESCAPE);
        bits.push(zigzag.into(), 8);
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
