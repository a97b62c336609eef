//! Training steps on request, for comparisons that take turns: see `experiments/pytorch`.
//!
//! Arguments: `vocab context d_model layers heads batch threads`. For each line on standard input, a number of steps, it
//! answers with the seconds each took by the wall and by all its threads' clocks, and the last loss. `MURMUR_SIMD` forces
//! an instruction set.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use murmur_kernels::exact::{Level, Pool};
use murmur_kernels::{AdamW, adamw};
use murmur_model::gpt::{ExactReplica, Gpt};
use murmur_model::{Batch, Replica, Token};

const OPTIMIZER: AdamW = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

fn main() {
    let n: Vec<usize> = std::env::args().skip(1).map(|word| word.parse().unwrap()).collect();
    let [vocab, context, d_model, layers, heads, size, threads] = n[..] else { panic!("seven numbers") };
    let config = Gpt { layers, heads, d_model, context };
    let pool = Pool::new(Level::active(), threads).unwrap();
    let params = config.initial_params_with_vocab(vocab, &[0; 32]);
    let zeros = vec![0.0; params.len()];
    let tokens: Vec<Token> =
        (0..=size * context).map(|i| Token((usize::from((i * i + 7 * i) as u8) % vocab) as u32)).collect();
    let batch = Batch::in_a_row(size, context, &tokens);
    let replica = ExactReplica::with_vocab(config, vocab, pool).unwrap();
    let mut trainee = Trainee { replica, grad: zeros.clone(), m: zeros.clone(), v: zeros, params, batch, steps: 0 };
    for line in std::io::stdin().lines() {
        let count: u32 = line.unwrap().trim().parse().unwrap();
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let loss = (0..count).map(|_| trainee.step()).last().unwrap_or(f32::NAN);
        let each = 1.0 / f64::from(count.max(1));
        println!("{} {} {loss}", wall.elapsed().as_secs_f64() * each, (cpu_seconds() - cpu) * each);
    }
}

struct Trainee {
    replica: ExactReplica,
    params: Vec<f32>,
    grad: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
    batch: Batch,
    steps: u64,
}

impl Trainee {
    fn step(&mut self) -> f32 {
        let loss = self.replica.loss_and_grad(&self.params, &self.batch, &mut self.grad).unwrap();
        self.steps += 1;
        adamw(&OPTIMIZER, self.steps, &mut self.params, &self.grad, &mut self.m, &mut self.v, 1.0);
        loss
    }
}

/// What all threads have computed so far, to the hundredth; zero where the system does not say.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
