//! Matrix products of the exact profile: GFLOP/s, and the share of this machine's peak of fused multiply-adds, measured just before.
//!
//! `cargo bench -p murmur-kernels --bench exact`; `MURMUR_SIMD` forces an instruction set, `MURMUR_THREADS` a number of threads.
//! With the word `turns` it computes what it is asked for on standard input, for comparisons that take turns with another program.
#![allow(clippy::unwrap_used)]

mod clock;

use std::hint::black_box;

use clock::computed;
use murmur_kernels::exact::{Level, Matrix, Pool, Scratch, Start, matmul, multiply_adds};

fn main() {
    let level = Level::active();
    let threads = std::env::var("MURMUR_THREADS").map_or(1, |count| count.parse().unwrap());
    let pool = Pool::new(level, threads).unwrap();
    if std::env::args().any(|argument| argument == "turns") {
        return turns(&pool);
    }
    // `--test`, `--list` and the like only want to know that the benchmark runs.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    println!("{} on {threads} thread(s)", level.name());
    products(&pool);
}

/// Seconds of the fastest of some calls.
fn fastest(calls: usize, mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let start = computed();
        work();
        computed() - start
    };
    work();
    (0..calls).map(|_| once(&mut work)).fold(f64::INFINITY, f64::min)
}

fn products(pool: &Pool) {
    for [m, n, k] in [
        [256, 256, 256],
        [512, 512, 512],
        [1024, 1024, 1024],
        [2048, 768, 256],
        [2048, 256, 256],
        [2048, 1024, 256],
        [2048, 256, 1024],
        [2048, 96, 256],
        [256, 1024, 2048],
        [1024, 256, 2048],
    ] {
        let (a, b, mut out) = (vec![0.5; m * k], vec![0.25; k * n], vec![0.0; m * n]);
        let mut scratch = Scratch::default();
        let mut line = format!("{m:5} × {n:4} × {k:4}:");
        for (name, flip) in [("nn", [false, false]), ("nt", [false, true]), ("tn", [true, false])] {
            let stored = |values, rows, columns, flip| match flip {
                false => Matrix::new(values, rows, columns).unwrap(),
                true => Matrix::new(values, columns, rows).unwrap().transposed(),
            };
            let (left, right) = (stored(&a, m, k, flip[0]), stored(&b, k, n, flip[1]));
            let calls = (400_000_000 / (m * n * k)).clamp(3, 40);
            let peak = peak(pool.level());
            let seconds =
                fastest(calls, || matmul(pool, left, right, Start::Zero, black_box(&mut out), &mut scratch).unwrap());
            let rate = 2e-9 * (m * n * k) as f64 / seconds;
            line += &format!("  {name} {rate:5.1} GFLOP/s ({:2.0} %)", 100.0 * rate / peak);
        }
        println!("{line}");
    }
}

/// GFLOP/s of fused multiply-adds between registers, on one core.
fn peak(level: Level) -> f64 {
    const ROUNDS: usize = 100_000;
    let (pool, mut operations) = (Pool::single(level), 0);
    let seconds = fastest(3, || operations = black_box(multiply_adds(&pool, ROUNDS)).0);
    1e-9 * operations as f64 / seconds
}

/// For each line `m n k flip_a flip_b calls` computes that product so often and answers with the least and the median seconds.
fn turns(pool: &Pool) {
    let mut scratch = Scratch::default();
    for line in std::io::stdin().lines() {
        let n: Vec<usize> = line.unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
        let (a, b, mut out) = (vec![0.5; n[0] * n[2]], vec![0.25; n[2] * n[1]], vec![0.0; n[0] * n[1]]);
        let stored = |values, rows, columns, flip| match flip {
            0 => Matrix::new(values, rows, columns).unwrap(),
            _ => Matrix::new(values, columns, rows).unwrap().transposed(),
        };
        let (left, right) = (stored(&a, n[0], n[2], n[3]), stored(&b, n[2], n[1], n[4]));
        let calls = n[5];
        let mut times: Vec<f64> = (0..calls + 1)
            .map(|_| {
                let start = computed();
                matmul(pool, left, right, Start::Zero, black_box(&mut out), &mut scratch).unwrap();
                computed() - start
            })
            .skip(1)
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{} {}", times[0], times[calls / 2]);
    }
}
