//! Which parameters of a chunk are sent: exactly the `count` largest in magnitude, ties to the lowest index.
//!
//! No sorting: a search by halving for a magnitude that exactly `count` values reach. Each of its steps only counts, which
//! is what vector instructions do best, and it mostly ends long before the last bit.

use crate::CHUNK;
use crate::scan::{POSITIONS, Positions, count_reaching, positions};

/// Sent entries of one chunk, and the memory to find them; made once and used for every chunk.
pub(crate) struct Selection {
    /// Indices of the sent parameters within the chunk, ascending, in the first `count` places.
    pub(crate) indices: [u16; CHUNK],
    candidates: Positions,
    kept: Positions,
    magnitudes: [f32; CHUNK],
    /// The smallest magnitude sent of the chunk before: a good guess for the next.
    near: f32,
}

impl Selection {
    pub(crate) fn new() -> Self {
        Self {
            indices: [0; CHUNK],
            candidates: [0; POSITIONS],
            kept: [0; POSITIONS],
            magnitudes: [0.0; CHUNK],
            near: 0.0,
        }
    }

    /// Fills `indices` with the `count` largest of `values`, given that these are at least `bound` in magnitude. The values
    /// are finite, and `count` is at least 1 unless there are none.
    pub(crate) fn select(&mut self, values: &[f32], count: usize, bound: f32) {
        if count == values.len() {
            for (place, index) in self.indices[..count].iter_mut().zip(0..) {
                *place = index;
            }
        } else if bound > 0.0 {
            let found = positions(values, bound, &mut self.candidates);
            let candidates = &self.candidates[..found];
            for (magnitude, &index) in self.magnitudes.iter_mut().zip(candidates) {
                *magnitude = values[index as usize % CHUNK].abs();
            }
            self.keep(found, count, bound);
            for (index, &place) in self.indices[..count].iter_mut().zip(&self.kept) {
                *index = self.candidates[place as usize % CHUNK] as u16;
            }
        } else {
            self.magnitudes.iter_mut().zip(values).for_each(|(magnitude, value)| *magnitude = value.abs());
            self.keep(values.len(), count, bound);
            self.indices[..count].iter_mut().zip(&self.kept).for_each(|(index, &place)| *index = place as u16);
        }
    }

    /// Leaves in `kept` the places of the `count` largest of the first `found` magnitudes.
    fn keep(&mut self, found: usize, count: usize, bound: f32) {
        let magnitudes = &self.magnitudes[..found];
        self.near = reached(magnitudes, count, bound, self.near);
        let reaching = positions(magnitudes, self.near, &mut self.kept);
        if reaching > count {
            drop_ties(magnitudes, self.near, reaching - count, &mut self.kept[..reaching]);
        }
    }
}

/// Of the places in `kept`, takes out the last `excess` whose magnitude is `least`, and moves the others down.
#[cold]
fn drop_ties(magnitudes: &[f32], least: f32, excess: usize, kept: &mut [u32]) {
    let ties = |place: u32| magnitudes[place as usize] == least;
    let mut spared = kept.iter().filter(|&&place| ties(place)).count() - excess;
    let mut count = 0;
    for at in 0..kept.len() {
        let tie = ties(kept[at]);
        kept[count] = kept[at];
        count += usize::from(!tie || spared > 0);
        spared -= usize::from(tie && spared > 0);
    }
}

/// A magnitude that `count` of `magnitudes` reach and no more; or, if ties make that impossible, the largest magnitude that
/// at least `count` reach. At least `count` reach `low`.
///
/// `near` is a guess, which costs time if it is bad, and nothing else: it steps away from there in strides that double,
/// then halves.
fn reached(magnitudes: &[f32], count: usize, low: f32, near: f32) -> f32 {
    // The bits of magnitudes are ordered like magnitudes. `count` or more reach `low`, fewer reach `high`.
    let (mut low, mut high) = (low.to_bits(), f32::INFINITY.to_bits());
    let (mut middle, mut stride) = (near.to_bits().clamp(low, high - 1), FIRST_STRIDE);
    while high - low > 1 {
        let reaching = count_reaching(magnitudes, f32::from_bits(middle));
        if reaching == count {
            return f32::from_bits(middle);
        }
        (low, high) = if reaching > count { (middle, high) } else { (low, middle) };
        let halving = low + (high - low) / 2;
        middle = if reaching > count {
            halving.min(low.saturating_add(stride))
        } else {
            halving.max(high.saturating_sub(stride))
        };
        stride = stride.saturating_mul(2);
    }
    f32::from_bits(low)
}

/// An eighth of an octave.
const FIRST_STRIDE: u32 = 1 << 20;

/// A magnitude that at least `count` of `magnitudes` reach, not far below the largest such: one with four bits of mantissa.
pub(crate) fn bound(magnitudes: &[f32], count: usize) -> f32 {
    const DROPPED: u32 = 19;
    let (mut low, mut high) = (0, f32::INFINITY.to_bits() >> DROPPED);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let enough = count_reaching(magnitudes, f32::from_bits(middle << DROPPED)) >= count;
        (low, high) = if enough { (middle, high) } else { (low, middle) };
    }
    f32::from_bits(low << DROPPED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Level;

    fn selected(values: &[f32], count: usize, bound: f32) -> Vec<u16> {
        let mut selection = Selection::new();
        selection.select(values, count, bound);
        selection.indices[..count].to_vec()
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        assert_eq!(selected(&[1.0, -2.0, 2.0, 0.5, -2.0], 2, 0.0), [1, 2]);
        assert_eq!(selected(&[0.0, -0.0, 0.0], 2, 0.0), [0, 1]);
        assert_eq!(selected(&[f32::MAX, f32::MAX, 3.0, f32::MAX], 2, 0.0), [0, 1]);
    }

    #[test]
    fn a_bound_that_holds_changes_nothing() {
        let values = [0.1, 3.0, -0.2, 2.0, -5.0];
        for bound in [0.0, 0.2, 2.0] {
            assert_eq!(selected(&values, 2, bound), [1, 4]);
        }
        assert_eq!(selected(&values, 5, 9.0), [0, 1, 2, 3, 4], "all are sent, whatever the bound");
    }

    #[test]
    fn a_bound_is_reached_often_enough_and_is_close() {
        let magnitudes: Vec<f32> = (1..=1000).map(|i| i as f32).collect();
        for level in Level::available() {
            level.activate();
            for count in [1, 10, 500, 1000] {
                let least = (1001 - count) as f32;
                let bound = bound(&magnitudes, count);
                assert!(bound <= least && least < bound * 1.07, "{bound} for {least}");
            }
            assert_eq!(bound(&[f32::MAX; 3], 3), 1.9375 * (1u128 << 127) as f32);
            assert_eq!(bound(&[0.0; 3], 3), 0.0);
        }
    }
}
