//! A training step under both numeric profiles, in turns: see `experiments/exact`.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p murmur --example profiles -- [turns [steps [sequences [context d_model layers
//! heads]]]]`; without a shape, the default run's. For each turn it prints what a step (forward, backward, AdamW) took by the
//! wall and by the processor's clock, first exact, then class, and at the end the medians and their ratio.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use murmur::learn::model::{Architecture, Batch, Replica, gpt::Gpt};
use murmur::learn::numeric::Numeric;
use murmur_kernels::{AdamW, adamw};

const OPTIMIZER: AdamW = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|word| word.parse().unwrap()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (turns, steps, sequences) = (number(0, 5), number(1, 20), number(2, 2));
    let default = Gpt::default();
    let config = Gpt {
        context: number(3, default.context),
        d_model: number(4, default.d_model),
        layers: number(5, default.layers),
        heads: number(6, default.heads),
    };
    let mut trainees = [Numeric::Exact, Numeric::Class].map(|numeric| Trainee::new(numeric, config, sequences));
    let mut times: [Vec<[f64; 2]>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..turns {
        for (trainee, times) in trainees.iter_mut().zip(&mut times) {
            times.push(trainee.turn(steps));
            let [wall, cpu] = times[times.len() - 1];
            println!("{:<28} {:7.2} ms by the wall, {:7.2} ms of processor", trainee.name, 1e3 * wall, 1e3 * cpu);
        }
    }
    let median = |times: &[[f64; 2]], which: usize| {
        let mut times: Vec<f64> = times.iter().map(|time| time[which]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    for (which, name) in ["wall", "processor"].into_iter().enumerate() {
        let [exact, class] = [0, 1].map(|profile: usize| 1e3 * median(&times[profile], which));
        println!("{name}: exact {exact:.2} ms, class {class:.2} ms, {:.2} times", class / exact);
    }
}

struct Trainee {
    name: String,
    replica: Box<dyn Replica + Send>,
    params: Vec<f32>,
    grad: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
    batch: Batch,
    steps: u64,
}

impl Trainee {
    fn new(numeric: Numeric, config: Gpt, sequences: usize) -> Self {
        let params = config.initial_params(&[0; 32]);
        let [grad, m, v] = [(); 3].map(|()| vec![0.0; params.len()]);
        let bytes: Vec<u8> = (0..=sequences * config.context).map(|i| (i * i + 7 * i) as u8).collect();
        let batch = Batch::in_a_row(sequences, config.context, &bytes);
        let replica = numeric.replica(config.into(), 1).unwrap();
        let mut trainee = Self { name: replica.class(), replica, params, grad, m, v, batch, steps: 0 };
        trainee.turn(2);
        trainee
    }

    /// Seconds of each of `steps` steps, by the wall and by the processor's clock.
    fn turn(&mut self, steps: usize) -> [f64; 2] {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        for _ in 0..steps {
            self.replica.loss_and_grad(&self.params, &self.batch, &mut self.grad).unwrap();
            self.steps += 1;
            adamw(&OPTIMIZER, self.steps, &mut self.params, &self.grad, &mut self.m, &mut self.v, 1.0);
        }
        [wall.elapsed().as_secs_f64(), cpu_seconds() - cpu].map(|seconds| seconds / steps as f64)
    }
}

/// What all threads have computed so far, to the hundredth; zero where the system does not say.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
