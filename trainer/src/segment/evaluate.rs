//! How good a model is on text it was never trained on.

use crate::data::{Corpus, validation_batch};
use crate::model::{Replica, ReplicaError};

/// Mean cross-entropy in nats per byte over `batches` fixed validation batches of `batch_size` sequences of `context` bytes.
///
/// The same parameters give the same number on every peer of one numeric class; 0 batches give NaN.
///
/// # Errors
/// A buffer or batch that does not fit the model, or a failing backend.
pub fn validation_loss(
    replica: &mut dyn Replica,
    corpus: &Corpus,
    params: &[f32],
    batches: u32,
    batch_size: usize,
    context: usize,
) -> Result<f64, ReplicaError> {
    let mut sum = 0.0;
    for index in 0..batches {
        sum += f64::from(replica.loss(params, &validation_batch(corpus, index, batch_size, context))?);
    }
    Ok(sum / f64::from(batches))
}
