//! `step`: how long an inner step takes, by optimizer, width and batch, and what of it the optimizer takes.

use std::time::{Duration, Instant};

use murmur_kernels::{Carry, global_norm};
use murmur_model::Batch;

use super::super::{
    cases::{self, Case},
    figures::median,
    suite::{Conclusion, Options, Sample, Suite},
};
use crate::{
    config::{Inputs, Resolved, Settings},
    error::Failure,
    learn::{numeric::exact_pool, segment::Optimizer},
    observe::output::Output,
};

pub(super) const SUITE: Suite = Suite {
    name: "step",
    about: "seconds of an inner step by optimizer, width and batch, and the optimizer's share of them",
    trains: false,
    run,
    conclude,
};

const OPTIMIZERS: [&str; 2] = ["adamw", "muon"];
const WIDTHS: [usize; 2] = [128, 256];
const BATCHES: [usize; 3] = [2, 8, 16];

/// How long a case is measured, beside its first step.
const WHILE: Duration = Duration::from_millis(400);

/// Steps that are measured at least.
const STEPS_MIN: usize = 3;

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    let cases = OPTIMIZERS.into_iter().flat_map(|optimizer| {
        WIDTHS.into_iter().flat_map(move |width| BATCHES.into_iter().map(move |batch| (optimizer, width, batch)))
    });
    let cases: Vec<_> = cases.collect();
    output.note(&format!("Measuring {} kinds of steps …", cases.len()));
    for seed in &options.seeds {
        for (optimizer, width, batch) in &cases {
            let sets = [
                format!("train.optimizer={optimizer}"),
                format!("model.d_model={width}"),
                format!("train.batch={batch}"),
            ];
            let sets = sets.into_iter().chain(options.sets.iter().cloned()).collect();
            let settings = Resolved::new(&Inputs { sets, ..Inputs::default() })?.settings()?;
            let case = format!("{optimizer} width {width} batch {batch}");
            tell(match figures(&settings, *seed) {
                Ok(figures) => Sample { case, seed: *seed, figures, ..Sample::default() },
                Err(failure) => Sample { case, seed: *seed, failure: Some(failure.sentence()), ..Sample::default() },
            });
        }
    }
    Ok(())
}

fn figures(settings: &Settings, seed: u64) -> Result<std::collections::BTreeMap<String, f64>, Failure> {
    let threads = match settings.device.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let config = settings.model;
    let mut params = config.initial_params(blake3::hash(&seed.to_le_bytes()).as_bytes());
    let mut grad = vec![0.0; params.len()];
    let mut replica = settings.numeric.replica(config, threads)?;
    let mut optimizer = Optimizer::new(settings.train.optimizer, replica.layout(), exact_pool(threads)?);
    let mut carry = Carry::fresh(optimizer.carry_shape());
    let (size, context) = (settings.train.batch, config.context());
    let bytes: Vec<u8> = (0..=(size * context) as u64).map(|i| (i * i + (7 + seed) * i) as u8).collect();
    let batch = Batch::in_a_row(size, context, &bytes);
    // Too small to learn anything, so that the numbers stay of one kind however many steps there are.
    let rates = settings.train.rates().scaled(1e-3);
    let (mut steps, mut optimizing) = (Vec::new(), Vec::new());
    let mut begun = None;
    loop {
        let started = Instant::now();
        replica.loss_and_grad(&params, &batch, &mut grad)?;
        let computed = Instant::now();
        let norm = global_norm(&grad).max(1.0);
        optimizer.step(&rates, &mut carry, &mut params, &grad, 1.0 / norm);
        // The first step asks for memory.
        let Some(begun) = begun else {
            begun = Some(Instant::now());
            continue;
        };
        steps.push(started.elapsed().as_secs_f64());
        optimizing.push(computed.elapsed().as_secs_f64());
        if Instant::now().duration_since(begun) > WHILE && steps.len() >= STEPS_MIN {
            break;
        }
    }
    let (step, optimizer) = (median(&steps).unwrap_or_default(), median(&optimizing).unwrap_or_default());
    let figures = [
        ("step_seconds", step),
        ("optimizer_seconds", optimizer),
        ("optimizer_share", optimizer / step),
        ("tokens_per_second", batch.tokens() as f64 / step),
    ];
    Ok(figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let names = cases::names(samples);
    let mut metrics = Vec::new();
    for name in &names {
        let (case, word) = (Case::of(samples, name), name.replace(' ', "_"));
        metrics.push(case.metric("tokens_per_second", format!("{word}_tokens_per_second"), "tokens/s"));
        metrics.push(case.metric("optimizer_share", format!("{word}_optimizer_share"), "of a step"));
    }
    for name in names.iter().filter_map(|name| name.strip_prefix("muon ")) {
        let [muon, adamw] = ["muon", "adamw"].map(|optimizer| Case::of(samples, &format!("{optimizer} {name}")));
        let word = format!("muon_to_adamw_{}_step_ratio", name.replace(' ', "_"));
        metrics.push(muon.ratio_to(&adamw, "step_seconds", word));
    }
    Conclusion { metrics, ..Conclusion::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_step_are_less_than_the_whole() {
        let sets = ["model.layers=1", "model.heads=2", "model.d_model=16", "model.context=16", "train.batch=2"];
        let sets = sets.map(str::to_owned).to_vec();
        let settings = Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap();
        let figures = figures(&settings, 1).unwrap();
        assert!(figures["optimizer_share"] > 0.0 && figures["optimizer_share"] < 1.0, "{figures:?}");
        assert!(figures["tokens_per_second"] > 0.0);
    }
}
