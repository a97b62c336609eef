//! The exact profile.

/// Name and version of the profile. Two machines that report it give the same bits.
pub const PROFILE: &str = "exact/1";

mod activation;
mod attention;
mod buffer;
mod embedding;
mod linear;
mod math;
mod matmul;
mod norm;
mod pool;
mod rows;
mod simd;
mod softmax;

pub use activation::{Activation, activate, activate_backward, swiglu, swiglu_backward};
pub use attention::Attention;
pub use buffer::Buffer;
pub use embedding::{embed, embed_backward};
pub use linear::{After, linear, linear_activated, linear_backward, linear_grads};
pub use matmul::{Matrix, Scratch, ShapeError, Start, matmul};
pub use norm::{MOMENTS, Norm, NormGrads, norm, norm_backward, norm_scratch};
pub use pool::{Pool, PoolError};
pub use simd::{Level, UnknownLevel};
pub use softmax::{cross_entropy, softmax};
