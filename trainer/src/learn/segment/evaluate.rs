//! The loss of a model on text that it was not trained on.

use core::ops::Range;

use crate::learn::data::{Corpus, validation_batch};
use crate::learn::model::{Replica, ReplicaError};

/// Mean cross-entropy in nats per byte over the fixed validation batches numbered `batches`, each of `batch_size` sequences of
/// `context` bytes.
///
/// The same parameters give the same number on every peer of one numeric class; no batches give NaN. After each batch
/// `stop` is called with the batches done so far; `true` ends it there. Says how many batches the mean is of, too.
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
    stop: &dyn Fn(u32) -> bool,
) -> Result<(f64, u32), ReplicaError> {
    let (mut sum, mut done) = (0.0, 0);
    for index in batches {
        sum += f64::from(replica.loss(params, &validation_batch(corpus, index, batch_size, context))?);
        done += 1;
        if stop(done) {
            break;
        }
    }
    Ok((sum / f64::from(done), done))
}
