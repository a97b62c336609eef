//! `churn`: the benchmark `bench churn` once for each seed.

use serde_json::Value;

use super::super::{
    cases::Case,
    child::Ended,
    suite::{Conclusion, Options, Sample, Suite},
};
use crate::{
    error::{Exit, Failure},
    observe::output::Output,
};

pub(super) const SUITE: Suite = Suite {
    name: "churn",
    about: "peers are killed, frozen and started again; how long until they agree, and whether a rule was broken",
    trains: false,
    run,
    conclude,
};

const CASE: &str = "eight peers, 60 s";

/// What a failed sample begins with when a rule was broken.
const BROKEN: &str = "a rule was broken: ";

/// What is shown of a sample: figure, unit.
const SHOWN: [(&str, &str); 6] = [
    ("settled_seconds", "s"),
    ("longest_pause_seconds", "s, of a peer that was never frozen"),
    ("memory_resident_mib", "MiB, one process"),
    ("memory_growth_percent", "%, worst process"),
    ("updates", "updates in the final set"),
    ("killed", "processes"),
];

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    if let Some(set) = options.sets.first() {
        return Err(Failure::new(Exit::Usage, format!("the suite churn takes no settings, and was given {set}"))
            .hint("`murmur bench churn --help` shows what can be chosen there."));
    }
    for seed in &options.seeds {
        output.note(&format!("Disturbing peers for a minute, seed {seed} …"));
        let ended = Ended::of(&["bench", "churn", "--seed", &seed.to_string()].map(str::to_owned))?;
        if ended.code == Some(i32::from(Exit::TryAgain.code())) && ended.objects.is_empty() {
            return Err(Failure::new(Exit::TryAgain, "stopped before the benchmark was over"));
        }
        tell(sample(&ended, *seed));
    }
    Ok(())
}

fn sample(ended: &Ended, seed: u64) -> Sample {
    let sample = Sample { case: CASE.to_owned(), seed, ..Sample::default() };
    let Some(report) = ended.last("murmur.bench/1") else {
        return Sample { failure: Some(ended.failure()), ..sample };
    };
    let broken: Vec<&str> = report["violations"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !broken.is_empty() {
        return Sample { failure: Some(format!("{BROKEN}{}", broken.join("; "))), ..sample };
    }
    let metrics = report["metrics"].as_object().into_iter().flatten();
    let figures = metrics.filter_map(|(name, metric)| Some((name.clone(), metric["value"].as_f64()?)));
    Sample { figures: figures.collect(), ..sample }
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let case = Case::of(samples, CASE);
    let metrics = SHOWN.into_iter().map(|(figure, unit)| case.metric(figure, figure, unit)).collect();
    let violations = case.failures().filter_map(|sample| {
        let broken = sample.failure.as_deref()?.strip_prefix(BROKEN)?;
        Some(format!("seed {}: {broken}", sample.seed))
    });
    Conclusion { metrics, targets: Vec::new(), violations: violations.collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ended(objects: Vec<Value>) -> Ended {
        Ended { objects, code: Some(0), log: "the log".to_owned(), seconds: 1.0, processor_seconds: None }
    }

    #[test]
    fn a_broken_rule_is_a_violation_and_a_crash_is_a_failed_sample() {
        let report = |violations: &[&str]| json!({ "schema": "murmur.bench/1", "metrics": { "killed": { "value": 3.0 } }, "violations": violations });
        let good = sample(&ended(vec![report(&[])]), 1);
        let broken = sample(&ended(vec![report(&["roots differ"])]), 2);
        let crashed = sample(&ended(Vec::new()), 3);
        assert_eq!(good.figures["killed"], 3.0);
        assert!(crashed.failure.as_deref().is_some_and(|failure| failure.contains("the log")));
        let conclusion = conclude(&[good, broken, crashed]);
        assert_eq!(conclusion.violations, ["seed 2: roots differ"]);
        assert!(conclusion.metrics.iter().all(|metric| metric.failed == 2));
    }
}
