//! The codec against `memcpy`, on one thread and 16 Mi parameters, more than any cache holds.
//!
//! `cargo bench -p murmur-kernels` prints two tables: times as multiples of one `memcpy` of the dense parameters, measured
//! in turns so that a slow moment of the machine hits both, and bits per parameter against the entropy bound.
//!
//! There is no benchmark library here: what is asked for is ratios within one run, and a development dependency that
//! turns on features of a package that burn shares would make `cargo test --workspace` build burn a second time.

// A benchmark is the one place of this crate that reads a clock.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use murmur_kernels::{
    AdamW, CHUNK, Direction, TopK, Weight, adamw, compress, fold, payload_bytes_max, state_root, validate,
};

const PARAMS: usize = 16 << 20;
const BETA: f32 = 0.95;
const ROUNDS: usize = 9;
const OPTIMIZER: AdamW = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

fn main() {
    let mut data = Data::new(PARAMS);
    // `--test`, `--list` and the like only want to know that the benchmark runs.
    if std::env::args().any(|argument| argument == "--bench") {
        print_ratios(&mut data);
        print_densities(&data);
    }
}

/// Vectors all measurements share.
struct Data {
    start: Vec<f32>,
    end: Vec<f32>,
    residual: Vec<f32>,
    copy: Vec<f32>,
    second_moment: Vec<f32>,
    state: Vec<i64>,
    payload: Vec<u8>,
}

impl Data {
    fn new(params: usize) -> Self {
        Self {
            start: heavy_tailed(params, 1),
            end: heavy_tailed(params, 2),
            residual: heavy_tailed(params, 3),
            copy: vec![1.0; params],
            second_moment: vec![1e-6; params],
            state: vec![1; params],
            payload: Vec::with_capacity(payload_bytes_max(density(CHUNK as u16), params)),
        }
    }

    fn memcpy(&mut self) {
        self.copy.copy_from_slice(black_box(&self.start));
        black_box(&mut self.copy);
    }

    fn compress(&mut self, k: TopK) {
        self.payload.clear();
        compress(k, BETA, &self.start, &self.end, &mut self.residual, &mut self.payload).expect("data are finite");
    }

    fn fold(&mut self, k: TopK) {
        fold(k, &self.payload, Weight::ONE, Direction::Add, &mut self.state).expect("own payload");
    }

    fn validate(&self, k: TopK) {
        black_box(validate(k, PARAMS, &self.payload).expect("own payload"));
    }

    fn adamw(&mut self, step: u64) {
        adamw(&OPTIMIZER, step, &mut self.copy, &self.start, &mut self.end, &mut self.second_moment, 1.0);
    }
}

fn density(k: u16) -> TopK {
    TopK::new(k).expect("16 to 4096")
}

/// Values with many small and a few large magnitudes, like gradients: a bell over a uniform.
fn heavy_tailed(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    let mut value = move || (uniform() + uniform() + uniform() - 1.5) / (0.05 + uniform()) * 1e-3;
    (0..count).map(|_| value()).collect()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Names, times and multiples: the median over rounds, each round doing everything once.
fn print_ratios(data: &mut Data) {
    let names = ["memcpy", "compress", "decode+fold", "validate", "state_root", "adamw"];
    for k in [64, 256] {
        let k_of = density(k);
        let mut times = names.map(|_| Vec::new());
        for round in 0..ROUNDS {
            times[0].push(seconds(|| data.memcpy()));
            times[1].push(seconds(|| data.compress(k_of)));
            times[2].push(seconds(|| data.fold(k_of)));
            times[3].push(seconds(|| data.validate(k_of)));
            times[4].push(seconds(|| {
                black_box(state_root(&data.state));
            }));
            times[5].push(seconds(|| data.adamw(round as u64 + 1)));
            data.end.fill(0.0);
        }
        println!("\n{PARAMS} parameters, k = {k}, median of {ROUNDS} interleaved rounds, one thread");
        let memcpy = median(times[0].clone());
        for (name, times) in names.iter().zip(times) {
            let time = median(times);
            println!("{name:>12} {:8.2} ms   {name} / memcpy = {:.2}", time * 1e3, time / memcpy);
        }
    }
}

/// log2 C(4096, k) + 2k bits for each chunk.
fn bound_bits(k: u16) -> f64 {
    let choices: f64 = (0..k).map(|i| (f64::from(4096 - i) / f64::from(k - i)).log2()).sum();
    choices + 2.0 * f64::from(k)
}

fn print_densities(data: &Data) {
    println!("\n    k   bits/param   bound   over");
    let params = 1 << 20;
    for k in [16, 64, 128, 256, 512, 1024, 2048, 3072, 4096] {
        let (mut residual, mut payload) = (vec![0.0; params], Vec::new());
        let (start, end) = (&data.start[..params], vec![0.0; params]);
        compress(density(k), BETA, start, &end, &mut residual, &mut payload).expect("data are finite");
        let bits = payload.len() as f64 * 8.0 / params as f64;
        let bound = bound_bits(k) / CHUNK as f64;
        println!("{k:5} {bits:12.4} {bound:7.4} {:5.2}%", (bits / bound - 1.0) * 100.0);
    }
}
