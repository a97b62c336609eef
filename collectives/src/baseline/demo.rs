//! The codec of DeMo (arXiv 2411.19870): momentum stays at home, but for its largest frequencies.

use std::collections::BTreeMap;

use core::ops::Range;

use super::gather::{BadPayload, Codec};
use super::sparseloco::largest;

/// Largest side of a block that is transformed at once.
const SIDE_MAX: usize = 64;

/// Bytes of an entry: an index and a value in bfloat16.
const ENTRY_BYTES: usize = 4;

/// Decayed momentum of which the largest cosine coefficients of each block are sent and taken away.
#[derive(Debug, Clone)]
pub struct Demo {
    kept: usize,
    decay: f32,
    blocks: Vec<Block>,
    /// The cosine transform of each side that blocks have.
    cosines: BTreeMap<usize, Cosines>,
    momentum: Vec<f32>,
}

/// A block of a matrix: `sides` = rows, columns.
#[derive(Debug, Clone)]
struct Block {
    start: usize,
    stride: usize,
    sides: [usize; 2],
}

impl Demo {
    /// For parameters that are matrices of these shapes, one after another (a vector is one row). Sends `kept` coefficients of a
    /// block of at most 64 × 64 (32 as published); `decay` of the momentum survives a round (0.999).
    pub fn new(shapes: &[[usize; 2]], kept: usize, decay: f32) -> Self {
        let mut blocks = Vec::new();
        let mut start = 0;
        for [rows, columns] in shapes {
            let (high, wide) = (side(*rows), side(*columns));
            for row in (0..*rows).step_by(high.max(1)) {
                for column in (0..*columns).step_by(wide.max(1)) {
                    blocks.push(Block { start: start + row * columns + column, stride: *columns, sides: [high, wide] });
                }
            }
            start += rows * columns;
        }
        let sides = blocks.iter().flat_map(|block| block.sides);
        let cosines = sides.map(|side| (side, Cosines::new(side))).collect();
        Self { kept, decay, blocks, cosines, momentum: vec![0.0; start] }
    }

    fn kept_of(&self, block: &Block) -> usize {
        self.kept.min(block.len())
    }

    /// The cosine transform of rows and of columns, or its inverse. Orthonormal: the inverse is the transpose.
    fn transform(&self, block: &Block, values: &[f32], way: Way) -> Vec<f32> {
        let [rows, columns] = block.sides;
        let along_rows = product(values, self.cosines[&columns].of(way), columns);
        let turned = transpose(&along_rows, [rows, columns]);
        transpose(&product(&turned, self.cosines[&rows].of(way), rows), [columns, rows])
    }
}

impl Codec for Demo {
    fn encode(&mut self, vector: &[f32]) -> Vec<u8> {
        for (momentum, gradient) in self.momentum.iter_mut().zip(vector) {
            *momentum = self.decay * *momentum + gradient;
        }
        let mut payload = Vec::new();
        for block in &self.blocks {
            let frequencies = self.transform(block, &block.read(&self.momentum), Way::There);
            let mut sent = vec![0.0; frequencies.len()];
            for index in largest(&frequencies, self.kept_of(block)) {
                let rounded = (frequencies[index].to_bits() >> 16) as u16;
                payload.extend((index as u16).to_le_bytes());
                payload.extend(rounded.to_le_bytes());
                sent[index] = f32::from_bits(u32::from(rounded) << 16);
            }
            block.add(&self.transform(block, &sent, Way::Back), -1.0, &mut self.momentum);
        }
        payload
    }

    fn add(&self, payload: &[u8], sum: &mut [f32]) -> Result<(), BadPayload> {
        let mut rest = payload;
        for block in &self.blocks {
            let (entries, after) = rest.split_at_checked(ENTRY_BYTES * self.kept_of(block)).ok_or(BadPayload)?;
            rest = after;
            let mut frequencies = vec![0.0; block.len()];
            for entry in entries.chunks_exact(ENTRY_BYTES) {
                let (index, bits) =
                    (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]));
                let value = f32::from_bits(u32::from(bits) << 16);
                let position = frequencies.get_mut(usize::from(index)).filter(|_| value.is_finite());
                *position.ok_or(BadPayload)? += value;
            }
            block.add(&self.transform(block, &frequencies, Way::Back), 1.0, sum);
        }
        rest.is_empty().then_some(()).ok_or(BadPayload)
    }
}

/// The largest divisor that a block may have as a side.
fn side(length: usize) -> usize {
    (1..=SIDE_MAX.min(length)).rev().find(|side| length.is_multiple_of(*side)).unwrap_or(length)
}

impl Block {
    fn len(&self) -> usize {
        self.sides[0] * self.sides[1]
    }

    fn row(&self, row: usize) -> Range<usize> {
        let from = self.start + row * self.stride;
        from..from + self.sides[1]
    }

    fn read(&self, vector: &[f32]) -> Vec<f32> {
        (0..self.sides[0]).flat_map(|row| vector[self.row(row)].iter().copied()).collect()
    }

    fn add(&self, values: &[f32], factor: f32, vector: &mut [f32]) {
        for (row, values) in values.chunks_exact(self.sides[1]).enumerate() {
            vector[self.row(row)].iter_mut().zip(values).for_each(|(position, value)| *position += factor * value);
        }
    }
}

/// To frequencies, or back from them.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    There,
    Back,
}

/// The cosine transform (type II) of a side, and its transpose: `[side, side]` each.
#[derive(Debug, Clone)]
struct Cosines {
    /// A row is a position, a column a frequency.
    there: Vec<f32>,
    /// A row is a frequency.
    back: Vec<f32>,
}

impl Cosines {
    fn new(side: usize) -> Self {
        let angle = |frequency: usize, position: usize| {
            let turn = core::f64::consts::PI * (position as f64 + 0.5) * frequency as f64 / side as f64;
            let scale = if frequency == 0 { 1.0 } else { 2.0 };
            ((scale / side as f64).sqrt() * turn.cos()) as f32
        };
        let back: Vec<f32> = (0..side * side).map(|index| angle(index / side, index % side)).collect();
        Self { there: transpose(&back, [side, side]), back }
    }

    fn of(&self, way: Way) -> &[f32] {
        match way {
            Way::There => &self.there,
            Way::Back => &self.back,
        }
    }
}

/// `[rows, side]` times `[side, side]`; rows of zeros cost nothing.
fn product(values: &[f32], matrix: &[f32], side: usize) -> Vec<f32> {
    let mut result = vec![0.0; values.len()];
    for (out, row) in result.chunks_exact_mut(side).zip(values.chunks_exact(side)) {
        for (value, coefficients) in row.iter().zip(matrix.chunks_exact(side)).filter(|(value, _)| **value != 0.0) {
            out.iter_mut().zip(coefficients).for_each(|(out, coefficient)| *out += value * coefficient);
        }
    }
    result
}

fn transpose(values: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_parameter_once() {
        let codec = Demo::new(&[[128, 96], [1, 100], [3, 7]], 32, 0.999);
        let mut covered = vec![0.0; 128 * 96 + 100 + 21];
        codec.blocks.iter().for_each(|block| block.add(&vec![1.0; block.len()], 1.0, &mut covered));
        assert!(covered.iter().all(|times| *times == 1.0));
        assert_eq!(codec.blocks.len(), 2 * 2 + 2 + 1);
    }

    #[test]
    fn the_transform_has_an_inverse() {
        let codec = Demo::new(&[[4, 6]], 24, 0.999);
        let block = &codec.blocks[0];
        let values: Vec<f32> = (0..24).map(|index: i32| ((index * 37) % 11 - 5) as f32).collect();
        let back = codec.transform(block, &codec.transform(block, &values, Way::There), Way::Back);
        assert!(back.iter().zip(&values).all(|(back, value)| (back - value).abs() < 1e-4), "{back:?}");
        let flat = codec.transform(block, &[1.0; 24], Way::There);
        assert!((flat[0] - 24_f32.sqrt()).abs() < 1e-4 && flat[1..].iter().all(|value| value.abs() < 1e-4));
    }

    #[test]
    fn what_is_sent_leaves_the_momentum() {
        let vector: Vec<f32> = (0..4096).map(|index: i32| ((index * 7919) % 1000 - 500) as f32).collect();
        let mut codec = Demo::new(&[[64, 64]], 32, 0.5);
        let payload = codec.encode(&vector);
        assert_eq!(payload.len(), 32 * ENTRY_BYTES);
        let mut sent = vec![0.0; 4096];
        codec.add(&payload, &mut sent).unwrap();
        let whole = sent.iter().zip(&codec.momentum).zip(&vector);
        assert!(whole.clone().all(|((sent, left), value)| (sent + left - value).abs() < 0.05));
        let energy = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>();
        assert!(energy(&codec.momentum) < energy(&vector));
        assert!(codec.add(&payload[4..], &mut sent).is_err() && codec.add(&[0xff; 128], &mut sent).is_err());
    }
}
