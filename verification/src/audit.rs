//! The life of an audit.
//!
//! Updates of an author between two commitments to its private state form a span, which is audited as a whole; every verdict
//! names the span's first update.
//!
//! 1. The first update of a span joins the set, or a verdict disputes one: the [`Auditor`] of each peer holds a lottery on that
//!    update by [`draw`]. Nobody else knows who is drawn, so the author cannot choose what to do next by it.
//! 2. Once the span has ended, a peer that is drawn obtains the author's sealed carry, of at most [`carry_bytes_max`] bytes, unless
//!    the author started fresh. The author keeps its newest carries for that.
//! 3. The auditor replays the segments from the [`AuditJob`], one after the other, and its verdict is published with the draw.
//! 4. Everyone checks the draw by [`check_verdict`]. Which verdicts count, and what becomes void by them, is decided by
//!    `murmur_collectives::Fold`, because weights depend on it.

mod auditor;
mod verdict;

pub use auditor::{AuditJob, Auditor, Config, Context, Input, Output, UpdateName};
pub use verdict::{VerdictError, check_verdict, draw};

/// The longest sealed carry that an auditor accepts from an author, in bytes, of a model of `parameters` parameters.
/// Sealing takes about three bytes a parameter; the rest is room for headers, so that small models fit, too.
pub fn carry_bytes_max(parameters: u64) -> u64 {
    4 * parameters + 4096
}

#[cfg(test)]
mod tests {
    use murmur_kernels::CarryShape;

    use super::carry_bytes_max;

    #[test]
    fn a_sealed_carry_is_accepted_whatever_the_size_of_the_model() {
        for parameters in [0, 1, 4095, 4096, 4097, 100_000] {
            let sealed = CarryShape::adamw(parameters).sealed_bytes() as u64;
            assert!(sealed <= carry_bytes_max(parameters as u64), "{sealed} bytes of {parameters} parameters");
        }
    }
}
