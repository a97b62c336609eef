//! `methods`: the ways of training together that others use, beside a swarm: loss from equal tokens, bytes and seconds to a loss.

use super::super::{
    baseline::{case::BaselineCase, group::Place, method::MethodName},
    cases::Case,
    curves::to_one_loss,
    report::Target,
    suite::{Conclusion, Options, Sample, Suite},
    training_run::TrainingRun,
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "methods",
    about: "all-reduce, parameter server, DiLoCo, NoLoCo, DeMo, SparseLoCo beside a swarm: loss, bytes and seconds to a loss",
    trains: true,
    run,
    conclude,
};

const PEERS: usize = 4;

/// Tokens of the default run.
const TOKENS: u64 = 1_500_000;

const SWARM: &str = "swarm";

/// A method with what is asked of the swarm beside it.
struct Rival {
    method: MethodName,
    /// What the swarm's saving of bytes is called, and how large it must be.
    fewer_bytes: (&'static str, Option<f64>),
}

const RIVALS: [Rival; 7] = [
    Rival { method: MethodName::AllReduce, fewer_bytes: ("bytes_ratio_allreduce", Some(100.0)) },
    Rival { method: MethodName::ParamServer, fewer_bytes: ("bytes_ratio_param_server", None) },
    Rival { method: MethodName::DiLoCo, fewer_bytes: ("bytes_ratio_diloco", Some(5.0)) },
    Rival { method: MethodName::NoLoCo, fewer_bytes: ("bytes_ratio_noloco", None) },
    Rival { method: MethodName::Demo, fewer_bytes: ("bytes_ratio_demo", Some(2.0)) },
    Rival { method: MethodName::SparseLoCo, fewer_bytes: ("bytes_ratio_sparseloco", Some(2.0)) },
    Rival { method: MethodName::Rounds, fewer_bytes: ("bytes_ratio_rounds", None) },
];

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for seed in &options.seeds {
        output.note(&format!("Training a swarm of {PEERS}, seed {seed} …"));
        let ours = TrainingRun { case: SWARM.to_owned(), peers: PEERS, tokens: TOKENS, sets: Vec::new() };
        tell(ours.sample(options, *seed)?);
        for Rival { method, .. } in RIVALS {
            let case = method.name().to_owned();
            output.note(&format!("Training by {case}, seed {seed} …"));
            let theirs = BaselineCase { case, method, peers: PEERS, tokens: TOKENS, sets: Vec::new() };
            tell(theirs.sample(options, *seed, &|_| Place::here())?);
        }
    }
    Ok(())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let ours = Case::of(samples, SWARM);
    let mut metrics = vec![ours.metric("val_loss_nats", "val_loss_swarm", "nats per byte")];
    let mut targets = Vec::new();
    for Rival { method, fewer_bytes: (name, least) } in RIVALS {
        let theirs = Case::of(samples, method.name());
        let word = method.name().replace('-', "_");
        metrics.push(theirs.metric("val_loss_nats", format!("val_loss_{word}"), "nats per byte"));
        metrics.push(to_one_loss(&ours, &theirs, name, |spent| spent.bytes));
        metrics.push(to_one_loss(&ours, &theirs, format!("seconds_ratio_{word}"), |spent| spent.seconds));
        targets.extend(least.map(|least| Target::AtLeast(name, least)));
    }
    Conclusion { metrics, targets, violations: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::suite::Point;

    #[test]
    fn what_a_loss_costs_is_compared_at_one_that_both_reached() {
        let sample = |case: &str, bytes: u64, losses: &[f64]| {
            let point = |(index, loss): (usize, &f64)| {
                let index = index as u64;
                Point { tokens: index, seconds: index as f64, bytes: bytes * index, loss: *loss }
            };
            Sample {
                case: case.to_owned(),
                seed: 1,
                curve: losses.iter().enumerate().map(point).collect(),
                ..Sample::default()
            }
        };
        let samples = [sample(SWARM, 1, &[6.0, 4.0, 2.0]), sample("diloco", 100, &[6.0, 5.0, 4.0])];
        let conclusion = conclude(&samples);
        let value = |name: &str| conclusion.metrics.iter().find(|metric| metric.name == name).and_then(|m| m.value);
        assert!((value("bytes_ratio_diloco").unwrap_or_default() - 200.0).abs() < 1e-9);
        assert!((value("seconds_ratio_diloco").unwrap_or_default() - 2.0).abs() < 1e-9);
        assert_eq!(value("bytes_ratio_demo"), None);
    }
}
