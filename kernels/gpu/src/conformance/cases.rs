//! The stated inputs.

use murmur_kernels::exact::{Activation, Attention, Norm};
use murmur_kernels::{AdamW, CHUNK, Direction, TopK};

use super::Case;
use super::machine::{Machine, Out, Product, Tables};
use crate::sample::{bytes, numbers, tied, wild};

/// Every kernel, at sizes around the limits of its tiles and lanes.
pub const CASES: [Case; 20] = [
    Case { name: "product of every form", run: products },
    Case { name: "product of numbers of every kind", run: wild_products },
    Case { name: "layer norm", run: layer_norms },
    Case { name: "rms norm", run: rms_norms },
    Case { name: "gelu", run: |machine| activation(machine, Activation::Gelu) },
    Case { name: "silu", run: |machine| activation(machine, Activation::Silu) },
    Case { name: "softmax", run: softmaxes },
    Case { name: "cross-entropy", run: cross_entropies },
    Case { name: "attention within one block", run: |machine| attention(machine, 2, 33, 3, 16) },
    Case { name: "attention over three blocks", run: |machine| attention(machine, 1, 150, 2, 20) },
    Case { name: "attention over more keys than a block of steps", run: |machine| attention(machine, 1, 270, 1, 8) },
    Case { name: "embedding", run: embedding },
    Case { name: "adamw", run: |machine| adamw(machine, numbers) },
    Case { name: "adamw of numbers of every kind", run: |machine| adamw(machine, wild) },
    Case { name: "global norm", run: global_norms },
    Case { name: "compression", run: |machine| compression(machine, numbers) },
    Case { name: "compression with ties", run: |machine| compression(machine, tied) },
    Case { name: "fold", run: |machine| fold(machine, Direction::Add) },
    Case { name: "fold, taken back", run: |machine| fold(machine, Direction::Remove) },
    Case { name: "state as parameters", run: parameters },
];

/// The results of several jobs, one after the other.
fn all(outs: impl IntoIterator<Item = Out>) -> Out {
    Ok(outs.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

fn products(machine: &dyn Machine) -> Out {
    let sizes = [
        [1, 64, 64, 16],
        [1, 1, 1, 1],
        [1, 65, 70, 33],
        [3, 17, 5, 100],
        [2, 3, 130, 0],
        [1, 0, 4, 4],
        [1, 5, 9, 256],
        [1, 9, 5, 700],
        [1, 132, 136, 264],
    ];
    all(sizes.into_iter().flat_map(|sizes| (0..8).map(move |form| (sizes, form))).map(|(sizes, form)| {
        let [batch, m, n, k] = sizes;
        let (a, b) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
        let start = (form & 4 > 0).then(|| numbers(batch * m * n, 3));
        let transposed = [form & 1 > 0, form & 2 > 0];
        machine.product(Product { sizes, transposed, a: &a, b: &b, start: start.as_deref() })
    }))
}

fn wild_products(machine: &dyn Machine) -> Out {
    let (a, b) = (wild(70 * 3, 1), wild(3 * 70, 2));
    machine.product(Product { sizes: [1, 70, 70, 3], transposed: [false; 2], a: &a, b: &b, start: None })
}

/// Rows and their width: fewer than the lanes, as many, one more, and more rows than a group.
const ROWS: [[usize; 2]; 6] = [[1, 1], [3, 15], [17, 16], [5, 17], [130, 48], [2, 200]];

fn layer_norms(machine: &dyn Machine) -> Out {
    all(ROWS.into_iter().flat_map(|[rows, d]| {
        let (x, gain, bias) = (numbers(rows * d, 1), numbers(d, 2), numbers(d, 3));
        let out = machine.norm(Norm::Layer, &x, &gain, &bias);
        [out, machine.norm_backward(Norm::Layer, &x, &gain, true, &numbers(rows * d, 4))]
    }))
}

fn rms_norms(machine: &dyn Machine) -> Out {
    all(ROWS.into_iter().flat_map(|[rows, d]| {
        let (x, gain) = (numbers(rows * d, 1), numbers(d, 2));
        let out = machine.norm(Norm::Rms, &x, &gain, &[]);
        [out, machine.norm_backward(Norm::Rms, &x, &gain, false, &numbers(rows * d, 4))]
    }))
}

fn activation(machine: &dyn Machine, f: Activation) -> Out {
    let large: Vec<f32> = numbers(5000, 5).iter().map(|x| x * 120.0).collect();
    let grad = numbers(5000, 6);
    all([numbers(5000, 4), large, wild(5000, 7)].iter().map(|x| machine.activate(f, x, &grad)))
}

fn softmaxes(machine: &dyn Machine) -> Out {
    let large: Vec<f32> = numbers(40 * 33, 5).iter().map(|x| x * 90.0).collect();
    let jobs = ROWS.map(|[rows, width]| (numbers(rows * width, 1), width));
    let special = (wild(40 * 33, 2), 33);
    all(jobs.into_iter().chain([(large, 33), special]).map(|(scores, width)| machine.softmax(&scores, width)))
}

fn cross_entropies(machine: &dyn Machine) -> Out {
    all(ROWS.into_iter().map(|[rows, width]| {
        let scores: Vec<f32> = numbers(rows * width, 1).iter().map(|x| x * 20.0).collect();
        // One target in some lies beyond the width.
        machine.cross_entropy(&scores, &bytes(rows, 2, (width + 1).min(200) as u8))
    }))
}

fn attention(machine: &dyn Machine, batch: usize, seq: usize, heads: usize, width: usize) -> Out {
    let d = batch * seq * heads * width;
    let qkv: Vec<f32> = numbers(3 * d, 1).iter().map(|x| x * 3.0).collect();
    machine.attention(Attention { batch, seq, heads, width }, &qkv, &numbers(d, 2))
}

fn embedding(machine: &dyn Machine) -> Out {
    let (d, seq, tokens) = (24, 31, bytes(7 * 31, 1, 40));
    let (table, positions, grad) = (numbers(50 * d, 2), numbers(40 * d, 3), numbers(tokens.len() * d, 4));
    machine.embed(Tables { table: &table, positions: &positions, tokens: &tokens, seq }, &grad)
}

fn adamw(machine: &dyn Machine, make: fn(usize, u64) -> Vec<f32>) -> Out {
    let h = AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    let forgetful = AdamW { beta1: 0.2, beta2: 0.0, ..h };
    all([(h, 0), (h, 1), (h, 4097), (forgetful, 100)].map(|(h, params)| {
        let (p, m) = (make(params, 1), make(params, 2));
        let v: Vec<f32> = make(params, 3).into_iter().map(f32::abs).collect();
        machine.adamw(&h, [&p, &m, &v], &[make(params, 4), make(params, 5), make(params, 6)], 0.7)
    }))
}

fn global_norms(machine: &dyn Machine) -> Out {
    all([0, 1, 15, 16, 17, 4097, 100_003].map(|params| machine.global_norm(&numbers(params, 5))))
}

fn density(k: u16) -> TopK {
    TopK::new(k).expect("between 16 and 4096")
}

fn compression(machine: &dyn Machine, make: fn(usize, u64) -> Vec<f32>) -> Out {
    let sizes = [0, 1, 15, 4095, 4096, 4097, 3 * CHUNK + 77];
    all([16, 64, 512, 4096].into_iter().flat_map(|k| sizes.map(|params| (k, params))).map(|(k, params)| {
        let [start, end, residual] = [1, 2, 3].map(|seed| make(params, seed));
        machine.compress(density(k), 0.95, [&start, &end, &residual])
    }))
}

fn fold(machine: &dyn Machine, direction: Direction) -> Out {
    let (k, params, mut payload) = (density(512), 2 * CHUNK + 100, Vec::new());
    let [start, end, mut residual] = [1, 2, 3].map(|seed| numbers(params, seed));
    murmur_kernels::compress(k, 0.9, &start, &end, &mut residual, &mut payload).expect("finite vectors");
    // Low words near their ends, so that carries and borrows happen.
    let edges = [0, -1, 1, i64::from(u32::MAX), i64::MIN, i64::MAX, 1 << 32, 0xffff_fff0];
    let state: Vec<i64> = (0..params).map(|i| edges[i % edges.len()].wrapping_add(i as i64)).collect();
    machine.fold(k, &payload, direction, &state)
}

/// Every exponent, with ties to either side, just above and just below.
fn parameters(machine: &dyn Machine) -> Out {
    let mut state = vec![0, 1, -1, i64::MIN, i64::MAX, i64::MIN + 1];
    for shift in 0..63 {
        let one = 1i64 << shift;
        let (half, last) = (one >> 24, one >> 23);
        let sizes = [one, one - 1, one + 1, one | half, one | half | 1, one | last | half, one | half | (one >> 40)];
        state.extend(sizes.into_iter().flat_map(|size| [size, -size]));
    }
    let (k, mut payload) = (density(16), Vec::new());
    let zeros = vec![0.0; state.len()];
    murmur_kernels::compress(k, 0.0, &zeros, &zeros, &mut zeros.clone(), &mut payload).expect("finite vectors");
    machine.fold(k, &payload, Direction::Add, &state)
}
