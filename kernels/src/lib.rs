//! Arithmetic on slices, in the order a segment uses it.
//!
//! 1. [`to_f32`] turns the folded fixed-point state into the parameters a model trains on.
//! 2. [`global_norm`], then [`adamw`] or [`exact::Muon`], are the inner optimizer step.
//! 3. [`compress`] turns the segment's pseudo-gradient into a payload of a few bits per hundred parameters,
//!    leaving the rest in the residual (error feedback).
//! 4. [`Carry`] is what the author keeps between segments, sealed to two or three bytes per parameter.
//! 5. [`validate`] checks a stranger's payload completely; [`fold`] adds it to the state, or takes it out, exactly.
//! 6. [`state_root`] names the state: the same set of updates gives the same 32 bytes. [`StateDigest`] remembers what of it
//!    has not changed.
//!
//! Every function gives the same bits on every CPU, at every level of [`simd`] and with any number of threads: no library
//! transcendental functions, and each sum in a stated order. [`mod@reference`] holds a slow, readable twin of each
//! operation above, none of which fuses a multiply with an add but for the moments of [`adamw`].
//!
//! [`exact`] is the arithmetic of the model itself, forward and backward: the *exact* numeric profile.
//!
//! The crate reads no clock and draws no randomness, and it asks for threads only where a result cannot show them. Unsafe
//! code is allowed line by line, where a CPU's instructions are used that the compiler does not find; in `exact`, file by
//! file.
#![deny(unsafe_code)]

mod adamw;
mod bits;
mod carry;
mod compress;
mod digest;
mod error;
pub mod exact;
mod fixed;
mod fold;
mod layout;
mod level;
mod prefetch;
mod read;
pub mod reference;
mod scan;
mod seal;
mod select;
mod selected;
pub mod simd;
mod state_digest;
mod threads;
mod topk;
mod validate;
mod weight;
mod write;

pub use adamw::{AdamW, adamw, adamw_unfused, global_norm};
pub use carry::{Carry, CarryError, CarryShape, Optimizer};
pub use compress::compress;
pub use digest::{BLOB_CHUNK, blob_root, chunk_hashes, root_of, state_chunk_hashes, state_root};
pub use error::CodecError;
pub use fixed::{FRACTION_BITS, NonFinite, from_f32, to_f32};
pub use fold::{Direction, fold};
pub use layout::payload_bytes_max;
pub use level::{LEVELS, Norm, level_fixed};
pub use selected::{Steps, encode_selected, fold_steps};
pub use state_digest::StateDigest;
pub use topk::{CHUNK, TopK, TopKOutOfRange};
pub use validate::validate;
pub use weight::{Weight, WeightTooLarge};
