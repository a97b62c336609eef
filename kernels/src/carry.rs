//! What an author keeps between segments.

/// The private state after a segment: AdamW's moments and the error-feedback residual.
///
/// The author goes on from the *unsealed* carry, not from the one it had, so that an auditor who fetches the sealed bytes
/// replays the next segment bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Carry {
    /// Optimizer steps taken since the moments were last fresh.
    pub steps: u64,
    /// First moments. `[params]`
    pub m: Vec<f32>,
    /// Second moments, not negative. `[params]`
    pub v: Vec<f32>,
    /// What compression left out so far. `[params]`
    pub residual: Vec<f32>,
}

/// Why sealed bytes were refused. Whoever sealed them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// The length does not fit the number of parameters.
    #[error("sealed carry of {given} bytes: must be {expected}")]
    Length {
        /// Bytes it should have.
        expected: usize,
        /// Bytes it has.
        given: usize,
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
    /// The carry of an author that has done nothing: no steps, all zeros.
    pub fn fresh(params: usize) -> Self {
        Self { steps: 0, m: vec![0.0; params], v: vec![0.0; params], residual: vec![0.0; params] }
    }
}
