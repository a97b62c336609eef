//! A GPT's dimensions in a manifest.

use rkyv::{Archive, Deserialize, Serialize};

use super::Gpt;

/// The dimensions as a manifest holds them.
#[derive(Archive, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    layers: u32,
    heads: u32,
    d_model: u32,
    context: u32,
}

impl Section {
    pub(crate) fn of(gpt: &Gpt) -> Self {
        let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let Gpt { layers, heads, d_model, context } = *gpt;
        Self { layers: small(layers), heads: small(heads), d_model: small(d_model), context: small(context) }
    }

    pub(crate) fn config(self) -> Gpt {
        Gpt {
            layers: self.layers as usize,
            heads: self.heads as usize,
            d_model: self.d_model as usize,
            context: self.context as usize,
        }
    }
}
