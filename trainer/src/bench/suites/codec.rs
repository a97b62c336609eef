//! `codec`: what an update costs to make and to take in, how large it is, and how much of the difference it carries, by density.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use murmur_kernels::{Direction, TopK, Weight, compress, fold, to_f32, validate};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::super::{
    cases::{self, Case},
    figures::median,
    suite::{Conclusion, Options, Sample, Suite},
};
use crate::{
    config::{Inputs, Resolved},
    error::{Exit, Failure},
    observe::output::Output,
};

pub(super) const SUITE: Suite = Suite {
    name: "codec",
    about: "what an update costs to compress, check and fold, its size and its error, by density",
    trains: false,
    run,
    conclude,
};

/// Densities, of 4096.
const DENSITIES: [u16; 5] = [16, 64, 256, 1024, 4096];

/// A quarter of a million parameters and more make good use of all threads; a model of the settings is at least this large.
const PARAMS_MIN: usize = 1 << 20;

/// How long each speed is measured.
const WHILE: Duration = Duration::from_millis(120);

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let settings = Resolved::new(&Inputs { sets: options.sets.clone(), ..Inputs::default() })?.settings()?;
    let params = settings.model.params().max(PARAMS_MIN);
    output.note(&format!("Compressing {params} parameters at {} densities …", DENSITIES.len()));
    for seed in &options.seeds {
        for density in DENSITIES {
            tell(sample(density, params, *seed)?);
        }
    }
    Ok(())
}

fn sample(density: u16, params: usize, seed: u64) -> Result<Sample, Failure> {
    let bug = |error: murmur_kernels::CodecError| Failure::new(Exit::Bug, error.to_string());
    let top = TopK::new(density).map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    let (start, end) = (vec![0.0; params], difference(params, seed));
    let (mut residual, mut payload) = (vec![0.0; params], Vec::new());
    compress(top, 0.0, &start, &end, &mut residual, &mut payload).map_err(bug)?;
    let norm = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    // With nothing left over from before, the residual is what was not sent.
    let error = norm(&residual) / norm(&end);
    let compressing = seconds(|| {
        residual.fill(0.0);
        let mut payload = Vec::with_capacity(payload.len());
        let _ = black_box(compress(top, 0.0, &start, &end, &mut residual, &mut payload));
    });
    let mut state = vec![0i64; params];
    let mut dense = vec![0.0; params];
    let checking = seconds(|| _ = black_box(validate(top, params, &payload)));
    let folding = seconds(|| _ = black_box(fold(top, &payload, Weight::ONE, Direction::Add, &mut state)));
    let decoding = seconds(|| {
        state.fill(0);
        _ = black_box(fold(top, &payload, Weight::ONE, Direction::Add, &mut state));
        to_f32(&state, &mut dense);
        black_box(&mut dense);
    });
    let figures = [
        ("compress_seconds", compressing),
        ("validate_seconds", checking),
        ("fold_seconds", folding),
        ("decode_seconds", decoding),
        ("compress_gigabytes_per_second", 4e-9 * params as f64 / compressing),
        ("fold_gigabytes_per_second", 4e-9 * params as f64 / folding),
        ("payload_bytes", payload.len() as f64),
        ("bits_per_parameter", 8.0 * payload.len() as f64 / params as f64),
        ("relative_error", error),
    ];
    let figures = figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Sample { case: format!("top {density}"), seed, figures, ..Sample::default() })
}

/// The median of repetitions.
fn seconds(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut took = Vec::new();
    while took.is_empty() || begun.elapsed() < WHILE {
        let started = Instant::now();
        work();
        took.push(started.elapsed().as_secs_f64());
    }
    median(&took).unwrap_or_default()
}

/// Numbers of both signs with heavy tails, and one parameter in four of a larger kind, as differences of parameters are.
fn difference(params: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || rng.next_u32() as f32 / (1u64 << 31) as f32 - 1.0;
    (0..params).map(|index| if index % 4 == 0 { 4e-3 } else { 1e-3 } * uniform() * uniform() * uniform()).collect()
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let metrics = cases::names(samples).into_iter().flat_map(|name| {
        let case = Case::of(samples, name);
        let of = |figure: &str, unit: &'static str| {
            case.metric(figure, format!("{}_{figure}", name.replace(' ', "_")), unit)
        };
        [
            of("bits_per_parameter", "bits"),
            of("relative_error", "of the difference's norm, without feedback"),
            of("compress_gigabytes_per_second", "GB/s of dense floats"),
            of("fold_gigabytes_per_second", "GB/s of dense floats"),
        ]
    });
    Conclusion { metrics: metrics.collect(), ..Conclusion::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn denser_is_larger_and_nearer_and_a_seed_gives_one_size() {
        let [sparse, dense] = [64, 1024].map(|density| sample(density, 1 << 14, 1).unwrap().figures);
        assert!(sparse["bits_per_parameter"] < 0.2 && dense["bits_per_parameter"] > 1.2, "{sparse:?} {dense:?}");
        assert!(sparse["relative_error"] < 1.0 && dense["relative_error"] < 0.8 * sparse["relative_error"]);
        let again = sample(64, 1 << 14, 1).unwrap().figures;
        assert_eq!(again["payload_bytes"], sparse["payload_bytes"]);
    }
}
