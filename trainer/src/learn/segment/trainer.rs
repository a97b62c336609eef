//! What segments are computed with.

use murmur_kernels::exact::Pool;
use murmur_kernels::{self as kernels, CarryShape};

use super::optimizer::Optimizer;
use crate::learn::{data::Corpus, model::Replica};

/// A model, its optimizer and the text. None of them remembers anything from one segment to the next.
pub struct Trainer {
    /// The model.
    pub replica: Box<dyn Replica + Send>,
    /// The optimizer, for this model.
    pub optimizer: Optimizer,
    /// The text.
    pub corpus: Corpus,
}

impl Trainer {
    /// A trainer of `replica` by the optimizer called `which`, whose own products are computed in `pool`.
    pub fn new(replica: Box<dyn Replica + Send>, which: kernels::Optimizer, pool: Pool, corpus: Corpus) -> Self {
        let optimizer = Optimizer::new(which, replica.layout(), pool);
        Self { replica, optimizer, corpus }
    }

    /// Shape of the carries it continues and leaves.
    pub fn carry_shape(&self) -> CarryShape {
        self.optimizer.carry_shape()
    }
}
