//! The dimensions of a GPT, their limits, and what a token costs.

use murmur_kernels::exact::Pool;
use serde::{Deserialize, Serialize};

use super::{exact, exact::ExactReplica, layout::layout};
use crate::{
    architecture::{Architecture, Dimension, Family, ModelConfigError},
    architectures::ModelConfig,
    init::initial_params,
    layout::Layout,
    replica::Replica,
    token::Vocabulary,
};

/// A byte-level GPT: pre-LayerNorm blocks, learned positions, GELU, an MLP four times as wide.
///
/// This is GPT-2's architecture with an untied head, so its tensors fit that family's tools. The limits are in [`FAMILY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpt {
    /// Blocks, one attention and one MLP each.
    pub layers: usize,
    /// Attention heads; must divide `d_model`. 32 to 64 values per head are usual.
    pub heads: usize,
    /// Width of the residual stream. Parameters grow with its square.
    pub d_model: usize,
    /// Longest sequence in bytes.
    pub context: usize,
}

/// The GPT's name and limits.
pub static FAMILY: Family = Family { name: "gpt", dimensions: &DIMENSIONS, of_sizes };

static DIMENSIONS: [Dimension; 4] = [
    Dimension {
        setting: "model.layers",
        range: 1..=64,
        default: "4",
        unit: "blocks",
        adds_params: true,
        doc: "Depth of the transformer. More layers learn more per token and cost proportionally more time.",
    },
    Dimension {
        setting: "model.heads",
        range: 1..=128,
        default: "4",
        unit: "heads",
        adds_params: false,
        doc: "Attention heads per block. Must divide model.d_model; 32 to 64 numbers per head work well.",
    },
    Dimension {
        setting: "model.d_model",
        range: 8..=4096,
        default: "128",
        unit: "numbers",
        adds_params: true,
        doc: "Width of the model. Parameters grow with its square: 12 · layers · d_model².",
    },
    Dimension {
        setting: "model.context",
        range: 2..=4096,
        default: "128",
        unit: "bytes",
        adds_params: true,
        doc: "How far back the model looks. Longer text costs time and memory for attention, quadratically.",
    },
];

fn of_sizes(sizes: &[usize]) -> ModelConfig {
    let [layers, heads, d_model, context] = *sizes else { panic!("a GPT has four dimensions: {sizes:?}") };
    Gpt { layers, heads, d_model, context }.into()
}

impl Default for Gpt {
    /// 0.88 M parameters: what two CPU cores can teach something in five minutes.
    fn default() -> Self {
        Self { layers: 4, heads: 4, d_model: 128, context: 128 }
    }
}

impl Gpt {
    /// A model of 2,464 parameters for tests that must be quick.
    pub fn tiny() -> Self {
        Self { layers: 1, heads: 2, d_model: 8, context: 16 }
    }

    /// The layout with another size of the vocabulary: for comparisons with models that are not byte-level.
    pub fn layout_with_vocab(&self, vocab: usize) -> Layout {
        layout(self, vocab)
    }

    /// The initial parameters with another size of the vocabulary.
    pub fn initial_params_with_vocab(&self, vocab: usize, seed: &[u8; 32]) -> Vec<f32> {
        initial_params(&layout(self, vocab), 2 * self.layers, seed)
    }
}

impl Architecture for Gpt {
    fn family(&self) -> &'static Family {
        &FAMILY
    }

    fn sizes(&self) -> Vec<usize> {
        vec![self.layers, self.heads, self.d_model, self.context]
    }

    fn check_fit(&self) -> Result<(), ModelConfigError> {
        let Self { heads, d_model, .. } = *self;
        if d_model.is_multiple_of(heads) {
            return Ok(());
        }
        Err(ModelConfigError::Misfit {
            found: format!("model.heads is {heads}, which does not divide model.d_model = {d_model}"),
            rule: "model.d_model must be a multiple of model.heads",
            settings: &["model.d_model", "model.heads"],
        })
    }

    fn vocabulary(&self) -> Vocabulary {
        Vocabulary::Bytes
    }

    fn context(&self) -> usize {
        self.context
    }

    fn layout(&self) -> Layout {
        layout(self, self.vocabulary().size())
    }

    fn initial_params(&self, seed: &[u8; 32]) -> Vec<f32> {
        self.initial_params_with_vocab(self.vocabulary().size(), seed)
    }

    /// `6·N + 12·layers·d_model·context`.
    ///
    /// `N` counts the parameters that multiply activations, so not the two embedding tables, which are looked up.
    /// The second term is attention over a full context, causal zeros included (PaLM, arXiv 2204.02311, appendix B).
    fn flops_per_token(&self) -> u64 {
        let embeddings = (self.vocabulary().size() + self.context) * self.d_model;
        let multiplied = self.params() - embeddings;
        6 * multiplied as u64 + 12 * (self.layers * self.d_model * self.context) as u64
    }

    fn exact_step_bytes(&self, shape: [u64; 2]) -> u64 {
        exact::step_bytes(self, shape)
    }

    fn exact_replica(&self, pool: Pool) -> Result<Box<dyn Replica + Send>, ModelConfigError> {
        Ok(Box::new(ExactReplica::new(*self, pool)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_count_matches_the_closed_form() {
        let Gpt { layers, d_model: d, context, .. } = Gpt::default();
        let (block, vocab) = (12 * d * d + 13 * d, 256);
        let expected = (vocab + context) * d + layers * block + 2 * d + d * vocab;
        assert_eq!(Gpt::default().params(), expected);
    }

    #[test]
    fn flops_follow_the_formula() {
        let config = Gpt::default();
        let multiplied = config.params() - 384 * 128;
        assert_eq!(config.flops_per_token(), 6 * multiplied as u64 + 12 * 4 * 128 * 128);
    }

    #[test]
    fn impossible_shapes_are_named() {
        let said = |config: Gpt| config.check().map_err(|error| error.to_string());
        let uneven = said(Gpt { heads: 3, ..Gpt::default() });
        assert_eq!(uneven, Err("model.heads is 3, which does not divide model.d_model = 128".to_owned()));
        let none = said(Gpt { layers: 0, heads: 0, ..Gpt::default() });
        assert_eq!(none, Err("model.layers is 0; allowed are 1 to 64".to_owned()));
        assert_eq!(said(Gpt::default()), Ok(()));
    }
}
