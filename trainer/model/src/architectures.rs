//! Which architecture a model has, and its dimensions: the list to which an architecture is added, with a folder beside `gpt`.

pub mod gpt;

use core::ops::Deref;

use rkyv::{Archive, Deserialize as Unarchive, Serialize as Archived};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::architecture::{Architecture, Family};
use gpt::Gpt;

/// Every architecture there is; the first is the default.
pub static FAMILIES: [&Family; 1] = [&gpt::FAMILY];

/// A model's architecture and dimensions. It is used as its [`Architecture`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelConfig {
    /// GPT-2's architecture over bytes.
    Gpt(Gpt),
}

impl Deref for ModelConfig {
    type Target = dyn Architecture;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Gpt(gpt) => gpt,
        }
    }
}

impl From<Gpt> for ModelConfig {
    fn from(gpt: Gpt) -> Self {
        Self::Gpt(gpt)
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Gpt::default().into()
    }
}

/// As the metadata of a checkpoint: the dimensions by name. A GPT's name no architecture; those of a second one will.
impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Gpt(gpt) => gpt.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Gpt::deserialize(deserializer).map(Self::Gpt)
    }
}

/// What a manifest says of its model.
///
/// Manifests of format 3 have GPTs only, so the section names no architecture. With a second one it becomes an enum, and the
/// manifest's format another.
#[derive(Archive, Archived, Unarchive, Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section(gpt::Section);

impl Section {
    /// The section of this model.
    pub fn of(model: &ModelConfig) -> Self {
        match model {
            ModelConfig::Gpt(gpt) => Self(gpt::Section::of(gpt)),
        }
    }

    /// The model, unchecked.
    pub fn config(self) -> ModelConfig {
        self.0.config().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_s_defaults_are_a_model_that_can_be() {
        for family in FAMILIES {
            let sizes: Vec<usize> = family.dimensions.iter().filter_map(|known| known.default.parse().ok()).collect();
            let model = (family.of_sizes)(&sizes);
            assert_eq!((model.family().name, model.sizes()), (family.name, sizes));
            assert_eq!(model.check(), Ok(()));
            assert_eq!(Section::of(&model).config(), model);
        }
    }

    #[test]
    fn the_first_family_s_defaults_are_the_default_model() {
        let default = ModelConfig::default();
        let said = default.sizes().iter().map(usize::to_string).collect::<Vec<_>>();
        assert_eq!(FAMILIES[0].name, default.family().name);
        assert_eq!(FAMILIES[0].dimensions.iter().map(|known| known.default).collect::<Vec<_>>(), said);
    }
}
