//! Conformance of training as a whole: a hundred steps of a small model, whose every bit is stated.
//!
//! The vectors of `murmur_kernels` look at one operation at a time; this is what a peer does with them, in the order it does it:
//! parameters from the fixed-point state, twenty steps of clipped AdamW, the difference compressed and folded into the state,
//! five times. The text is a chain of bytes that follows from the seed.

use murmur_kernels::exact::conformance::conformance as vectors;
use murmur_kernels::exact::{Pool, random::uniform};
use murmur_kernels::{
    AdamW, Direction, TopK, Weight, adamw, compress, fold, from_f32, global_norm, state_root, to_f32,
};

use crate::architecture::Architecture;
use crate::gpt::{ExactReplica, Gpt};
use crate::replica::{Batch, Replica};

/// The hash of the vectors and of the training run from the first of [`SEEDS`], in hexadecimal.
pub const EXPECTED: &str = "5f0b0b535965f2bf52bb7f10d94e1164b7353a74679ccf1db8caaf1274483525";

/// The seeds of the training runs.
pub const SEEDS: [u64; 3] = [1, 2, 3];

/// The hash of the training run from each seed, in hexadecimal.
pub const EXPECTED_TRAINING: [&str; 3] = [
    "137bc15431af964bfe1d5e0a54014a0e0c6fad56de59dabc07dd1544dc13d9af",
    "b2471b51c8d3067a2b4bccafd223d18ce2c779efa3c8f86438faf408a5c9d49d",
    "841be53ce214c3b91260f9ec3257e1f80fb68e8ba21362670b6bb892367a875a",
];

/// Steps of a training run.
pub const STEPS: usize = 100;

/// Widths that are no multiples of a vector, and more rows than one group of 64, so that threads share them.
const CONFIG: Gpt = Gpt { layers: 2, heads: 2, d_model: 20, context: 20 };
const SEQUENCES: usize = 4;
const SEGMENT: usize = 20;
const TOP: u16 = 256;
const FEEDBACK_DECAY: f32 = 0.95;
const CLIP_NORM: f32 = 1.0;
const OPTIMIZER: AdamW = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

/// What a training run gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Mean loss of each step, in nats per byte.
    pub losses: Vec<f32>,
    /// Root of the state after each segment.
    pub roots: Vec<[u8; 32]>,
}

impl Training {
    /// Trains [`STEPS`] steps on a text that follows from `seed`.
    ///
    /// # Panics
    /// If a step of finite numbers gives one that is not, which is no longer arithmetic.
    pub fn run(pool: Pool, seed: u64) -> Self {
        let mut trainee = Trainee::new(pool, seed);
        let mut training = Self { losses: Vec::new(), roots: Vec::new() };
        for segment in 0..STEPS / SEGMENT {
            trainee.segment(segment, &mut training.losses);
            training.roots.push(state_root(&trainee.state));
        }
        training
    }

    /// One hash of all of it, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("murmuration training conformance v1");
        for loss in &self.losses {
            hasher.update(&loss.to_bits().to_le_bytes());
        }
        for root in &self.roots {
            hasher.update(root);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The one hash over all vectors, computed in `pool`, and the training run from the first of [`SEEDS`], in hexadecimal: equal
/// to [`EXPECTED`] on every machine that has the profile.
pub fn conformance(pool: &Pool, first: &Training) -> String {
    let mut all = blake3::Hasher::new_derive_key("murmuration conformance v1");
    all.update(vectors(pool).as_bytes()).update(first.hash().as_bytes());
    all.finalize().to_hex().to_string()
}

struct Trainee {
    replica: ExactReplica,
    seed: u64,
    state: Vec<i64>,
    params: Vec<f32>,
    grad: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
    residual: Vec<f32>,
    steps: u64,
}

impl Trainee {
    fn new(pool: Pool, seed: u64) -> Self {
        let replica = ExactReplica::new(CONFIG, pool).expect("the shape is possible");
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let state = from_f32(&CONFIG.initial_params(&key)).expect("initial parameters are finite");
        let zeros = vec![0.0; state.len()];
        let (grad, m, v, residual) = (zeros.clone(), zeros.clone(), zeros.clone(), zeros.clone());
        Self { replica, seed, state, params: zeros, grad, m, v, residual, steps: 0 }
    }

    fn segment(&mut self, index: usize, losses: &mut Vec<f32>) {
        to_f32(&self.state, &mut self.params);
        let start = self.params.clone();
        for step in 0..SEGMENT {
            losses.push(self.step(index * SEGMENT + step));
        }
        let (top, mut payload) = (TopK::new(TOP).expect("between 16 and 4096"), Vec::new());
        let numbers = "a finite model has a finite difference";
        compress(top, FEEDBACK_DECAY, &start, &self.params, &mut self.residual, &mut payload).expect(numbers);
        fold(top, &payload, Weight::ONE, Direction::Add, &mut self.state).expect("an own payload is valid");
    }

    fn step(&mut self, index: usize) -> f32 {
        let loss = self.replica.loss_and_grad(&self.params, &batch(self.seed, index), &mut self.grad);
        let norm = global_norm(&self.grad);
        let scale = if norm > CLIP_NORM { CLIP_NORM / norm } else { 1.0 };
        self.steps += 1;
        for (run, decays) in self.replica.layout().decay_runs() {
            let weight_decay = if decays { OPTIMIZER.weight_decay } else { 0.0 };
            let (params, grad) = (&mut self.params[run.clone()], &self.grad[run.clone()]);
            let (m, v) = (&mut self.m[run.clone()], &mut self.v[run]);
            adamw(&AdamW { weight_decay, ..OPTIMIZER }, self.steps, params, grad, m, v, scale);
        }
        loss.expect("the batch fits the model")
    }
}

/// Bytes of which each is one of two that may follow the one before it.
fn batch(seed: u64, step: usize) -> Batch {
    let length = SEQUENCES * CONFIG.context;
    let mut draws = vec![0.0; length + 1];
    uniform(seed, (step * draws.len()) as u64, &mut draws);
    let mut byte = 0;
    let mut next = |draw: &f32| {
        byte = (byte * 5 + if *draw < 0.5 { 1 } else { 7 }) % 64;
        byte + 32
    };
    let text: Vec<u8> = draws.iter().map(&mut next).collect();
    Batch::in_a_row(SEQUENCES, CONFIG.context, &text)
}
