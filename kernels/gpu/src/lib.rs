//! The exact-profile kernels on GPUs, in CubeCL: one source for CUDA, Vulkan, Metal and ROCm.
//!
//! 1. `Gpu::open` finds a device of a `Backend`; `Gpu::upload` and `Gpu::read` move numbers there and back.
//! 2. `kernels` has a function for each operation of a segment: the model's, forward and backward; the optimizer's; those of
//!    compression and fold. Each is the twin of a function of [`murmur_kernels`], with the same results, bit for bit.
//! 3. `conformance` runs every one of them on stated inputs, beside the CPU's.
//! 4. `examine` does so on a device and says whether it is of the exact profile, and how fast it is.
//!
//! # What a device must have
//! Products, sums, quotients and square roots rounded as IEEE 754 says, a fused multiply-add that is rounded once, and subnormal
//! numbers that stay. No graphics interface promises all of these, so nothing is believed: `Arithmetic` is what was found out,
//! and a device is of the profile only if every case is reproduced.
//!
//! What must not happen is that a compiler fuses a product and a sum that the profile rounds one after the other, or does
//! algebra as if numbers were real. CubeCL lets CUDA's compiler fuse, Metal's does both by default, and WGSL has no word against
//! either. Where it would matter, a number's bits pass through an exclusive or with a kernel argument that is zero, which no
//! compiler can know.
//!
//! # What was found
//! | device | `fma` | `+ − ·` | `/ √` | subnormal numbers | fuses `a·b + c` | algebra |
//! |---|---|---|---|---|---|---|
//! | NVIDIA H100 80GB (driver 580.159, CUDA 13.0), CUDA through CubeCL's LLVM backend | rounded once | correctly rounded | correctly rounded | kept | yes | none seen |
//! | the same card, Vulkan through WGSL | rounded once | correctly rounded | not correctly rounded | become zero | yes | none seen |
//! | Mesa's llvmpipe (LLVM 15), Vulkan through WGSL | rounded twice | correctly rounded | correctly rounded | kept | no | yes: without the guard `(x + c) − c` came out as `x`, so that `exp` was wrong by a tenth, and GELU and quotients by an ulp |
//!
//! The first is of the profile: every case has the bits of the CPU, without a change to any kernel. The second is not, and no WGSL can
//! make it so, for subnormal numbers; products of ordinary numbers, embeddings, the norm and the fold have the right bits there. On the
//! third everything but the fusing is checked: it equals the profile evaluated with
//! [`Level::UNFUSED`](murmur_kernels::exact::Level::UNFUSED).
//!
//! `cargo run --release -p murmur-gpu --features cuda --example examine` says it of another machine, and
//! `experiments/pytorch/gpu.py` how fast the kernels are there, beside PyTorch's. The feature `cuda` downloads LLVM when it is built; where
//! there is no `nvcc`, `CUDARC_CUDA_VERSION=13000` says which CUDA the driver has.
//!
//! Without a feature the crate is empty: CubeCL takes ten minutes to build.
#![deny(unsafe_code)]

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub mod conformance;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod device;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub mod kernels;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod report;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod sample;

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub use device::{Backend, Buffer, Gpu, GpuError, Unavailable};
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub use kernels::Arithmetic;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub use report::{Report, Speed, Verdict, examine};
