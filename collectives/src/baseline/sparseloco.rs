//! The codec of SparseLoCo (arXiv 2508.15706) as published: error feedback, top-k of chunks, 2 bits a value, 12 bits an index.

use super::gather::{BadPayload, Codec};

/// Values of a chunk: what a 12-bit index can tell apart.
const CHUNK: usize = 4096;

/// Bytes before a chunk's entries: its two levels.
const LEVELS_BYTES: usize = 8;

/// Top-k with error feedback. Each value kept is sent as its sign and one of two levels, the means of the smaller and of the
/// larger magnitudes of its chunk. (Published: four bins over a fixed range. Conditional means err less.)
#[derive(Debug, Clone)]
pub struct SparseLoco {
    kept: usize,
    decay: f32,
    residual: Vec<f32>,
}

impl SparseLoco {
    /// Keeps `kept` values of 4096 (128 as published); `decay` of what is left out counts the next time (0.95).
    ///
    /// # Panics
    /// If it keeps none, or more than there are.
    pub fn new(kept: usize, decay: f32) -> Self {
        assert!((1..=CHUNK).contains(&kept), "from 1 to {CHUNK} of {CHUNK}");
        Self { kept, decay, residual: Vec::new() }
    }

    /// Sends the largest of a chunk and takes what was sent away from it.
    fn send(kept: usize, chunk: &mut [f32], payload: &mut Vec<u8>) {
        let indices = largest(chunk, kept.min(chunk.len()));
        let sizes = indices.iter().map(|index| chunk[*index].abs());
        let middle = mean(sizes.clone());
        let levels = [mean(sizes.clone().filter(|size| *size < middle)), mean(sizes.filter(|size| *size >= middle))];
        levels.iter().for_each(|level| payload.extend(level.to_le_bytes()));
        let mut bits = Bits::default();
        for index in indices {
            let (value, high) = (chunk[index], chunk[index].abs() >= middle);
            let sent = levels[usize::from(high)].copysign(value);
            chunk[index] -= sent;
            bits.push((index as u32) << 2 | u32::from(value.is_sign_negative()) << 1 | u32::from(high), payload);
        }
        bits.flush(payload);
    }
}

impl Codec for SparseLoco {
    fn encode(&mut self, vector: &[f32]) -> Vec<u8> {
        self.residual.resize(vector.len(), 0.0);
        for (residual, value) in self.residual.iter_mut().zip(vector) {
            *residual = self.decay * *residual + value;
        }
        let mut payload = Vec::new();
        for chunk in self.residual.chunks_mut(CHUNK) {
            Self::send(self.kept, chunk, &mut payload);
        }
        payload
    }

    fn add(&self, payload: &[u8], sum: &mut [f32]) -> Result<(), BadPayload> {
        let mut rest = payload;
        for chunk in sum.chunks_mut(CHUNK) {
            let kept = self.kept.min(chunk.len());
            let bytes = LEVELS_BYTES + (14 * kept).div_ceil(8);
            let (mine, after) = rest.split_at_checked(bytes).ok_or(BadPayload)?;
            rest = after;
            let (levels, entries) = mine.split_at(LEVELS_BYTES);
            let level = |at: usize| f32::from_le_bytes([levels[at], levels[at + 1], levels[at + 2], levels[at + 3]]);
            let levels = [level(0), level(4)];
            if levels.iter().any(|level| !level.is_finite()) {
                return Err(BadPayload);
            }
            for entry in 0..kept {
                let word = word(entries, 14 * entry);
                let value = levels[(word & 1) as usize];
                let position = chunk.get_mut((word >> 2) as usize).ok_or(BadPayload)?;
                *position += if word & 2 == 0 { value } else { -value };
            }
        }
        rest.is_empty().then_some(()).ok_or(BadPayload)
    }
}

/// Indices of the `count` largest magnitudes, ascending; of equal ones the first.
pub(super) fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..values.len()).collect();
    if count < values.len() {
        let order = |a: &usize, b: &usize| values[*b].abs().total_cmp(&values[*a].abs()).then(a.cmp(b));
        indices.select_nth_unstable_by(count, order);
        indices.truncate(count);
        indices.sort_unstable();
    }
    indices
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (count, sum) = values.fold((0_u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f32 }
}

/// Words of 14 bits, packed.
#[derive(Default)]
struct Bits {
    waiting: u64,
    count: u32,
}

impl Bits {
    fn push(&mut self, word: u32, bytes: &mut Vec<u8>) {
        self.waiting |= u64::from(word) << self.count;
        self.count += 14;
        while self.count >= 8 {
            bytes.push(self.waiting as u8);
            self.waiting >>= 8;
            self.count -= 8;
        }
    }

    fn flush(self, bytes: &mut Vec<u8>) {
        if self.count > 0 {
            bytes.push(self.waiting as u8);
        }
    }
}

/// The 14 bits from bit `at` on.
fn word(bytes: &[u8], at: usize) -> u32 {
    let byte = |index: usize| u32::from(bytes.get(index).copied().unwrap_or(0));
    let first = at / 8;
    let three = byte(first) | byte(first + 1) << 8 | byte(first + 2) << 16;
    three >> (at % 8) & 0x3fff
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_and_what_is_kept_are_what_there_was() {
        let vector: Vec<f32> = (0..5000).map(|index: i32| ((index * 7919) % 1000 - 500) as f32).collect();
        let mut codec = SparseLoco::new(128, 0.5);
        let payload = codec.encode(&vector);
        assert_eq!(payload.len(), 2 * (8 + 128 * 14 / 8));
        let mut sent = vec![0.0; 5000];
        codec.add(&payload, &mut sent).unwrap();
        assert_eq!(sent.iter().filter(|value| **value != 0.0).count(), 256);
        for ((sent, left), value) in sent.iter().zip(&codec.residual).zip(&vector) {
            assert!((sent + left - value).abs() < 1e-3);
        }
        let before = codec.residual.clone();
        codec.encode(&vec![0.0; 5000]);
        let halved = |(now, before): (&f32, &f32)| *now == before / 2.0;
        assert!(codec.residual.iter().zip(&before).filter(|pair| halved(*pair)).count() >= 5000 - 256);
    }

    #[test]
    fn a_payload_that_was_cut_or_grew_is_none() {
        let mut codec = SparseLoco::new(16, 0.95);
        let payload = codec.encode(&[1.0; 100]);
        let mut sum = [0.0; 100];
        assert!(codec.add(&payload[1..], &mut sum).is_err());
        assert!(codec.add(&[&payload[..], &[0]].concat(), &mut sum).is_err());
        assert!(codec.add(&vec![0xff; payload.len()], &mut sum).is_err(), "not finite");
        let mut far = payload.clone();
        far[8..].fill(0xff);
        assert!(codec.add(&far, &mut sum).is_err(), "an index past the end");
    }
}
