//! What the row-wise operations share: sums over a row, sums over rows, and elementwise passes.

use super::pool::Pool;
use super::simd::{Kernel, LANES, Level, Simd};

/// Rows that one thread works on at a time, and whose sums over rows are added up first.
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

/// Adds the rows of `values` into `sums`, one after the other.
struct AddRows<'a> {
    values: &'a [f32],
    sums: &'a mut [f32],
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

/// Adds up `groups` of partial sums, each as long as `sums`, in ascending order.
pub(crate) fn add_groups(level: Level, groups: &[f32], sums: &mut [f32]) {
    if sums.is_empty() {
        return;
    }
    sums.fill(0.0);
    level.run(AddRows { values: groups, sums });
}

/// The sum of the rows of `values` `[rows, sums.len()]`: groups of 64 rows in ascending order, then the groups in ascending order.
///
/// `scratch` holds the groups: one row for each.
pub(crate) fn column_sums(pool: &Pool, values: &[f32], scratch: &mut [f32], sums: &mut [f32]) {
    let width = sums.len();
    pool.chunks(scratch, width, |group, part| {
        let first = group * GROUP * width;
        part.fill(0.0);
        let values = &values[first..values.len().min(first + GROUP * width)];
        pool.level().run(AddRows { values, sums: part });
    });
    add_groups(pool.level(), scratch, sums);
}
