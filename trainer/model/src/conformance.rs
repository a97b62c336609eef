//! Conformance of training as a whole: a hundred steps of a small model, whose every bit is stated.
//!
//! The vectors of `murmur_kernels` look at one operation at a time; this is what a peer does with them, in the order it does it:
//! parameters from the fixed-point state, twenty clipped steps by one of the optimizers, the difference compressed and folded into the
//! state, five times. The text is a chain of bytes that follows from the seed.

use murmur_kernels::exact::conformance::conformance as vectors;
use murmur_kernels::exact::{Muon, MuonMatrix, MuonStep, Pool, random::uniform};
use murmur_kernels::{
    AdamW, Direction, Optimizer, TopK, Weight, adamw, compress, fold, from_f32, global_norm, state_root, to_f32,
};

use crate::architecture::Architecture;
use crate::gpt::{ExactReplica, Gpt};
use crate::replica::{Batch, Replica};

/// The hash of the vectors and of each optimizer's training run from the first of [`SEEDS`], in hexadecimal.
pub const EXPECTED: &str = "788e3a6d88199eabb71f07baf9832e0bdf60fb706f95004b6b8de20c9eeaa8e6";

/// The seeds of the training runs.
pub const SEEDS: [u64; 3] = [1, 2, 3];

/// The hash of the training run by each of [`Optimizer::ALL`] from each seed, in hexadecimal.
pub const EXPECTED_TRAINING: [[&str; 3]; 2] = [
    [
        "137bc15431af964bfe1d5e0a54014a0e0c6fad56de59dabc07dd1544dc13d9af",
        "b2471b51c8d3067a2b4bccafd223d18ce2c779efa3c8f86438faf408a5c9d49d",
        "841be53ce214c3b91260f9ec3257e1f80fb68e8ba21362670b6bb892367a875a",
    ],
    [
        "2016616655ef530c1b8239be7912b9840f189bf0f4378909ed1a302e18defb55",
        "4254af213135138bd6966ba1368e6e9f4120e6d1a2124447a965b1647f6f42ee",
        "db962d91e166bf3f79f458d9d6a0ba89b67e4fffc03ceef2c1c66e4d2512a4e0",
    ],
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
const ADAMW: AdamW = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };
const MUON: MuonStep = MuonStep { lr: 2e-2, momentum: 0.95, decay: 1e-3, scale: 1.0 };

/// What a training run gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Mean loss of each step, in nats per byte.
    pub losses: Vec<f32>,
    /// Root of the state after each segment.
    pub roots: Vec<[u8; 32]>,
}

impl Training {
    /// Trains [`STEPS`] steps by this optimizer on a text that follows from `seed`.
    ///
    /// # Panics
    /// If a step of finite numbers gives one that is not, which is no longer arithmetic; or the system refuses threads.
    pub fn run(pool: Pool, optimizer: Optimizer, seed: u64) -> Self {
        let mut trainee = Trainee::new(pool, optimizer, seed);
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

/// One hash over the training runs by all of [`Optimizer::ALL`], in hexadecimal.
pub fn training_hash(runs: &[Training]) -> String {
    let mut all = blake3::Hasher::new_derive_key("murmuration training conformance of all optimizers v1");
    for run in runs {
        all.update(run.hash().as_bytes());
    }
    all.finalize().to_hex().to_string()
}

/// The one hash over all vectors, computed in `pool`, and the training runs by all of [`Optimizer::ALL`] from the first of [`SEEDS`], in
/// hexadecimal: equal to [`EXPECTED`] on every machine that has the profile.
pub fn conformance(pool: &Pool, first: &[Training]) -> String {
    let mut all = blake3::Hasher::new_derive_key("murmuration conformance v2");
    all.update(vectors(pool).as_bytes()).update(training_hash(first).as_bytes());
    all.finalize().to_hex().to_string()
}

struct Trainee {
    replica: ExactReplica,
    optimizer: Optimizer,
    muon: (Muon, Pool),
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
    fn new(pool: Pool, optimizer: Optimizer, seed: u64) -> Self {
        let muon = (Muon::default(), Pool::new(pool.level(), pool.threads()).expect("threads for the optimizer"));
        let replica = ExactReplica::new(CONFIG, pool).expect("the shape is possible");
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let state = from_f32(&CONFIG.initial_params(&key)).expect("initial parameters are finite");
        let zeros = vec![0.0; state.len()];
        let (grad, m, v, residual) = (zeros.clone(), zeros.clone(), zeros.clone(), zeros.clone());
        Self { replica, optimizer, muon, seed, state, params: zeros, grad, m, v, residual, steps: 0 }
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
        self.optimize(scale);
        loss.expect("the batch fits the model")
    }

    fn optimize(&mut self, scale: f32) {
        let (muon, pool) = &mut self.muon;
        for entry in self.replica.layout().entries() {
            let run = entry.range();
            let (params, grads) = (&mut self.params[run.clone()], &self.grad[run.clone()]);
            let (momentum, v) = (&mut self.m[run.clone()], &mut self.v[run]);
            if self.optimizer == Optimizer::Muon && entry.role.is_hidden_matrix() {
                let matrix = MuonMatrix { shape: [entry.shape[0], entry.shape[1]], params, momentum, grads };
                muon.step(pool, &MuonStep { scale, ..MUON }, &mut [matrix]).expect("a matrix of the layout");
            } else {
                let decays = self.optimizer == Optimizer::AdamW && entry.role.decays();
                let weight_decay = if decays { ADAMW.weight_decay } else { 0.0 };
                adamw(&AdamW { weight_decay, ..ADAMW }, self.steps, params, grads, momentum, v, scale);
            }
        }
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
