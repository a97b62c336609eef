//! Speeds of what a step and an exchange are made of. Each is repeated for a while and counts at its quickest: whatever else
//! runs on a machine can only take time away.

use std::hint::black_box;
use std::time::{Duration, Instant};

use murmur_kernels::exact::{Matrix, Pool, Scratch, ShapeError, Start, matmul, multiply_adds};
use murmur_kernels::{AdamW, Direction, TopK, Weight, adamw, compress, fold, state_root};
use murmur_model::{Batch, ModelConfig};

use crate::{
    error::{Exit, Failure},
    learn::numeric::exact_pool,
};

/// How long each speed is measured, or once if that takes longer.
const WHILE: Duration = Duration::from_millis(500);

/// Fused multiply-adds of each chain between two looks at the clock.
const ROUNDS: usize = 1_000_000;

/// Side of the square matrices: all three fit into a core's own cache of a megabyte or so only in part, as a model's do.
const SIDE: usize = 512;

/// Parameters of the vectors that go through an exchange, 16 MiB: more than a core's own cache.
const PARAMS: usize = 1 << 22;

/// Density and decay of the default run.
const TOP: u16 = 256;
const DECAY: f32 = 0.95;

/// Sequences per step of the default run.
const SEQUENCES: usize = 2;
const OPTIMIZER: AdamW = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 };

/// The speeds on a number of threads.
#[derive(Debug, Clone, PartialEq)]
pub struct Speeds {
    /// Threads.
    pub threads: usize,
    /// By name, in the order they are shown.
    pub figures: Vec<Figure>,
}

/// One speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Its name; a promise.
    pub name: &'static str,
    /// At the quickest.
    pub value: f64,
    /// In the middle of all repetitions; the further below `value`, the busier the machine was.
    pub median: f64,
    /// What it counts.
    pub unit: &'static str,
}

/// Measures everything on `threads` threads, with the instruction set in use.
///
/// # Errors
/// [`Exit::Device`] when the threads cannot be started.
pub(super) fn measure(threads: usize) -> Result<Speeds, Failure> {
    let pool = exact_pool(threads)?;
    let peak = peak(&pool);
    let product = product(&pool).map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    let [value, median] = [product.value, product.median].map(|speed| speed / peak.value);
    let matmul_of_peak = Figure { name: "matmul_of_peak", value, median, unit: "fraction" };
    let mut figures = vec![peak, product, matmul_of_peak, training(exact_pool(threads)?)?];
    // What is outside the exact profile takes the threads of rayon's pool around it.
    let around = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let around = around.map_err(|error| Failure::new(Exit::Device, "cannot start threads").because(error))?;
    figures.extend(around.install(exchange));
    Ok(Speeds { threads, figures })
}

/// Repeats `work`; `amount` is how much of `unit` one repetition is.
fn figure(name: &'static str, unit: &'static str, amount: f64, mut work: impl FnMut()) -> Figure {
    let begun = Instant::now();
    let mut seconds = Vec::new();
    while seconds.is_empty() || begun.elapsed() < WHILE {
        let started = Instant::now();
        work();
        seconds.push(started.elapsed().as_secs_f64().max(1e-9));
    }
    seconds.sort_by(f64::total_cmp);
    Figure { name, value: amount / seconds[0], median: amount / seconds[seconds.len() / 2], unit }
}

fn peak(pool: &Pool) -> Figure {
    let (operations, _) = multiply_adds(pool, 1);
    figure("fma_peak", "GFLOP/s", 1e-9 * (operations * ROUNDS as u64) as f64, || {
        black_box(multiply_adds(pool, ROUNDS));
    })
}

fn product(pool: &Pool) -> Result<Figure, ShapeError> {
    let (a, b, mut out) = (vec![0.5; SIDE * SIDE], vec![0.25; SIDE * SIDE], vec![0.0; SIDE * SIDE]);
    let (a, b) = (Matrix::new(&a, SIDE, SIDE)?, Matrix::new(&b, SIDE, SIDE)?);
    let mut scratch = Scratch::default();
    let mut done = Ok(());
    let figure = figure("matmul", "GFLOP/s", 2e-9 * (SIDE * SIDE * SIDE) as f64, || {
        done = matmul(pool, a, b, Start::Zero, black_box(&mut out), &mut scratch);
    });
    done.map(|()| figure)
}

/// Forward, backward and optimizer of the default model.
fn training(pool: Pool) -> Result<Figure, Failure> {
    let config = ModelConfig::default();
    let mut params = config.initial_params(&[0; 32]);
    let [mut grad, mut m, mut v] = [(); 3].map(|()| vec![0.0; params.len()]);
    let mut replica = config.exact_replica(pool)?;
    let bytes: Vec<u8> = (0..=SEQUENCES * config.context()).map(|i| (i * i + 7 * i) as u8).collect();
    let batch = Batch::in_a_row(SEQUENCES, config.context(), &bytes);
    let (mut steps, mut loss) = (0, Ok(0.0));
    let figure = figure("training", "tokens/s", batch.tokens() as f64, || {
        loss = replica.loss_and_grad(&params, &batch, &mut grad);
        steps += 1;
        adamw(&OPTIMIZER, steps, &mut params, &grad, &mut m, &mut v, 1.0);
    });
    loss?;
    Ok(figure)
}

/// What is done to a vector of parameters on its way to the others; bandwidths are of its dense `f32`, and of the `i64` that
/// are hashed.
fn exchange() -> Vec<Figure> {
    let (start, end) = (vec![0.0; PARAMS], noise());
    let (mut copy, mut residual, mut payload, mut state) =
        (vec![0.0; PARAMS], vec![0.0; PARAMS], Vec::new(), vec![0i64; PARAMS]);
    let dense = 4e-9 * PARAMS as f64;
    let top = TopK::new(TOP).expect("between 16 and 4096");
    let memcpy = figure("memcpy", "GB/s", dense, || {
        copy.copy_from_slice(black_box(&end));
        black_box(&mut copy);
    });
    let compress = figure("compress", "GB/s", dense, || {
        payload.clear();
        compress(top, DECAY, &start, &end, &mut residual, &mut payload).expect("the numbers are finite");
    });
    let fold = figure("fold", "GB/s", dense, || {
        fold(top, &payload, Weight::ONE, Direction::Add, &mut state).expect("an own payload is valid");
    });
    let digest = figure("digest", "GB/s", 2.0 * dense, || {
        black_box(state_root(&state));
    });
    vec![memcpy, compress, fold, digest]
}

/// Numbers of many sizes and both signs, as differences of parameters are.
fn noise() -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..PARAMS).map(|_| 1e-3 * next() * next() * next()).collect()
}
