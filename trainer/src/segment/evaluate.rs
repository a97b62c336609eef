//! How good a model is on text it was never trained on.

use core::ops::Range;

use crate::data::{Corpus, validation_batch};
use crate::model::{Replica, ReplicaError};

/// Mean cross-entropy in nats per byte over the fixed validation batches numbered `batches`, each of `batch_size` sequences of
/// `context` bytes.
///
/// The same parameters give the same number on every peer of one numeric class; no batches give NaN.
///
/// # Errors
/// A buffer or batch that does not fit the model, or a failing backend.
pub fn validation_loss(
    replica: &mut dyn Replica,
    corpus: &Corpus,
    params: &[f32],
    batches: Range<u32>,
    batch_size: usize,
    context: usize,
) -> Result<f64, ReplicaError> {
    let (mut sum, count) = (0.0, batches.len());
    for index in batches {
        sum += f64::from(replica.loss(params, &validation_batch(corpus, index, batch_size, context))?);
    }
    Ok(sum / count as f64)
}
