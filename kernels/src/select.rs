//! Which parameters of a chunk are sent: exactly the `count` largest in magnitude, ties to the lowest index.
//!
//! Magnitudes are compared as the bits of their absolute value, which order like the magnitudes themselves.

use crate::CHUNK;

const MAGNITUDE: u32 = 0x7fff_ffff;

/// Sent entries of one chunk, and the memory to find them; made once and used for every chunk.
pub(crate) struct Selection {
    /// Indices of the sent parameters within the chunk, ascending, in the first `count` places.
    pub(crate) indices: [u16; CHUNK],
    candidates: [u64; CHUNK],
    magnitudes: Vec<u32>,
}

impl Selection {
    pub(crate) fn new() -> Self {
        Self { indices: [0; CHUNK], candidates: [0; CHUNK], magnitudes: Vec::with_capacity(CHUNK) }
    }

    /// Fills `indices` with the `count` largest of `values`, given that these are at least `bound` in magnitude.
    pub(crate) fn select(&mut self, values: &[f32], count: usize, bound: f32) {
        if count == values.len() {
            for (place, index) in self.indices[..count].iter_mut().zip(0..) {
                *place = index;
            }
            return;
        }
        let found = self.gather(values, bound.to_bits() & MAGNITUDE);
        self.cut(found, count);
    }

    /// Collects everything not below `bound`, in order of index, and says how many that is.
    fn gather(&mut self, values: &[f32], bound: u32) -> usize {
        let mut found = 0;
        for (index, value) in values.iter().enumerate() {
            let magnitude = value.to_bits() & MAGNITUDE;
            // Store always, advance sometimes: no branch to mispredict. `found` ≤ `index` < CHUNK, so the mask only
            // spares the bounds check.
            self.candidates[found % CHUNK] = u64::from(magnitude) << 32 | index as u64;
            found += usize::from(magnitude >= bound);
        }
        found
    }

    /// Keeps the `count` largest of the `found` candidates. `count` ≥ 1.
    fn cut(&mut self, found: usize, count: usize) {
        let candidates = &self.candidates[..found];
        self.magnitudes.clear();
        self.magnitudes.extend(candidates.iter().map(|candidate| (candidate >> 32) as u32));
        let (_, &mut least, above) = self.magnitudes.select_nth_unstable(found - count);
        // Of those equal to the smallest one sent, only the first few fit.
        let mut ties = count - above.iter().filter(|&&magnitude| magnitude > least).count();
        let mut kept = 0;
        for &candidate in candidates {
            let magnitude = (candidate >> 32) as u32;
            let tie = (magnitude == least) & (ties > 0);
            ties -= usize::from(tie);
            self.indices[kept % CHUNK] = candidate as u16;
            kept += usize::from((magnitude > least) | tie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(values: &[f32], count: usize, bound: f32) -> Vec<u16> {
        let mut selection = Selection::new();
        selection.select(values, count, bound);
        selection.indices[..count].to_vec()
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        assert_eq!(selected(&[1.0, -2.0, 2.0, 0.5, -2.0], 2, 0.0), [1, 2]);
        assert_eq!(selected(&[0.0, -0.0, 0.0], 2, 0.0), [0, 1]);
    }

    #[test]
    fn a_bound_that_holds_changes_nothing() {
        let values = [0.1, 3.0, -0.2, 2.0, -5.0];
        for bound in [0.0, 0.2, 2.0, 3.0] {
            assert_eq!(selected(&values, 2, bound), [1, 4]);
        }
        assert_eq!(selected(&values, 5, 9.0), [0, 1, 2, 3, 4], "all are sent, whatever the bound");
    }
}
