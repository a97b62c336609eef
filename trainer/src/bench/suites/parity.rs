//! `parity`: whether a swarm learns as much from the same tokens as one machine alone.

use super::super::{
    baseline::{case::BaselineCase, group::Place, method::MethodName},
    cases::Case,
    report::{Metric, Target},
    suite::{Conclusion, Options, Sample, Suite},
    training_run::TrainingRun,
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "parity",
    about: "loss at equal tokens: swarms of 2, 4 and 8 beside one process with AdamW and with Muon",
    run,
    conclude,
};

/// Tokens of the default run.
const TOKENS: u64 = 1_500_000;

/// A size of swarm.
struct Size {
    peers: usize,
    /// What its gaps to one process with Muon and with AdamW are called.
    gaps: [&'static str; 2],
    /// How much higher than one process with Muon it may end.
    allowed: f64,
}

const SWARMS: [Size; 3] = [
    Size { peers: 2, gaps: ["gap_vs_central_muon_n2", "gap_vs_central_adamw_n2"], allowed: 0.02 },
    Size { peers: 4, gaps: ["gap_vs_central_muon_n4", "gap_vs_central_adamw_n4"], allowed: 0.03 },
    Size { peers: 8, gaps: ["gap_vs_central_muon_n8", "gap_vs_central_adamw_n8"], allowed: 0.05 },
];

/// One process, and the settings with which each optimizer learned most from these tokens (`experiments/parity`).
const CENTRAL: [(&str, &[&str]); 2] = [
    ("central adamw", &["train.optimizer=adamw", "train.batch=2", "train.lr=7.5e-4"]),
    ("central muon", &["train.optimizer=muon", "train.batch=4", "train.lr=2e-3", "train.muon_lr=0.01"]),
];

/// The figure that all are compared by.
const LOSS: &str = "val_loss_nats";

fn swarm(peers: usize) -> String {
    format!("swarm n={peers}")
}

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for seed in &options.seeds {
        for (case, sets) in CENTRAL {
            output.note(&format!("Training {case}, seed {seed} …"));
            let sets = sets.iter().map(|&set| set.to_owned()).collect();
            let method = MethodName::Central;
            let central = BaselineCase { case: case.to_owned(), method, peers: 1, tokens: TOKENS, sets };
            tell(central.sample(options, *seed, &|_| Place::here())?);
        }
        for Size { peers, .. } in SWARMS {
            output.note(&format!("Training a swarm of {peers}, seed {seed} …"));
            let asked = TrainingRun { case: swarm(peers), peers, tokens: TOKENS, sets: Vec::new() };
            tell(asked.sample(options, *seed)?);
        }
    }
    Ok(())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let [adamw, muon] = CENTRAL.map(|(name, _)| Case::of(samples, name));
    let swarms = SWARMS.map(|size| (Case::of(samples, &swarm(size.peers)), size));
    let unit = "nats per byte";
    let mut metrics =
        vec![adamw.metric(LOSS, "val_loss_central_adamw", unit), muon.metric(LOSS, "val_loss_central_muon", unit)];
    metrics.extend(swarms.iter().map(|(case, size)| case.metric(LOSS, format!("val_loss_n{}", size.peers), unit)));
    let mut targets = Vec::new();
    for (case, Size { gaps: [to_muon, to_adamw], allowed, .. }) in &swarms {
        metrics.push(gap(case.ratio_to(&muon, LOSS, *to_muon)));
        metrics.push(gap(case.ratio_to(&adamw, LOSS, *to_adamw)));
        targets.extend([Target::AtMost(to_muon, *allowed), Target::AtMost(to_adamw, 0.0)]);
    }
    for (case, Size { peers, .. }) in &swarms {
        metrics.push(case.metric("train_seconds", format!("train_seconds_n{peers}"), "s"));
        metrics.push(case.metric("sent_bytes", format!("sent_bytes_n{peers}"), "bytes of all peers"));
    }
    metrics.push(muon.metric("train_seconds", "train_seconds_central_muon", "s"));
    Conclusion { metrics, targets, violations: Vec::new() }
}

/// A ratio as what it is above one.
fn gap(ratio: Metric) -> Metric {
    let less_one = |value: f64| value - 1.0;
    Metric {
        value: ratio.value.map(less_one),
        interval: ratio.interval.map(|(low, high)| (low - 1.0, high - 1.0)),
        unit: "of its loss, above".into(),
        ..ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Report;

    #[test]
    fn a_gap_is_of_equal_seeds_and_meets_its_target_or_not() {
        let sample = |case: &str, seed: u64, loss: f64| {
            let figures = [(LOSS.to_owned(), loss)].into();
            Sample { case: case.to_owned(), seed, figures, ..Sample::default() }
        };
        let samples: Vec<Sample> = (1..=3)
            .flat_map(|seed| {
                let loss = f64::from(seed as u32);
                [
                    sample("central muon", seed, loss),
                    sample("swarm n=4", seed, 1.02 * loss),
                    sample("swarm n=8", seed, 1.1 * loss),
                ]
            })
            .collect();
        let conclusion = conclude(&samples);
        let value = |name: &str| conclusion.metrics.iter().find(|metric| metric.name == name).and_then(|m| m.value);
        assert_eq!(value("val_loss_n4"), Some(2.04));
        assert!((value("gap_vs_central_muon_n4").unwrap_or_default() - 0.02).abs() < 1e-9);
        assert_eq!(value("gap_vs_central_adamw_n4"), None, "nothing was measured");
        let Conclusion { metrics, targets, violations } = conclusion;
        let report = Report { suite: "parity", metrics, targets, violations };
        let [n4, n8] = [&SWARMS[1], &SWARMS[2]].map(|size| Target::AtMost(size.gaps[0], size.allowed));
        assert!(report.meets(n4) && !report.meets(n8));
    }
}
