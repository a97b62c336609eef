//! What the arithmetic of a device is like.

use cubecl::prelude::*;

use crate::device::cubes;
use crate::sample::wild;
use crate::{Gpu, GpuError};

/// Numbers for each operation.
const TRIED: usize = 1 << 14;
const RESULTS: usize = 6;
const UNITS: u32 = 256;

#[cube(launch)]
fn operations(a: &[f32], b: &[f32], c: &[f32], out: &mut [f32]) {
    let i = ABSOLUTE_POS;
    if i < a.len() {
        let at = i * RESULTS;
        out[at] = fma(a[i], b[i], c[i]);
        out[at + 1] = a[i] * b[i] + c[i];
        out[at + 2] = a[i] / b[i];
        out[at + 3] = a[i].abs().sqrt();
        out[at + 4] = a[i] + b[i];
        out[at + 5] = a[i] * b[i];
    }
}

/// How a device computes, as found by trying numbers of every size. A device of the profile has all but `contracts` and `unfused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// `fma` is rounded once.
    pub fuses: bool,
    /// `fma` is a product and then a sum, each rounded.
    pub unfused: bool,
    /// A product and a sum may become one operation. The kernels do not let it.
    pub contracts: bool,
    /// Sums are correctly rounded.
    pub sums: bool,
    /// Products are.
    pub products: bool,
    /// Quotients are.
    pub quotients: bool,
    /// Square roots are.
    pub roots: bool,
    /// All of these are of subnormal numbers, too, and none turns into zero.
    pub subnormals: bool,
}

impl Arithmetic {
    /// Tries a device.
    ///
    /// # Errors
    /// The device failed.
    pub fn of(gpu: &Gpu) -> Result<Self, GpuError> {
        let [a, b, c] = [1, 2, 3].map(|seed| wild(TRIED, seed));
        // Numbers near enough to each other that a sum has something to round.
        let c: Vec<f32> =
            c.iter().zip(a.iter().zip(&b)).map(|(c, (a, b))| if c.abs() < 1.0 { a * b * -0.999 } else { *c }).collect();
        let out = gpu.room(TRIED * RESULTS);
        let [x, y, z] = [&a, &b, &c].map(|values| gpu.upload(values));
        let count = cubes(TRIED.div_ceil(UNITS as usize));
        operations::launch(&gpu.client, count, CubeDim::new_1d(UNITS), x.arg(), y.arg(), z.arg(), out.arg());
        let out = gpu.read(&out)?;
        let tried = |result: usize, subnormal: bool, expected: Operation| {
            let mut chosen = (0..TRIED).filter(|&i| {
                let numbers = [a[i], b[i], c[i], a[i] * b[i], expected(a[i], b[i], c[i])];
                numbers.into_iter().any(f32::is_subnormal) == subnormal
            });
            chosen.all(|i| same(out[i * RESULTS + result], expected(a[i], b[i], c[i])))
        };
        let all = |result, expected| tried(result, false, expected);
        let (unfused, fuses) = (all(0, |a, b, c| a * b + c), all(0, f32::mul_add));
        let fma: Operation = if unfused { |a, b, c| a * b + c } else { f32::mul_add };
        let operations: [(usize, Operation); 5] =
            [(0, fma), (2, |a, b, _| a / b), (3, |a, _, _| a.abs().sqrt()), (4, |a, b, _| a + b), (5, |a, b, _| a * b)];
        Ok(Self {
            fuses,
            unfused,
            contracts: !all(1, |a, b, c| a * b + c),
            sums: all(4, |a, b, _| a + b),
            products: all(5, |a, b, _| a * b),
            quotients: all(2, |a, b, _| a / b),
            roots: all(3, |a, _, _| a.abs().sqrt()),
            subnormals: operations.into_iter().all(|(result, expected)| tried(result, true, expected)),
        })
    }
}

type Operation = fn(f32, f32, f32) -> f32;

/// One NaN is as good as another.
fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
}
