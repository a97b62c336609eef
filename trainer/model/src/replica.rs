//! What the inner loop needs from a model, whoever computes it.

use thiserror::Error;

use crate::layout::Layout;
use crate::token::Token;

/// Sequences and, for each position, the token that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Sequences in the batch.
    pub size: usize,
    /// Tokens per sequence, at most the model's context.
    pub context: usize,
    /// `[size, context]`, row-major.
    pub inputs: Vec<Token>,
    /// `[size, context]`, row-major: `inputs` one token later.
    pub targets: Vec<Token>,
}

impl Batch {
    /// Sequences of `context` tokens that lie behind each other in `text`.
    ///
    /// # Panics
    /// If `text` has not exactly one token more than the sequences: the one that follows the last.
    pub fn in_a_row<T: Copy + Into<Token>>(size: usize, context: usize, text: &[T]) -> Self {
        assert_eq!(text.len(), size * context + 1, "the sequences, and the token after them");
        let tokens: Vec<Token> = text.iter().map(|&token| token.into()).collect();
        Self { size, context, inputs: tokens[..size * context].to_vec(), targets: tokens[1..].to_vec() }
    }

    /// Tokens it trains on: `size · context`.
    pub fn tokens(&self) -> u64 {
        (self.size * self.context) as u64
    }
}

/// Why a replica could not compute. Nothing was written to the caller's buffers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplicaError {
    /// A buffer does not fit the model: a bug of the caller.
    #[error("{what} has {given} values where the model has {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Its length.
        given: usize,
        /// The length it must have.
        expected: usize,
    },
    /// A batch is empty, ragged or longer than the model's context.
    #[error("a batch of {size} sequences of {context} bytes does not fit a model with context {limit}")]
    Batch {
        /// Sequences.
        size: usize,
        /// Tokens per sequence.
        context: usize,
        /// The model's context.
        limit: usize,
    },
    /// The backend failed.
    #[error("the compute backend failed: {0}")]
    Backend(String),
}

/// A model that computes on flat parameters.
///
/// A replica is a function: it holds buffers and shapes but no parameters, so calls may come in any order,
/// and equal arguments give equal bits on every replica of one [`class`](Self::class).
///
/// # Shapes
/// `params` and `grad` are `[layout().params()]` in the order of the layout.
pub trait Replica {
    /// Where each tensor lies in the flat vector.
    fn layout(&self) -> &Layout;

    /// Mean cross-entropy of the batch in nats per token; writes its gradient over `grad`.
    ///
    /// # Errors
    /// A buffer or batch of the wrong shape, or a failing backend; `grad` is then unspecified but initialized.
    fn loss_and_grad(&mut self, params: &[f32], batch: &Batch, grad: &mut [f32]) -> Result<f32, ReplicaError>;

    /// Mean cross-entropy of the batch in nats per token.
    ///
    /// # Errors
    /// A buffer or batch of the wrong shape, or a failing backend.
    fn loss(&mut self, params: &[f32], batch: &Batch) -> Result<f32, ReplicaError>;

    /// Scores `[vocabulary]` of the token that follows `tokens`, of which the last `context` are used.
    ///
    /// # Errors
    /// Parameters of the wrong length, no tokens, or a failing backend.
    fn logits(&mut self, params: &[f32], tokens: &[Token]) -> Result<Vec<f32>, ReplicaError>;

    /// The numeric class: two replicas with equal names give equal bits, so one may audit the other.
    fn class(&self) -> String;

    /// What it computes on, in words.
    fn device(&self) -> String;
}
