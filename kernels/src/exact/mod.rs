//! The exact profile, version 4: training arithmetic whose bits are the same on every CPU, instruction set and number of threads.
//!
//! # What the profile fixes
//! | what | rule |
//! |---|---|
//! | numbers | IEEE 754 `f32`, round to nearest even; subnormal numbers are kept; which NaN is not stated, that it is one is |
//! | products of matrices | per element, blocks of 256 steps from the first on: `fma(a[i, k], b[k, j], sum)` for ascending `k`, from `+0`; then the blocks ascending |
//! | sums over a row | lane `i mod 16` ascending, then lanes 8, 4, 2 and 1 apart are added |
//! | sums over rows | ascending from `+0` within groups of 16 rows; then neighbouring groups are added in pairs, then the pairs, and so on |
//! | `exp`, `ln`, `σ`, `tanh`, `erf`, `sin`, `cos` | polynomials, with the coefficients and errors in `math` |
//! | `/`, `√` | correctly rounded; `1/√x` is the two in turn |
//! | linear layers | product, then `+ bias`, then `residual +`; GELU of the rounded sum |
//! | GELU, SiLU | of `x·σ(t)`, the smaller of `σ(t)` and `1 − σ(t)` is made, and all else from it |
//! | attention | queries in blocks of 64 against all keys up to the block's end; the blocks' gradients of keys and values are added ascending; shares computed again in the backward pass |
//! | embeddings | gradients added in ascending order of places |
//! | cross-entropy | rows in `f32`, their mean in `f64`, ascending |
//! | random numbers | Philox 4×32-10, by index |
//! | optimizers | [`adamw`](crate::adamw): a moment is one fused step from the old to the new; each operation else rounded once. [`Muon`]: three polynomials of the Gram matrix of the shorter side, `g²` first, then `(e·g² + d·g + c)·g² + b·g + a`; of each product that is symmetric but for rounding, the lower triangle counts |
//!
//! What it leaves free changes no bit: tile sizes, packing, the order of elements, threads. So each kernel is written once, over
//! sixteen virtual lanes, and compiled for each instruction set.
//!
//! [`conformance`](conformance::conformance) computes one hash over all operations, to be compared with
//! [`EXPECTED`](conformance::EXPECTED).
//!
//! # Use
//! Make a [`Pool`] (an instruction set and threads), keep [`Buffer`]s and a [`Scratch`], call the operations. Nothing is
//! allocated once the buffers have their sizes. Shapes that do not fit are a [`ShapeError`].

mod activation;
mod attention;
mod buffer;
pub mod conformance;
mod conv;
mod embedding;
mod linear;
mod map;
mod math;
mod matmul;
mod muon;
mod norm;
mod peak;
mod pool;
pub mod random;
mod rope;
mod rows;
mod simd;
mod softmax;

pub use activation::{Activation, activate, activate_backward, swiglu, swiglu_backward};
pub use attention::Attention;
pub use buffer::Buffer;
pub use conv::{Conv, ConvScratch};
pub use embedding::{embed, embed_backward};
pub use linear::{After, linear, linear_activated, linear_backward, linear_grads, linear_scratch};
pub use map::{Function, map};
pub use matmul::{Matrix, Scratch, ShapeError, Start, matmul, product_scratch};
pub use muon::{Muon, MuonMatrix, MuonStep, POLYNOMIALS};
pub use norm::{MOMENTS, Norm, NormGrads, norm, norm_backward, norm_scratch};
pub use peak::multiply_adds;
pub use pool::{Pool, PoolError};
pub use rope::{Rope, Turn};
pub use simd::Level;
pub use softmax::{cross_entropy, softmax};

/// Name and version of the profile. Two machines that report it give the same bits.
pub const PROFILE: &str = "exact/4";
