//! The kernels against `memcpy`, on 8 Mi parameters, more than any cache holds.
//!
//! `cargo bench -p murmur-kernels --bench kernels [-- WORD...]` runs what has one of the words in its name, or everything,
//! at each instruction level of the machine on one thread and at the best one on all, and prints times as multiples of one `memcpy` of the dense parameters. All
//! are measured in turns, so that a slow moment of the machine hits all; of each, the quickest turn counts, as a
//! neighbour can only take time away. One thread is measured by its own clock, all threads by the wall. Then, bits per parameter
//! against the entropy bound.
//!
//! There is no benchmark library here: what is asked for is ratios within one run, and a development dependency that
//! turns on features of a package that burn shares would make `cargo test --workspace` build burn a second time.

// A benchmark is the one place of this crate that reads a clock.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod clock;

use std::hint::black_box;
use std::time::Instant;

use clock::computed;
use murmur_kernels::simd::Level;
use murmur_kernels::{
    AdamW, CHUNK, Carry, Direction, Optimizer, TopK, Weight, adamw, compress, fold, global_norm, state_root, to_f32,
    validate,
};

const PARAMS: usize = 8 << 20;
const BETA: f32 = 0.95;
const ROUNDS: usize = 9;
const OPTIMIZER: AdamW = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, words): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument.starts_with("--"));
    // `--test`, `--list` and the like only want to know that the benchmark runs.
    if !flags.iter().any(|flag| flag == "--bench") {
        Data::new(CHUNK + 1).run_all();
        return;
    }
    let data = &mut Data::new(PARAMS);
    print_ratios(data, &words);
    if words.is_empty() {
        print_densities(data);
    }
}

/// Vectors all measurements share.
struct Data {
    start: Vec<f32>,
    end: Vec<f32>,
    residual: Vec<f32>,
    copy: Vec<f32>,
    carry: Carry,
    sealed: Vec<u8>,
    state: Vec<i64>,
    state_bytes: Vec<u8>,
    payloads: Vec<Vec<u8>>,
}

const DENSITIES: [u16; 3] = [64, 256, 1024];

impl Data {
    fn new(params: usize) -> Self {
        let [start, end, residual] = [1, 2, 3].map(|seed| heavy_tailed(params, seed));
        let v = residual.iter().map(|value| value * value).collect();
        let carry = Carry { optimizer: Optimizer::AdamW, steps: 9, m: residual.clone(), v, residual: end.clone() };
        let payloads = DENSITIES.map(|k| {
            let (mut residual, mut payload) = (residual.clone(), Vec::new());
            compress(density(k), BETA, &start, &end, &mut residual, &mut payload).expect("data are finite");
            payload
        });
        Self {
            copy: vec![1.0; params],
            sealed: carry.seal(),
            state: vec![1; params],
            state_bytes: vec![1; 8 * params],
            payloads: payloads.into(),
            start,
            end,
            residual,
            carry,
        }
    }

    fn memcpy(&mut self) {
        self.copy.copy_from_slice(black_box(&self.start));
        black_box(&mut self.copy);
    }

    fn compress(&mut self, which: usize) {
        self.payloads[which].clear();
        let payload = &mut self.payloads[which];
        compress(density(DENSITIES[which]), BETA, &self.start, &self.end, &mut self.residual, payload)
            .expect("data are finite");
    }

    fn fold(&mut self, which: usize) {
        let k = density(DENSITIES[which]);
        fold(k, &self.payloads[which], Weight::ONE, Direction::Add, &mut self.state).expect("own payload");
    }

    fn validate(&self, which: usize) {
        let k = density(DENSITIES[which]);
        black_box(validate(k, self.state.len(), &self.payloads[which]).expect("own payload"));
    }

    fn adamw(&mut self) {
        let Carry { m, v, .. } = &mut self.carry;
        adamw(&OPTIMIZER, 9, &mut self.copy, &self.start, m, v, 1.0);
    }

    /// The memory traffic of [`adamw`] with hardly any arithmetic: what it could reach at best.
    fn adamw_traffic(&mut self) {
        let Carry { m, v, .. } = &mut self.carry;
        for (((p, g), m), v) in self.copy.iter_mut().zip(&self.start).zip(m).zip(v) {
            *p += *g;
            *m += *g;
            *v += *g;
        }
    }

    fn seal(&mut self) {
        self.sealed = self.carry.seal();
    }

    fn unseal(&self) {
        black_box(Carry::unseal(self.carry.shape(), &self.sealed).expect("own seal"));
    }

    fn run_all(&mut self) {
        KERNELS.iter().for_each(|(_, run)| run(self));
    }
}

type Kernel = (&'static str, fn(&mut Data));

const KERNELS: [Kernel; 18] = [
    ("compress k=64", |data| data.compress(0)),
    ("compress k=256", |data| data.compress(1)),
    ("compress k=1024", |data| data.compress(2)),
    ("fold k=64", |data| data.fold(0)),
    ("fold k=256", |data| data.fold(1)),
    ("fold k=1024", |data| data.fold(2)),
    ("validate k=64", |data| data.validate(0)),
    ("validate k=256", |data| data.validate(1)),
    ("validate k=1024", |data| data.validate(2)),
    ("state_root", |data| {
        black_box(state_root(&data.state));
    }),
    ("blake3 of one blob", |data| {
        black_box(blake3::hash(&data.state_bytes));
    }),
    ("adamw", Data::adamw),
    ("adamw's traffic", Data::adamw_traffic),
    ("global_norm", |data| {
        black_box(global_norm(&data.start));
    }),
    ("to_f32", |data| to_f32(&data.state, &mut data.copy)),
    ("seal", Data::seal),
    ("unseal", |data| data.unseal()),
    ("memcpy", Data::memcpy),
];

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

/// Seconds of some work: where one thread does it, those that it computed, however often others had its core.
fn seconds(alone: bool, work: impl FnOnce()) -> f64 {
    let (start, computed_before) = (Instant::now(), computed());
    work();
    if alone { computed() - computed_before } else { start.elapsed().as_secs_f64() }
}

/// An instruction level and a pool of threads.
struct Setting {
    name: String,
    level: Level,
    pool: rayon::ThreadPool,
}

/// Every level on one thread, and the best one on all.
fn settings() -> Vec<Setting> {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    let alone = Level::available().map(|level| Setting { name: level.to_string(), level, pool: pool(1) });
    let all =
        Setting { name: format!("{} threads", pool(0).current_num_threads()), level: Level::best(), pool: pool(0) };
    alone.chain([all]).collect()
}

/// Seconds of the quickest of [`ROUNDS`] turns, by kernel and setting. Each turn runs everything once.
fn quickest(data: &mut Data, kernels: &[Kernel], settings: &[Setting]) -> Vec<Vec<f64>> {
    let mut times = vec![vec![f64::INFINITY; settings.len()]; kernels.len()];
    for _ in 0..ROUNDS {
        for ((_, run), times) in kernels.iter().zip(&mut times) {
            for (setting, time) in settings.iter().zip(times) {
                setting.level.activate();
                let alone = setting.pool.current_num_threads() == 1;
                *time = time.min(setting.pool.install(|| seconds(alone, || run(data))));
            }
        }
    }
    times
}

fn print_ratios(data: &mut Data, words: &[String]) {
    let wanted = |name: &str| name == "memcpy" || words.is_empty() || words.iter().any(|word| name.contains(word));
    let kernels: Vec<Kernel> = KERNELS.into_iter().filter(|(name, _)| wanted(name)).collect();
    let settings = settings();
    let times = quickest(data, &kernels, &settings);
    let memcpy = times[kernels.len() - 1].iter().copied().fold(f64::INFINITY, f64::min);
    println!("\n{PARAMS} parameters, quickest of {ROUNDS} interleaved turns; memcpy {:.2} ms", memcpy * 1e3);
    let row = |name: &str, cells: Vec<String>| println!("{name:>20} {}", cells.concat());
    row("/ memcpy", settings.iter().map(|setting| format!("{:>10}", setting.name)).collect());
    for ((name, _), times) in kernels.iter().zip(times) {
        row(name, times.iter().map(|time| format!("{:10.3}", time / memcpy)).collect());
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
