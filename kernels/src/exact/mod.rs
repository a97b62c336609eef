//! The exact profile.
mod buffer;
mod matmul;
mod pool;
mod simd;

pub use buffer::Buffer;
pub use matmul::{Matrix, Scratch, ShapeError, Start, matmul};
pub use pool::{Pool, PoolError};
pub use simd::{Level, UnknownLevel};
