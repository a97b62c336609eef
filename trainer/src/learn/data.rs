//! What the model learns from: text, cut into a training and a validation part, and the batches drawn from them.
//!
//! [`Corpus::load`] reads a [`DataSource`] under fixed rules and names the result by its [`root`](Corpus::root);
//! peers whose roots differ must not train together. [`batch`] then says what a peer trains on at each step, in [`Tokens`]:
//! the peer has no choice.

mod batches;
mod content;
pub(crate) mod corpus;
mod documents;
mod error;
mod folder;
mod left_out;
mod registry;
mod repetition;
mod split;
mod tokens;

pub use batches::{batch, validation_batch};
pub use corpus::{Corpus, DataSource};
pub use error::DataError;
pub use left_out::{LeftOut, Reason};
pub use tokens::Tokens;
