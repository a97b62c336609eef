//! A few seconds of a peer's work, as many peers at once as the machine is to run: a peer alone would have the memory and the
//! caches to itself.

use std::{
    hint::black_box,
    sync::Barrier,
    time::{Duration, Instant},
};

use murmur_kernels::{
    AdamW, Carry, Direction, TopK, Weight, blob_root, compress, fold, from_f32, global_norm, to_f32, validate,
};
use murmur_model::Batch;

use super::Peers;
use crate::{
    config::Settings,
    error::{Exit, Failure},
    learn::{
        model::Replica,
        numeric::exact_pool,
        segment::{Optimizer, Rates},
    },
};

/// How long peers work, beside their first segment, which asks for memory.
const WHILE: Duration = Duration::from_secs(3);

/// Work of a segment that is not imitated, as a part of what is: packets and their encryption, the log and its files, reports, the
/// loss on held-out text now and then. Measured against real runs (`experiments/estimate`).
const BESIDE: f64 = 0.05;

/// What one peer does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Tokens that one peer trains on in a second, all its work in a segment included.
    pub tokens_per_second: f64,
    /// The part of that time that goes into forward, backward and optimizer.
    pub step_share: f64,
    /// How long it was measured.
    pub seconds: f64,
}

/// Measures, with all peers of this machine at work, each on `threads` threads.
///
/// # Errors
/// [`Exit::Device`] when this machine refuses threads or does not compute the profile.
pub fn measure(settings: &Settings, peers: Peers, threads: usize) -> Result<Speed, Failure> {
    let local = (0..peers.local.max(1)).map(|_| Imitation::new(settings, peers, threads));
    let local = local.collect::<Result<Vec<_>, Failure>>()?;
    let gate = Barrier::new(local.len());
    let done: Vec<Result<Done, Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = local.into_iter().map(|peer| scope.spawn(|| peer.work(&gate))).collect();
        let crashed = |_| Err(Failure::new(Exit::Bug, "a thread that measured crashed"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect()
    });
    let done = done.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    let count = done.len() as f64;
    let sum = |part: fn(&Done) -> f64| done.iter().map(part).sum::<f64>();
    let tokens_per_second = sum(|done| done.tokens / done.seconds) / count / (1.0 + BESIDE);
    let step_share = sum(|done| done.stepping / done.seconds) / count / (1.0 + BESIDE);
    Ok(Speed { tokens_per_second, step_share, seconds: sum(|done| done.seconds) / count })
}

/// What one imitated peer did.
#[derive(Clone, Copy)]
struct Done {
    tokens: f64,
    seconds: f64,
    /// Of the seconds, those in inner steps.
    stepping: f64,
}

/// A peer without a network: what it computes is of the right size and means nothing.
struct Imitation {
    replica: Box<dyn Replica + Send>,
    optimizer: Optimizer,
    rates: Rates,
    batch: Batch,
    params: Vec<f32>,
    grad: Vec<f32>,
    carry: Carry,
    state: Vec<i64>,
    top: TopK,
    decay: f32,
    /// Inner steps of a segment; updates of others that arrive in one; segments of a span.
    steps: u64,
    arriving: usize,
    span: u64,
}

impl Imitation {
    fn new(settings: &Settings, peers: Peers, threads: usize) -> Result<Self, Failure> {
        let (config, train) = (settings.model, &settings.train);
        let params = config.initial_params(&[0; 32]);
        let replica = settings.numeric.replica(config, threads)?;
        let optimizer = Optimizer::new(train.optimizer, replica.layout(), exact_pool(threads)?);
        let (size, context) = (train.batch, config.context());
        let bytes: Vec<u8> = (0..=(size * context) as u64).map(|i| (i * i + 7 * i) as u8).collect();
        // Too small to go anywhere, so that all numbers stay of their kind.
        let rates = train.rates();
        let rates = Rates { adamw: AdamW { lr: 1e-6, ..rates.adamw }, muon_lr: 1e-6, ..rates };
        Ok(Self {
            carry: Carry::fresh(optimizer.carry_shape()),
            replica,
            optimizer,
            rates,
            batch: Batch::in_a_row(size, context, &bytes),
            grad: vec![0.0; params.len()],
            state: vec![0; params.len()],
            params,
            top: TopK::new(settings.compress.top_max).expect("the table of settings has only densities that there are"),
            decay: settings.compress.beta as f32,
            steps: train.steps,
            arriving: peers.swarm.saturating_sub(1),
            span: settings.audit.span.into(),
        })
    }

    /// All peers begin together, after a step that asks for memory.
    fn work(mut self, gate: &Barrier) -> Result<Done, Failure> {
        let warm = self.step();
        gate.wait();
        warm?;
        let mut payload = self.first_payload()?;
        let (begun, mut stepping, mut segments) = (Instant::now(), Duration::ZERO, 0);
        while segments == 0 || begun.elapsed() < WHILE {
            segments += 1;
            stepping += self.segment(segments, &mut payload)?;
        }
        let tokens = (segments * self.steps) as f64 * self.batch.tokens() as f64;
        Ok(Done { tokens, seconds: begun.elapsed().as_secs_f64(), stepping: stepping.as_secs_f64() })
    }

    /// What a peer does from one snapshot to the next; how long its inner steps took. `payload` is what others send, and then its
    /// own.
    fn segment(&mut self, number: u64, payload: &mut Vec<u8>) -> Result<Duration, Failure> {
        let mut start = self.params.clone();
        let mut stepping = Duration::ZERO;
        for step in 0..self.steps {
            stepping += self.step()?;
            let (last, middle) = (step + 1 == self.steps, step + 1 == self.steps.div_ceil(2));
            let (arriving, steps) = (self.arriving as u64, self.steps);
            let due = |step: u64| arriving * step / steps;
            for _ in due(step)..due(step + 1) {
                self.take(payload)?;
            }
            if !last && due(step) < due(step + 1) {
                start = self.merge(&start);
            }
            if last || middle {
                black_box(digest(&[&self.params, &self.carry.m, &self.carry.v]));
            }
        }
        payload.clear();
        compress(self.top, self.decay, &start, &self.params, &mut self.carry.residual, payload).map_err(bug)?;
        self.take(payload)?;
        if number.is_multiple_of(self.span) {
            let sealed = self.carry.seal();
            black_box(blob_root(&sealed));
            self.carry = Carry::unseal(self.carry.shape(), &sealed).map_err(bug)?;
        }
        to_f32(&self.state, &mut self.params);
        Ok(stepping)
    }

    fn step(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let Self { replica, optimizer, rates, batch, params, grad, carry, .. } = self;
        replica.loss_and_grad(params, batch, grad)?;
        let scale = 1.0 / global_norm(grad).max(1.0);
        optimizer.step(rates, carry, params, grad, scale);
        Ok(begun.elapsed())
    }

    /// Checks an update and folds it.
    fn take(&mut self, payload: &[u8]) -> Result<(), Failure> {
        validate(self.top, self.params.len(), payload).map_err(bug)?;
        fold(self.top, payload, Weight::ONE, Direction::Add, &mut self.state).map(drop).map_err(bug)
    }

    /// Moves the running parameters by what was folded; what the difference is taken from now.
    fn merge(&mut self, start: &[f32]) -> Vec<f32> {
        let mut merged = vec![0.0; self.params.len()];
        to_f32(&self.state, &mut merged);
        for ((running, start), merged) in self.params.iter_mut().zip(start).zip(&merged) {
            *running += merged - start;
        }
        merged
    }

    /// Of a gradient, whose large numbers lie where those of a difference do.
    fn first_payload(&mut self) -> Result<Vec<u8>, Failure> {
        let tiny: Vec<f32> = self.grad.iter().map(|slope| 1e-6 * slope).collect();
        let (mut residual, mut payload) = (vec![0.0; tiny.len()], Vec::new());
        compress(self.top, 0.0, &vec![0.0; tiny.len()], &tiny, &mut residual, &mut payload).map_err(bug)?;
        self.state = from_f32(&self.params).map_err(bug)?;
        Ok(payload)
    }
}

fn bug(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Bug, "what was measured went wrong").because(error)
}

/// As a leaf of the trace has it.
fn digest(vectors: &[&[f32]]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for vector in vectors {
        hasher.update(bytemuck::cast_slice(vector));
    }
    hasher.finalize()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_imitation_stays_finite_and_does_all_parts_of_a_segment() {
        let sets = ["model.layers=1", "model.heads=2", "model.d_model=16", "model.context=16", "audit.span=1"];
        let settings = super::super::tests::settings(&sets);
        let mut peer = Imitation::new(&settings, Peers { swarm: 4, local: 1 }, 1).unwrap();
        peer.step().unwrap();
        let mut payload = peer.first_payload().unwrap();
        for number in 1..=3 {
            peer.segment(number, &mut payload).unwrap();
        }
        assert!(peer.params.iter().all(|value| value.is_finite()) && !payload.is_empty());
        assert_eq!(peer.carry.steps, 1 + 3 * settings.train.steps);
    }
}
