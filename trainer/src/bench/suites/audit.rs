//! `audit`: what audits cost beside training, in bytes and processor time. Short real runs with none, the default and all.

use super::super::{
    cases::Case,
    suite::{Conclusion, Options, Sample, Suite},
    training_run::{TrainingRun, per_token},
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "audit",
    about: "bytes and processor time of audits beside training: real runs with audit rates 0, 0.05 and 1",
    trains: true,
    run,
    conclude,
};

/// Audit rates, the one to compare with first.
const RATES: [&str; 3] = ["0", "0.05", "1"];

const PEERS: usize = 4;

/// Enough for some spans of every peer.
const TOKENS: u64 = 300_000;

fn case(rate: &str) -> String {
    format!("rate {rate}")
}

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for seed in &options.seeds {
        for rate in RATES {
            output.note(&format!("Training with audit rate {rate}, seed {seed} …"));
            let sets = vec![format!("audit.rate={rate}")];
            let asked = TrainingRun { case: case(rate), peers: PEERS, tokens: TOKENS, sets };
            tell(per_token(asked.sample(options, *seed)?));
        }
    }
    Ok(())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let base = Case::of(samples, &case(RATES[0]));
    let metrics = RATES.iter().skip(1).flat_map(|rate| {
        let (with, word) = (Case::of(samples, &case(rate)), rate.replace('.', "_"));
        [
            with.metric("audits_passed_count", format!("audits_passed_rate_{word}"), "audits a run"),
            with.ratio_to(&base, "bytes_a_token", format!("extra_bytes_rate_{word}"))
                .less_one("of a run without audits, added"),
            with.ratio_to(&base, "processor_microseconds_a_token", format!("extra_processor_time_rate_{word}"))
                .less_one("of a run without audits, added"),
        ]
    });
    Conclusion { metrics: metrics.collect(), ..Conclusion::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_audits_add_is_compared_by_the_token_and_the_seed() {
        let sample = |rate: &str, seed: u64, bytes: f64, tokens: f64| {
            let figures = [("sent_bytes".to_owned(), bytes), ("tokens_count".to_owned(), tokens)].into();
            per_token(Sample { case: case(rate), seed, figures, ..Sample::default() })
        };
        let samples: Vec<Sample> = (1..=3)
            .flat_map(|seed| {
                [sample("0", seed, 100.0 * seed as f64, 10.0), sample("1", seed, 300.0 * seed as f64, 20.0)]
            })
            .collect();
        let conclusion = conclude(&samples);
        let value = |name: &str| conclusion.metrics.iter().find(|metric| metric.name == name).and_then(|m| m.value);
        assert!((value("extra_bytes_rate_1").unwrap_or_default() - 0.5).abs() < 1e-9, "{conclusion:?}");
        assert_eq!(value("extra_bytes_rate_0_05"), None);
    }
}
