//! Rounding that no compiler takes away.
//!
//! Compilers for GPUs may join a product and a sum into one fused operation (CubeCL's own for CUDA is allowed to), and they may
//! do algebra as if numbers were real: Mesa's turns `(x + c) − c` into `x`, which was found when `exp` came out as one. WGSL has
//! no word against either. So a number that must be rounded before the next operation passes through its bits and an exclusive
//! or with a number that is zero, but only at run time; and sums start from a zero that is one only at run time.

use cubecl::prelude::*;

/// `value`, rounded to `f32`, whatever is done with it next. `zero` is a kernel argument that is always 0.
#[cube]
pub(crate) fn rounded(value: f32, zero: u32) -> f32 {
    f32::reinterpret(u32::reinterpret(value) ^ zero)
}

/// `+0`, as a number of which no compiler knows that `x + 0` is `x`: it is not if `x` is `−0`.
#[cube]
pub(crate) fn nothing(zero: u32) -> f32 {
    f32::reinterpret(zero)
}
