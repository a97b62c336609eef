//! How much memory a peer takes, from the buffers that the code makes. Checked against real peers in `experiments/memory`.

use crate::{config::Settings, manifest::Manifest, model::ModelConfig, numeric::Numeric};

/// Bytes of a peer for each parameter: the state and θ₀ in 64-bit integers, two rebuilt states, parameters, start, gradient,
/// the optimizer's moments and the residual in floats, and the last sealed carries.
const BYTES_PER_PARAMETER: u64 = 56;

/// Floats kept of each token and unit of width in a block, for the backward pass.
const BLOCK_FLOATS: u64 = 16;

/// The same outside the blocks.
const OUTER_FLOATS: u64 = 12;

/// The class profile keeps more of each operation: so many quarters of what the exact one keeps.
const CLASS_QUARTERS: u64 = 5;

/// Program, network, log and what else does not grow with the model.
const BASE_BYTES: u64 = 48 << 20;

/// Times the text is held while it is read: the files, and the two parts made of them.
const TEXT_COPIES: u64 = 2;

/// Address space beside the memory that is used: mapped files and what the allocator reserves for each thread.
const SPACE_BASE_BYTES: u64 = 128 << 20;
const SPACE_PER_THREAD_BYTES: u64 = 66 << 20;

/// Threads of a peer beside those that compute.
const OTHER_THREADS: u64 = 6;

/// What memory depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The model.
    pub model: ModelConfig,
    /// Sequences of an inner step.
    pub batch: u64,
    /// Whose kernels compute.
    pub numeric: Numeric,
    /// Bytes of text; 0 before it was read.
    pub text: u64,
    /// Threads that compute, of one peer.
    pub threads: u64,
}

/// Bytes of memory, by what they are for. Sums stay at the largest number rather than overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// State, parameters, gradient, optimizer, residual.
    pub model: u64,
    /// What the forward pass keeps for the backward pass.
    pub batch: u64,
    /// The text.
    pub text: u64,
    /// All else.
    pub base: u64,
    threads: u64,
}

impl Shape {
    /// Of a run with these settings, whose peers compute with `threads` threads each.
    pub fn of_settings(settings: &Settings, text: u64, threads: usize) -> Self {
        let model = ModelConfig {
            layers: settings.model.layers,
            heads: settings.model.heads,
            d_model: settings.model.d_model,
            context: settings.model.context,
        };
        let (batch, threads) = (settings.train.batch as u64, threads as u64);
        Self { model, batch, numeric: settings.numeric, text, threads }
    }

    /// Of a run that others started.
    pub fn of_manifest(manifest: &Manifest, text: u64, threads: usize) -> Self {
        let numeric = manifest.numeric().unwrap_or(Numeric::Exact);
        let batch = u64::from(manifest.inner.batch);
        Self { model: manifest.model(), batch, numeric, text, threads: threads as u64 }
    }

    /// What one peer needs.
    pub fn need(&self) -> Need {
        let ModelConfig { layers, d_model, context, heads } = self.model;
        let [layers, width, context, heads] = [layers, d_model, context, heads].map(|number| number as u64);
        let vocabulary = self.model.vocab() as u64;
        let rows = self.batch.saturating_mul(context);
        let of_token = layers * BLOCK_FLOATS * width + OUTER_FLOATS * width + vocabulary + heads;
        let quarters = if self.numeric == Numeric::Class { CLASS_QUARTERS } else { 4 };
        Need {
            model: (self.model.params() as u64).saturating_mul(BYTES_PER_PARAMETER),
            // Four bytes a float, four quarters the whole.
            batch: rows.saturating_mul(of_token).saturating_mul(quarters),
            text: self.text.saturating_mul(TEXT_COPIES),
            base: BASE_BYTES,
            threads: self.threads,
        }
    }
}

impl Need {
    /// Memory of one peer.
    pub fn total(&self) -> u64 {
        [self.model, self.batch, self.text, self.base].into_iter().fold(0, u64::saturating_add)
    }

    /// Address space of one peer.
    pub fn address_space(&self) -> u64 {
        let threads = self.threads.saturating_add(OTHER_THREADS).saturating_mul(SPACE_PER_THREAD_BYTES);
        self.total().saturating_add(threads).saturating_add(SPACE_BASE_BYTES)
    }

    /// What takes most, in words, and the settings that make it smaller, if any do.
    pub(super) fn largest(&self) -> (&'static str, Option<&'static str>) {
        let mut items = [
            (self.model, "the model and its optimizer", Some("model.d_model and model.layers")),
            (self.batch, "a batch", Some("train.batch and model.context")),
            (self.text, "the text", Some("the text given with --data")),
            (self.base, "the program itself", None),
        ];
        items.sort_by_key(|(bytes, ..)| core::cmp::Reverse(*bytes));
        let [(_, what, settings), ..] = items;
        (what, settings)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn shape() -> Shape {
        Shape { model: ModelConfig::default(), batch: 2, numeric: Numeric::Exact, text: 0, threads: 1 }
    }

    #[test]
    fn a_batch_counts_by_tokens_and_layers() {
        let one = shape().need().batch;
        assert_eq!(Shape { batch: 20, ..shape() }.need().batch, 10 * one);
        assert!(Shape { numeric: Numeric::Class, ..shape() }.need().batch > one);
        assert_eq!(shape().need().largest(), ("the program itself", None));
        assert_eq!(
            Shape { batch: 4096, ..shape() }.need().largest(),
            ("a batch", Some("train.batch and model.context"))
        );
    }

    #[test]
    fn the_largest_shapes_do_not_overflow() {
        let model = ModelConfig { layers: 64, heads: 64, d_model: 4096, context: 4096 };
        let shape = Shape { model, batch: u64::MAX, text: u64::MAX, threads: u64::MAX, ..shape() };
        assert_eq!(shape.need().address_space(), u64::MAX);
    }
}
