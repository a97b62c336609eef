//! The shape of the model, its limits, and what a token costs.

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::layout::Layout;

/// Tokens are bytes.
pub const VOCAB: usize = 256;

/// The shape of a byte-level GPT: pre-LayerNorm blocks, learned positions, GELU, an MLP four times as wide.
///
/// This is GPT-2's architecture with an untied head, so its tensors fit that family's tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Blocks, one attention and one MLP each; [`Self::LAYERS`].
    pub layers: usize,
    /// Attention heads; [`Self::HEADS`], must divide `d_model`. 32 to 64 values per head are usual.
    pub heads: usize,
    /// Width of the residual stream; [`Self::WIDTH`]. Parameters grow with its square.
    pub d_model: usize,
    /// Longest sequence in bytes; [`Self::CONTEXT`].
    pub context: usize,
}

impl Default for ModelConfig {
    /// 0.88 M parameters: what two CPU cores can teach something in five minutes.
    fn default() -> Self {
        Self { layers: 4, heads: 4, d_model: 128, context: 128 }
    }
}

/// A shape that no model can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelConfigError {
    /// A dimension is outside its range.
    #[error("model.{key} is {given}; allowed are {min} to {max}")]
    Range {
        /// Field name.
        key: &'static str,
        /// What was given.
        given: usize,
        /// Smallest allowed.
        min: usize,
        /// Largest allowed.
        max: usize,
    },
    /// Heads must share the width equally.
    #[error("model.heads is {heads}, which does not divide model.d_model = {d_model}")]
    Heads {
        /// Attention heads.
        heads: usize,
        /// Width.
        d_model: usize,
    },
}

impl ModelConfig {
    /// How many blocks there can be.
    pub const LAYERS: RangeInclusive<usize> = 1..=64;

    /// How many attention heads there can be.
    pub const HEADS: RangeInclusive<usize> = 1..=128;

    /// How wide the residual stream can be.
    pub const WIDTH: RangeInclusive<usize> = 8..=4096;

    /// How long a sequence can be, in bytes.
    pub const CONTEXT: RangeInclusive<usize> = 2..=4096;

    /// A model of 2,464 parameters for tests that must be quick.
    pub fn tiny() -> Self {
        Self { layers: 1, heads: 2, d_model: 8, context: 16 }
    }

    /// Checks every limit named on the fields.
    ///
    /// # Errors
    /// Names the first field out of range, what was given and what is allowed.
    pub fn check(&self) -> Result<(), ModelConfigError> {
        let range = |key, given, allowed: RangeInclusive<usize>| match allowed.contains(&given) {
            true => Ok(()),
            false => Err(ModelConfigError::Range { key, given, min: *allowed.start(), max: *allowed.end() }),
        };
        range("layers", self.layers, Self::LAYERS)?;
        range("heads", self.heads, Self::HEADS)?;
        range("d_model", self.d_model, Self::WIDTH)?;
        range("context", self.context, Self::CONTEXT)?;
        match self.d_model % self.heads {
            0 => Ok(()),
            _ => Err(ModelConfigError::Heads { heads: self.heads, d_model: self.d_model }),
        }
    }

    /// Size of the vocabulary: always 256.
    pub fn vocab(&self) -> usize {
        VOCAB
    }

    /// How many parameters the model has.
    pub fn params(&self) -> usize {
        Layout::of(self).params()
    }

    /// Model FLOPs to train on one token, forward and backward: `6·N + 12·layers·d_model·context`.
    ///
    /// `N` counts the parameters that multiply activations, so not the two embedding tables, which are looked up.
    /// The second term is attention over a full context, causal zeros included (PaLM, arXiv 2204.02311, appendix B).
    /// It is integer arithmetic, because credit is counted with it.
    pub fn flops_per_token(&self) -> u64 {
        let embeddings = (self.vocab() + self.context) * self.d_model;
        let multiplied = self.params() - embeddings;
        6 * multiplied as u64 + 12 * (self.layers * self.d_model * self.context) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_count_matches_the_closed_form() {
        let ModelConfig { layers, d_model: d, context, .. } = ModelConfig::default();
        let block = 12 * d * d + 13 * d;
        let expected = (VOCAB + context) * d + layers * block + 2 * d + d * VOCAB;
        assert_eq!(ModelConfig::default().params(), expected);
    }

    #[test]
    fn flops_follow_the_formula() {
        let config = ModelConfig::default();
        let multiplied = config.params() - 384 * 128;
        assert_eq!(config.flops_per_token(), 6 * multiplied as u64 + 12 * 4 * 128 * 128);
    }

    #[test]
    fn impossible_shapes_are_named() {
        let uneven = ModelConfig { heads: 3, ..ModelConfig::default() };
        assert_eq!(uneven.check(), Err(ModelConfigError::Heads { heads: 3, d_model: 128 }));
        let zero = ModelConfig { layers: 0, ..ModelConfig::default() };
        assert!(matches!(zero.check(), Err(ModelConfigError::Range { key: "layers", given: 0, .. })));
        assert_eq!(ModelConfig::default().check(), Ok(()));
    }
}
