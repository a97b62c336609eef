//! Simulated training: a segment takes virtual time and yields a random pseudo-gradient, compressed by the real codec.
//!
//! Its trace is the digest of the segment number and the starting parameters. An audit therefore works as in a real
//! run: the auditor rebuilds the parameters at the update's base from its own log and compares digests. A log that
//! yields other parameters for an old version vector would accuse an honest author, and the `innocence` invariant would
//! report it.

use std::sync::Arc;

use murmur_collectives::{Hash, VersionVector};
use murmur_coordinatorless::{AuditJob, Draft, Snapshot};
use murmur_kernels::{TopK, blob_root, compress};

use crate::rng::SeededRng;

/// A segment in progress.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    base: VersionVector,
    epoch: u32,
    frontier: Hash,
    number: u32,
    trace: Hash,
    carry_before: Hash,
}

impl Segment {
    /// Begins a segment from the peer's current state.
    pub(crate) fn begin(snapshot: &Snapshot) -> Self {
        Self {
            base: snapshot.base.clone(),
            epoch: snapshot.epoch,
            frontier: snapshot.frontier,
            number: snapshot.segment,
            trace: trace_of(snapshot.segment, &snapshot.parameters),
            carry_before: snapshot.carry.as_ref().map_or(Hash::NONE, |(root, _)| *root),
        }
    }

    /// Ends the segment. An attacker that skips the work has no trace, so it invents one.
    pub(crate) fn finish(self, top: TopK, parameters: usize, steps: u32, honest: bool, rng: &mut SeededRng) -> Draft {
        let trace = if honest { self.trace } else { Hash(rng.bytes(32).try_into().unwrap_or([1; 32])) };
        Draft {
            views: vec![(0, self.base)],
            epoch: self.epoch,
            frontier: self.frontier,
            segment: self.number,
            steps,
            top,
            payload: payload(top, parameters, rng),
            loss_micronats: 1,
            trace,
            carry_before: self.carry_before,
            carry: Some(rng.bytes(parameters.min(40_000) * 3).into()),
        }
    }
}

/// Replays an update: whether it passes, and the digest of the replay.
pub(crate) fn replay(job: &AuditJob) -> (bool, Hash) {
    let Some(update) = job.span.first().and_then(|entry| entry.update()) else { return (false, Hash::NONE) };
    let ours = trace_of(update.segment, &job.start.parameters());
    let carry = job.carry.as_ref().map_or(Hash::NONE, |bytes| Hash(blob_root(bytes)));
    (update.trace == ours && update.carry_before == carry, ours)
}

fn trace_of(segment: u32, parameters: &[f32]) -> Hash {
    let parameters = parameters.iter().flat_map(|value| value.to_le_bytes());
    let bytes: Vec<u8> = segment.to_le_bytes().into_iter().chain(parameters).collect();
    Hash::of("murmuration simulated trace v1", &bytes)
}

fn payload(top: TopK, parameters: usize, rng: &mut SeededRng) -> Arc<[u8]> {
    let noise = rng.bytes(parameters);
    let end: Vec<f32> = noise.iter().map(|byte| f32::from(*byte) * 1e-5).collect();
    let (start, mut residual, mut payload) = (vec![0.0; parameters], vec![0.0; parameters], Vec::new());
    compress(top, 0.9, &start, &end, &mut residual, &mut payload).expect("the invented gradient is finite");
    payload.into()
}
