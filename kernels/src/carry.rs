//! What an author keeps between segments.

/// Which optimizer a private state belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// [`adamw`](crate::adamw) for all parameters.
    AdamW,
    /// [`Muon`](crate::exact::Muon) for hidden matrices, [`adamw`](crate::adamw) for the rest.
    Muon,
}

impl Optimizer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AdamW, Self::Muon];

    /// Its name in settings and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Muon => "muon",
        }
    }

    /// What stands for it in sealed bytes.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::AdamW => 1,
            Self::Muon => 2,
        }
    }
}

impl core::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// The optimizer of a private state and the lengths of its vectors: what sealed bytes must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarryShape {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Parameters of the model.
    pub params: usize,
    /// Parameters that have a second moment: all under AdamW, under Muon those outside hidden matrices.
    pub second_moments: usize,
}

impl CarryShape {
    /// Bytes of a carry in memory, in floats.
    pub fn bytes(self) -> usize {
        size_of::<f32>() * (2 * self.params + self.second_moments)
    }

    /// The shape under AdamW for all parameters.
    pub fn adamw(params: usize) -> Self {
        Self { optimizer: Optimizer::AdamW, params, second_moments: params }
    }
}

/// The private state after a segment: the optimizer's moments and the error-feedback residual.
///
/// The author goes on from the *unsealed* carry, not from the one it had, so that an auditor who fetches the sealed bytes
/// replays the next segment bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    /// The optimizer that made the moments.
    pub optimizer: Optimizer,
    /// Optimizer steps taken since the moments were last fresh.
    pub steps: u64,
    /// First moments: those of AdamW, and the momentum of Muon. `[params]`
    pub m: Vec<f32>,
    /// Second moments, not negative, of the parameters that have one, in their order. `[second_moments]`
    pub v: Vec<f32>,
    /// What compression left out so far. `[params]`
    pub residual: Vec<f32>,
}

/// Why sealed bytes were refused. Whoever sealed them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// They belong to another optimizer.
    #[error("sealed carry of {given}: must be one of {expected}")]
    Optimizer {
        /// The optimizer of the run.
        expected: Optimizer,
        /// The name of the one that the bytes state, or `an unknown optimizer`.
        given: &'static str,
    },
    /// The length does not fit the number of parameters.
    #[error("sealed carry of {given} bytes: must be {expected}")]
    Length {
        /// Bytes it should have.
        expected: usize,
        /// Bytes it has.
        given: usize,
    },
    /// More steps than anybody takes; one more would not be a number any more.
    #[error("sealed carry of {given} steps: must be at most {max}", max = Carry::STEPS_MAX)]
    Steps {
        /// Steps it claims.
        given: u64,
    },
    /// A scale is negative, infinite or NaN.
    #[error("scale of chunk {chunk} is not a finite magnitude")]
    Scale {
        /// The chunk it belongs to.
        chunk: usize,
    },
    /// No carry seals to these bytes.
    #[error("chunk {chunk} is not in canonical form")]
    NotCanonical {
        /// The chunk it is in.
        chunk: usize,
    },
}

impl Carry {
    /// Optimizer steps that a sealed carry may claim, at most: a million a second for nine years.
    pub const STEPS_MAX: u64 = 1 << 48;

    /// The carry of an author that has done nothing: no steps, all zeros.
    pub fn fresh(shape: CarryShape) -> Self {
        let CarryShape { optimizer, params, second_moments } = shape;
        Self { optimizer, steps: 0, m: vec![0.0; params], v: vec![0.0; second_moments], residual: vec![0.0; params] }
    }

    /// Its optimizer and lengths.
    pub fn shape(&self) -> CarryShape {
        CarryShape { optimizer: self.optimizer, params: self.m.len(), second_moments: self.v.len() }
    }
}
