//! What the row-wise operations share: sums over a row, sums over rows, and elementwise passes.

use super::simd::{Kernel, LANES, Level, Simd};

/// Rows that one thread works on at a time.
pub(crate) const GROUP: usize = 64;

/// The sum of `term(values)` over sixteen lanes, then along the tree. A short last row of sixteen is filled with zeros.
#[inline(always)]
pub(crate) fn sum<S: Simd>(s: S, values: &[f32], term: impl Fn(S::V) -> S::V) -> f32 {
    let mut lanes = s.splat(0.0);
    for row in values.chunks(LANES) {
        lanes = s.add(lanes, term(s.get(row)));
    }
    s.sum(lanes)
}

/// `Σ x·y`, each product fused into its lane, along the shorter of the two.
#[inline(always)]
pub(crate) fn dot<S: Simd>(s: S, x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = s.splat(0.0);
    for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
        lanes = s.fma(s.get(x), s.get(y), lanes);
    }
    s.sum(lanes)
}

/// The largest value; minus infinity of none.
#[inline(always)]
pub(crate) fn largest<S: Simd>(s: S, values: &[f32]) -> f32 {
    let mut lanes = s.splat(f32::NEG_INFINITY);
    let (rows, rest) = values.as_chunks::<LANES>();
    for row in rows {
        lanes = s.max(s.load(row), lanes);
    }
    let most = s.largest(lanes);
    rest.iter().fold(most, |most, &value| if value > most { value } else { most })
}

/// Rows that are added one after the other; the groups are added in pairs.
pub(crate) const ADDED: usize = 16;

/// Adds the rows of `values` into `sums`, one after the other.
pub(crate) struct AddRows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) sums: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.values.chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.chunks_mut(LANES).zip(row.chunks(LANES)) {
                s.put(s.add(s.get(sum), s.get(value)), sum);
            }
        }
    }
}

/// Adds up groups of partial sums, each `width` long, and leaves the result in the first: neighbours in pairs, then neighbouring
/// pairs, and so on. One that has no neighbour waits for the next round.
pub(crate) fn add_pairs(level: Level, groups: &mut [f32], width: usize) {
    let mut apart = width;
    while width > 0 && apart < groups.len() {
        for pair in groups.chunks_mut(2 * apart) {
            if let Some((sums, values)) = pair.split_at_mut_checked(apart) {
                level.run(AddRows { values: &values[..values.len().min(width)], sums: &mut sums[..width] });
            }
        }
        apart *= 2;
    }
}

/// The sum of groups of rows, each `sums.len()` wide and the sum of [`ADDED`] rows; `+0` of none. The groups are lost.
pub(crate) fn add_groups(level: Level, groups: &mut [f32], sums: &mut [f32]) {
    add_pairs(level, groups, sums.len());
    match groups.get(..sums.len()) {
        Some(first) => sums.copy_from_slice(first),
        None => sums.fill(0.0),
    }
}
