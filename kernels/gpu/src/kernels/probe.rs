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

/// How a device computes, as found by trying numbers of every size. A device of the profile has all but `contracts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arithmetic {
    /// `fma` is rounded once.
    pub fuses: bool,
    /// `fma` is a product and then a sum, each rounded.
    pub unfused: bool,
    /// A product and a sum may become one operation. The kernels do not let it.
    pub contracts: bool,
    /// Sums are correctly rounded, subnormal numbers kept.
    pub sums: bool,
    /// Products are.
    pub products: bool,
    /// Quotients are.
    pub quotients: bool,
    /// Square roots are.
    pub roots: bool,
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
        let all = |result: usize, expected: fn(f32, f32, f32) -> f32| {
            (0..TRIED).all(|i| same(out[i * RESULTS + result], expected(a[i], b[i], c[i])))
        };
        Ok(Self {
            fuses: all(0, f32::mul_add),
            unfused: all(0, |a, b, c| a * b + c),
            contracts: !all(1, |a, b, c| a * b + c),
            sums: all(4, |a, b, _| a + b),
            products: all(5, |a, b, _| a * b),
            quotients: all(2, |a, b, _| a / b),
            roots: all(3, |a, _, _| a.abs().sqrt()),
        })
    }
}

/// One NaN is as good as another.
fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
}
