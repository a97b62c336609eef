//! What a device must reproduce: every kernel on stated inputs, beside the CPU's.
//!
//! A device is of the exact profile if all its cases are, bit for bit, those of [`Level::SCALAR`]. One without fused multiply-add
//! is not; all but the fusing is then checked against [`Level::UNFUSED`].

mod cases;
mod cpu;
mod gpu;
mod machine;

use murmur_kernels::exact::{Level, Pool};

pub use cases::CASES;
use machine::Machine;

use crate::{Gpu, GpuError};

/// One kernel on stated inputs.
#[derive(Clone, Copy)]
pub struct Case {
    /// The kernel, and what is special about the inputs.
    pub name: &'static str,
    run: fn(&dyn Machine) -> Result<Vec<u32>, GpuError>,
}

impl Case {
    /// What a CPU at this level makes of it: results as bits, every NaN as one.
    ///
    /// # Panics
    /// If the inputs do not fit each other: a bug of the case.
    pub fn on_cpu(&self, level: Level) -> Vec<u32> {
        (self.run)(&Pool::single(level)).expect("the shapes of a case fit")
    }

    /// What a device makes of it.
    ///
    /// # Errors
    /// The device failed.
    pub fn on_gpu(&self, gpu: &Gpu) -> Result<Vec<u32>, GpuError> {
        (self.run)(gpu)
    }
}

/// Numbers as bits, every NaN as one: which NaN comes out of an operation is not stated.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }).collect()
}

/// A state value as its two words.
fn words(value: i64) -> Vec<u32> {
    vec![value as u32, (value >> 32) as u32]
}
