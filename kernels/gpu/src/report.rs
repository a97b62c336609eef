//! Everything worth knowing about a device, for a person and for a bug report.

use std::fmt;
use std::time::Instant;

use murmur_kernels::exact::{self, Level};
use murmur_kernels::{AdamW, Direction, TopK, Weight};

use crate::conformance::CASES;
use crate::kernels::{self, Arithmetic, Factor, Start};
use crate::sample::numbers;
use crate::{Backend, Buffer, Gpu, GpuError};

/// How a device's results for one case compare with the CPU's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The profile's, bit for bit.
    Exact,
    /// The profile's, but for a multiply-add that is rounded twice.
    Unfused,
    /// Neither.
    Different {
        /// Results that are not what the profile says.
        count: usize,
        /// Of so many.
        of: usize,
    },
}

/// How fast something was.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// What was done, on what.
    pub name: &'static str,
    /// How much of it.
    pub value: f64,
    /// Of what, in a second: `GFLOP/s` or `GB/s`.
    pub unit: &'static str,
}

/// What [`examine`] found. [`Display`](fmt::Display) makes a bug report of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What the device calls itself.
    pub device: String,
    /// How it was reached.
    pub backend: Backend,
    /// How it computes.
    pub arithmetic: Arithmetic,
    /// Every case and how it came out.
    pub cases: Vec<(&'static str, Verdict)>,
    /// One hash of all results: equal on all devices of the profile.
    pub conformance: String,
    /// The hash that the profile has.
    pub expected: String,
    /// How fast it is.
    pub speeds: Vec<Speed>,
}

impl Report {
    /// Whether the device may take part in runs of the exact profile.
    pub fn is_exact(&self) -> bool {
        self.conformance == self.expected
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{} ({:?})", self.device, self.backend)?;
        writeln!(formatter, "{:?}", self.arithmetic)?;
        for (name, verdict) in &self.cases {
            writeln!(formatter, "{name}: {verdict:?}")?;
        }
        for Speed { name, value, unit } in &self.speeds {
            writeln!(formatter, "{name}: {value:.3} {unit}")?;
        }
        writeln!(formatter, "conformance {}", self.conformance)?;
        let word = if self.is_exact() { "is" } else { "is not" };
        write!(formatter, "the device {word} of the profile {} ({})", exact::PROFILE, self.expected)
    }
}

/// Runs every case of [`CASES`] and some work of a training step's size; seconds on a GPU, half a minute on a software device.
///
/// # Errors
/// The device failed.
pub fn examine(gpu: &Gpu) -> Result<Report, GpuError> {
    let (mut found, mut expected) = (blake3::Hasher::new(), blake3::Hasher::new());
    let mut cases = Vec::new();
    for case in CASES {
        let (device, exact) = (case.on_gpu(gpu)?, case.on_cpu(Level::best()));
        let verdict = if device == exact {
            Verdict::Exact
        } else if device == case.on_cpu(Level::UNFUSED) {
            Verdict::Unfused
        } else {
            // A result that is missing differs, too.
            let equal = device.iter().zip(&exact).filter(|(device, exact)| device == exact).count();
            Verdict::Different { count: exact.len() - equal, of: exact.len() }
        };
        cases.push((case.name, verdict));
        hash(&mut found, &device);
        hash(&mut expected, &exact);
    }
    Ok(Report {
        device: gpu.name(),
        backend: gpu.backend(),
        arithmetic: Arithmetic::of(gpu)?,
        cases,
        conformance: found.finalize().to_hex().to_string(),
        expected: expected.finalize().to_hex().to_string(),
        speeds: speeds(gpu)?,
    })
}

fn hash(hasher: &mut blake3::Hasher, words: &[u32]) {
    hasher.update(&(words.len() as u64).to_le_bytes());
    for word in words {
        hasher.update(&word.to_le_bytes());
    }
}

const SIDE: usize = 512;
const PARAMS: usize = 1 << 20;

fn speeds(gpu: &Gpu) -> Result<Vec<Speed>, GpuError> {
    let square = || numbers(SIDE * SIDE, 1);
    let (a, b, out) = (gpu.upload(&square()), gpu.upload(&square()), gpu.room(SIDE * SIDE));
    let product = || {
        let (a, b) = (Factor::new(&a, 1, SIDE, SIDE)?, Factor::new(&b, 1, SIDE, SIDE)?);
        kernels::matmul(gpu, a, b, Start::Zero, &out)
    };
    let flops = 2.0 * (SIDE as f64).powi(3);
    let vectors = [1, 2, 3, 4].map(|seed| gpu.upload(&numbers(PARAMS, seed)));
    let [p, grads, m, v] = &vectors;
    let h = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    let optimize = || kernels::adamw(gpu, &h, 1, [p, grads, m, v], 1.0);
    let (k, mut payload, mut residual) = (density(), Vec::new(), gpu.upload(&numbers(PARAMS, 5)));
    let mut compress = || {
        payload.clear();
        // Moments of no meaning may not be finite; the time is the same.
        kernels::compress(gpu, k, 0.9, [grads, m], &mut residual, &mut payload).map(drop).or_else(only_device)
    };
    let compressed = per_second(gpu, grads, &mut compress)?;
    let state = kernels::upload_state(gpu, &vec![0; PARAMS]);
    let fold = || match kernels::fold(gpu, k, &payload, Weight::ONE, Direction::Add, &state) {
        Err(kernels::FoldError::Gpu(error)) => Err(error),
        Err(kernels::FoldError::Codec(_)) | Ok(()) => Ok(()),
    };
    let gigabytes = |numbers: usize, times: f64| (4 * numbers * PARAMS) as f64 * times / 1e9;
    let speed = |name, value, unit| Speed { name, value, unit };
    Ok(vec![
        speed("product of 512x512 matrices", flops * per_second(gpu, &out, product)? / 1e9, "GFLOP/s"),
        speed("AdamW, 7 vectors of 2^20", gigabytes(7, per_second(gpu, p, optimize)?), "GB/s"),
        speed("compression, 4 vectors of 2^20", gigabytes(4, compressed), "GB/s"),
        speed("fold into 2^20 parameters", gigabytes(1, per_second(gpu, &state, fold)?), "GB/s"),
    ])
}

fn density() -> TopK {
    TopK::new(64).expect("between 16 and 4096")
}

fn only_device(error: kernels::CompressError) -> Result<(), GpuError> {
    match error {
        kernels::CompressError::Gpu(error) => Err(error),
        kernels::CompressError::Codec(_) => Ok(()),
    }
}

/// How often `work` can be done in a second, the wait for its `result` included. Once to compile, then for about half a second.
fn per_second(gpu: &Gpu, result: &Buffer, mut work: impl FnMut() -> Result<(), GpuError>) -> Result<f64, GpuError> {
    const TIMES_MAX: u32 = 50;
    const ENOUGH_SECONDS: f64 = 0.5;
    work()?;
    gpu.wait(result)?;
    let begun = Instant::now();
    let mut times = 0;
    while times < TIMES_MAX && begun.elapsed().as_secs_f64() < ENOUGH_SECONDS {
        work()?;
        gpu.wait(result)?;
        times += 1;
    }
    Ok(f64::from(times) / begun.elapsed().as_secs_f64())
}
