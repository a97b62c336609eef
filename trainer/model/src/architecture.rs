//! What everything else needs to know of a model, whatever its architecture: the seam at which models are added.
//!
//! An architecture is a folder of `architectures` with a configuration that implements [`Architecture`], its kernels behind a
//! [`Replica`], and a [`Family`]: the one table of its dimensions, which settings and checks both read. It has one variant in
//! [`ModelConfig`]. Nothing outside the folder knows its dimensions.

use core::ops::RangeInclusive;

use murmur_kernels::exact::Pool;
use thiserror::Error;

use crate::{architectures::ModelConfig, layout::Layout, replica::Replica, token::Vocabulary};

/// A model of known dimensions, before any parameter is computed.
pub trait Architecture {
    /// The architecture, with the limits of its dimensions.
    fn family(&self) -> &'static Family;

    /// How large each of [`Family::dimensions`] is.
    fn sizes(&self) -> Vec<usize>;

    /// Checks whether dimensions that are in range fit together.
    ///
    /// # Errors
    /// [`ModelConfigError::Misfit`].
    fn check_fit(&self) -> Result<(), ModelConfigError>;

    /// The tokens that it reads and predicts.
    fn vocabulary(&self) -> Vocabulary;

    /// The longest sequence it can read, tokens.
    fn context(&self) -> usize;

    /// Where each of its tensors lies in the flat vector of parameters.
    fn layout(&self) -> Layout;

    /// Parameters that follow from `seed` alone, in the order of the layout: the same bits on every machine.
    fn initial_params(&self, seed: &[u8; 32]) -> Vec<f32>;

    /// Model FLOPs to train on one token, forward and backward. In integers, because credit is counted with it.
    fn flops_per_token(&self) -> u64;

    /// Bytes of all buffers that [`Self::exact_replica`] holds after a step on `[sequences, positions]`; the largest number
    /// there is rather than an overflow.
    fn exact_step_bytes(&self, shape: [u64; 2]) -> u64;

    /// A replica that computes in the exact profile: the same bits on every machine.
    ///
    /// # Errors
    /// Impossible dimensions.
    fn exact_replica(&self, pool: Pool) -> Result<Box<dyn Replica + Send>, ModelConfigError>;

    /// Checks the limits of every dimension, and whether they fit together.
    ///
    /// # Errors
    /// Names the first dimension out of range, what was given and what is allowed.
    fn check(&self) -> Result<(), ModelConfigError> {
        let dimensions = self.family().dimensions.iter();
        dimensions.zip(self.sizes()).try_for_each(|(dimension, size)| dimension.check(size))?;
        self.check_fit()
    }

    /// How many parameters it has.
    fn params(&self) -> usize {
        self.layout().params()
    }
}

/// All models of one architecture: its name, and the table of its dimensions.
#[derive(Debug, Clone)]
pub struct Family {
    /// The word for it in settings.
    pub name: &'static str,
    /// Its dimensions, in the order in which settings list them.
    pub dimensions: &'static [Dimension],
    /// The model of these sizes, one for each dimension.
    pub of_sizes: fn(&[usize]) -> ModelConfig,
}

/// One dimension of an architecture: what a setting says and a check enforces.
#[derive(Debug, Clone)]
pub struct Dimension {
    /// The name of its setting.
    pub setting: &'static str,
    /// Smallest and largest allowed.
    pub range: RangeInclusive<usize>,
    /// What it is when nobody says, as one would write it.
    pub default: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// Whether the number of parameters grows with it.
    pub adds_params: bool,
    /// What it does and how to choose it.
    pub doc: &'static str,
}

impl Dimension {
    /// Whether `given` is allowed.
    ///
    /// # Errors
    /// [`ModelConfigError::Range`].
    pub fn check(&self, given: usize) -> Result<(), ModelConfigError> {
        let (min, max) = (*self.range.start(), *self.range.end());
        let error = ModelConfigError::Range { setting: self.setting, given, min, max };
        if self.range.contains(&given) { Ok(()) } else { Err(error) }
    }
}

/// Dimensions that no model can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelConfigError {
    /// A dimension is outside its range.
    #[error("{setting} is {given}; allowed are {min} to {max}")]
    Range {
        /// The dimension, by its setting.
        setting: &'static str,
        /// What was given.
        given: usize,
        /// Smallest allowed.
        min: usize,
        /// Largest allowed.
        max: usize,
    },
    /// Dimensions that do not fit together.
    #[error("{found}")]
    Misfit {
        /// What was given, in a sentence.
        found: String,
        /// What must hold, in a sentence.
        rule: &'static str,
        /// The settings involved.
        settings: &'static [&'static str],
    },
}
