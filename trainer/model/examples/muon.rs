//! How much of a training step the optimizer takes: gradients and Muon in turn, medians of both.
//!
//! Arguments: `context d_model layers heads batch threads repeats`. `MURMUR_SIMD` forces an instruction set.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use murmur_kernels::exact::{Level, Muon, MuonMatrix, MuonStep, Pool};
use murmur_model::gpt::{ExactReplica, Gpt};
use murmur_model::{Architecture, Batch, Replica};

const STEP: MuonStep = MuonStep { lr: 1e-3, momentum: 0.95, decay: 1e-4, scale: 1.0 };

fn main() {
    let n: Vec<usize> = std::env::args().skip(1).map(|word| word.parse().unwrap()).collect();
    let [context, d_model, layers, heads, size, threads, repeats] = n[..] else { panic!("seven numbers") };
    let config = Gpt { layers, heads, d_model, context };
    let pool = || Pool::new(Level::active(), threads).unwrap();
    let mut params = config.initial_params(&[0; 32]);
    let text: Vec<u8> = (0..=size * context).map(|i| (i * i + 7 * i) as u8).collect();
    let batch = Batch::in_a_row(size, context, &text);
    let mut replica = ExactReplica::new(config, pool()).unwrap();
    let (mut grad, mut momentum) = (vec![0.0; params.len()], vec![0.0; params.len()]);
    let layout = config.layout();
    let hidden = layout.entries().iter().filter(|entry| entry.role.is_hidden_matrix());
    let matrices: Vec<_> = hidden.map(|entry| (entry.range(), [entry.shape[0], entry.shape[1]])).collect();
    let (mut muon, pool) = (Muon::default(), pool());
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..repeats {
        let begun = Instant::now();
        replica.loss_and_grad(&params, &batch, &mut grad).unwrap();
        seconds[0].push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let (mut behind, mut moved) = ((&mut params[..], &mut momentum[..]), Vec::new());
        let mut done = 0;
        for (range, shape) in &matrices {
            let (params, rest) = behind.0.split_at_mut(range.start - done).1.split_at_mut(range.len());
            let (momentum, momenta) = behind.1.split_at_mut(range.start - done).1.split_at_mut(range.len());
            moved.push(MuonMatrix { shape: *shape, params, momentum, grads: &grad[range.clone()] });
            (behind, done) = ((rest, momenta), range.end);
        }
        muon.step(&pool, &STEP, &mut moved).unwrap();
        seconds[1].push(begun.elapsed().as_secs_f64());
    }
    let [gradient, optimizer] = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let share = 100.0 * optimizer / (gradient + optimizer);
    println!("gradient {:.3} ms, Muon {:.3} ms: {share:.1} % of both", 1e3 * gradient, 1e3 * optimizer);
}
