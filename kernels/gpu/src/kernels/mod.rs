//! One file for each operation: the kernel, and the function that checks shapes and starts it.

mod activation;
mod adamw;
mod attention;
mod embedding;
mod feed;
mod fold;
mod lanes;
mod layer_norm;
mod math;
mod matmul;
mod norm;
mod probe;
mod round;
mod softmax;
mod tile;
mod view;

pub use activation::{activate, activate_backward};
pub use adamw::adamw;
pub use attention::{attention, attention_backward};
pub use embedding::{embed, embed_backward};
pub use feed::{CompressError, compress};
pub use fold::{FoldError, fold, read_state, to_f32, upload_state};
pub use layer_norm::{norm, norm_backward};
pub use matmul::{Factor, Start, matmul};
pub(crate) use matmul::{Plan, matmul_by};
pub use norm::global_norm;
pub use probe::Arithmetic;
pub use softmax::{cross_entropy, softmax};
