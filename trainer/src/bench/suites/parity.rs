//! `parity`: whether a swarm learns as much from the same tokens as one machine alone.

use super::super::{
    baseline::{case::BaselineCase, group::Place, method::MethodName},
    cases::Case,
    report::Target,
    suite::{Conclusion, Options, Sample, Suite},
    training_run::TrainingRun,
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "parity",
    about: "loss at equal tokens: swarms of 2, 4 and 8 beside one process with AdamW and with Muon",
    trains: true,
    run,
    conclude,
};

/// Tokens of the default run.
const TOKENS: u64 = 1_500_000;

/// `eval.sequences` of all founders of a swarm together: four times the default.
const EVALUATED: usize = 128;

/// A swarm.
struct Swarm {
    /// The end of its figures' names.
    name: &'static str,
    peers: usize,
    /// The settings, found by a search as those of one process were (`experiments/parity`).
    sets: &'static [&'static str],
    /// What its gaps to one process with Muon and with AdamW are called.
    gaps: [&'static str; 2],
    /// How much higher than one process with Muon it may end, if there is a target.
    allowed: Option<f64>,
}

const SWARMS: [Swarm; 4] = [
    Swarm {
        name: "n2",
        peers: 2,
        sets: &["train.muon_lr=0.014"],
        gaps: ["gap_vs_central_muon_n2", "gap_vs_central_adamw_n2"],
        allowed: Some(0.02),
    },
    Swarm {
        name: "n4",
        peers: 4,
        sets: &["train.batch=1"],
        gaps: ["gap_vs_central_muon_n4", "gap_vs_central_adamw_n4"],
        allowed: Some(0.03),
    },
    Swarm {
        name: "n8",
        peers: 8,
        sets: &["train.batch=1", "train.steps=3"],
        gaps: ["gap_vs_central_muon_n8", "gap_vs_central_adamw_n8"],
        allowed: Some(0.05),
    },
    // What `murmur run` does: larger batches, as a loss is reached in less time with them.
    Swarm {
        name: "default",
        peers: 4,
        sets: &[],
        gaps: ["gap_vs_central_muon_default", "gap_vs_central_adamw_default"],
        allowed: None,
    },
];

/// One process, and the settings with which each optimizer learned most from these tokens (`experiments/parity`).
const CENTRAL: [(&str, &[&str]); 2] = [
    ("central adamw", &["train.optimizer=adamw", "train.batch=2", "train.lr=7.5e-4"]),
    ("central muon", &["train.optimizer=muon", "train.batch=4", "train.lr=2e-3", "train.muon_lr=0.01"]),
];

/// The figure that all are compared by.
const LOSS: &str = "val_loss_nats";

impl Swarm {
    fn case(&self) -> String {
        if self.sets.is_empty() { format!("swarm {}", self.name) } else { format!("swarm n={}", self.peers) }
    }
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
        for swarm in SWARMS {
            let (case, peers) = (swarm.case(), swarm.peers);
            output.note(&format!("Training {case}, seed {seed} …"));
            // Each founder measures its part at the end: so all swarms measure the same windows, and as many as one process.
            let evaluated = format!("eval.sequences={}", EVALUATED / peers);
            let sets = swarm.sets.iter().map(|&set| set.to_owned()).chain([evaluated]).collect();
            let asked = TrainingRun { case, peers, tokens: TOKENS, sets };
            tell(asked.sample(options, *seed)?);
        }
    }
    Ok(())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let [adamw, muon] = CENTRAL.map(|(name, _)| Case::of(samples, name));
    let swarms = SWARMS.map(|swarm| (Case::of(samples, &swarm.case()), swarm));
    let unit = "nats per byte";
    let mut metrics =
        vec![adamw.metric(LOSS, "val_loss_central_adamw", unit), muon.metric(LOSS, "val_loss_central_muon", unit)];
    metrics.extend(swarms.iter().map(|(case, swarm)| case.metric(LOSS, format!("val_loss_{}", swarm.name), unit)));
    let mut targets = Vec::new();
    for (case, Swarm { gaps: [to_muon, to_adamw], allowed, .. }) in &swarms {
        metrics.push(case.ratio_to(&muon, LOSS, *to_muon).less_one("of its loss, above"));
        metrics.push(case.ratio_to(&adamw, LOSS, *to_adamw).less_one("of its loss, above"));
        targets.extend(allowed.map(|allowed| Target::AtMost(to_muon, allowed)));
        targets.push(Target::AtMost(to_adamw, 0.0));
    }
    for (case, Swarm { name, .. }) in &swarms {
        metrics.push(case.metric("train_seconds", format!("train_seconds_{name}"), "s"));
        metrics.push(case.metric("sent_bytes", format!("sent_bytes_{name}"), "bytes of all peers"));
    }
    metrics.push(muon.metric("train_seconds", "train_seconds_central_muon", "s"));
    Conclusion { metrics, targets, violations: Vec::new() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
        let [n4, n8] = [&SWARMS[1], &SWARMS[2]].map(|swarm| Target::AtMost(swarm.gaps[0], swarm.allowed.unwrap()));
        assert!(report.meets(n4) && !report.meets(n8));
    }
}
