//! `quick`: in a few minutes, whether a swarm learns, and what it sends: a short run beside all-reduce and one process.

use super::super::{
    baseline::{case::BaselineCase, group::Place, method::MethodName},
    cases::Case,
    suite::{Conclusion, Options, Sample, Suite},
    training_run::TrainingRun,
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "quick",
    about: "a short swarm of 4 beside all-reduce and one process: loss, seconds and bytes, in a few minutes",
    trains: true,
    run,
    conclude,
};

const TOKENS: u64 = 150_000;

/// Ranks of each method; the swarm has as many peers as all-reduce has ranks.
const BASELINES: [(MethodName, usize); 2] = [(MethodName::Central, 1), (MethodName::AllReduce, 4)];

const SWARM: (&str, usize) = ("swarm", 4);

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for seed in &options.seeds {
        for (method, peers) in BASELINES {
            let case = method.name().to_owned();
            output.note(&format!("Training by {case}, seed {seed} …"));
            let baseline = BaselineCase { case, method, peers, tokens: TOKENS, sets: Vec::new() };
            tell(baseline.sample(options, *seed, &|_| Place::here())?);
        }
        let (case, peers) = SWARM;
        output.note(&format!("Training a swarm of {peers}, seed {seed} …"));
        let run = TrainingRun { case: case.to_owned(), peers, tokens: TOKENS, sets: Vec::new() };
        tell(run.sample(options, *seed)?);
    }
    Ok(())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let names = BASELINES.map(|(method, _)| method.name());
    let metrics = names.into_iter().chain([SWARM.0]).flat_map(|name| {
        let case = Case::of(samples, name);
        [
            case.metric("val_loss_nats", format!("val_loss_{name}"), "nats per byte"),
            case.metric("train_seconds", format!("train_seconds_{name}"), "s"),
            case.metric("sent_bytes", format!("sent_bytes_{name}"), "bytes of all peers"),
        ]
    });
    Conclusion { metrics: metrics.collect(), ..Conclusion::default() }
}
