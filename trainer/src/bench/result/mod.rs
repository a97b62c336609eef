//! The file of a result, `murmur.bench-result/1`: every sample of a suite, what they say, and where and how they were made.
//!
//! [`RunResult::new`] begins one, samples are added as they come, [`RunResult::conclude`] ends it. Digests over the header and the
//! samples are stored beside them, so that a file that was cut or edited is noticed. They are no signature: who edits a file on
//! purpose can compute them, too, but then the conclusion must follow from the samples.

mod header;
mod read;
mod write;

use serde_json::Value;

use super::{
    report::Report,
    suite::{Options, Sample, Suite},
};

pub use header::{Header, Tree};
pub use read::read;

/// Digits of a figure that are kept: as many as any reader of JSON gives back unchanged.
const DIGITS: usize = 12;

/// A result, complete or not.
#[derive(Debug, Clone, PartialEq)]
pub struct RunResult {
    /// Where and how it was made.
    pub header: Header,
    /// What was measured, in the order of measuring.
    pub samples: Vec<Sample>,
    /// What they say, a `murmur.bench/1`; null before the end.
    pub conclusion: Value,
    /// What of the file does not fit its digests; empty for one that was not read from a file.
    pub damage: Vec<String>,
}

impl RunResult {
    /// Without samples.
    pub fn new(header: Header) -> Self {
        Self { header, samples: Vec::new(), conclusion: Value::Null, damage: Vec::new() }
    }

    /// Adds a sample, its numbers rounded to what a file keeps.
    pub fn add(&mut self, mut sample: Sample) {
        sample.figures.retain(|_, value| value.is_finite());
        sample.figures.values_mut().for_each(|value| *value = rounded(*value));
        sample.curve.retain(|point| point.loss.is_finite() && point.seconds.is_finite());
        for point in &mut sample.curve {
            (point.loss, point.seconds) = (rounded(point.loss), rounded(point.seconds));
        }
        self.samples.push(sample);
    }

    /// What the samples say, by `suite`.
    pub fn conclude(&mut self, suite: &Suite) -> Report {
        let report = report(suite, &self.samples);
        self.conclusion = with_failures(&report, &self.samples);
        self.header.finished = true;
        report
    }

    /// The result in one line, for people.
    pub fn title(&self) -> String {
        let Header { suite, date, options: Options { seeds, .. }, .. } = &self.header;
        format!("{suite} of {date}, {} seeds", seeds.len())
    }
}

/// What samples say, by their suite.
pub(super) fn report(suite: &Suite, samples: &[Sample]) -> Report {
    let super::suite::Conclusion { metrics, targets, violations } = (suite.conclude)(samples);
    Report { suite: suite.name, metrics, targets, violations }
}

/// `murmur.bench/1`, with what failed.
pub(super) fn with_failures(report: &Report, samples: &[Sample]) -> Value {
    let mut object = report.to_json();
    let failed = samples.iter().filter_map(|sample| {
        let failure = sample.failure.as_ref()?;
        Some(serde_json::json!({ "case": sample.case, "seed": sample.seed, "failure": failure }))
    });
    let failed: Vec<Value> = failed.collect();
    if let Some(keys) = object.as_object_mut() {
        keys.insert("samples".to_owned(), samples.len().into());
        keys.insert("failed".to_owned(), failed.into());
    }
    object
}

fn rounded(value: f64) -> f64 {
    format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::super::{cases, suite::Conclusion};
    use super::*;

    /// A suite of this name whose conclusion is one median.
    pub(crate) const SUITE: Suite = Suite {
        name: "made-up",
        about: "Nothing.",
        trains: true,
        run: |_, _, _| Ok(()),
        conclude: |samples| Conclusion {
            metrics: vec![cases::Case::of(samples, "small").metric("step_seconds", "small_seconds", "s")],
            ..Conclusion::default()
        },
    };

    pub(crate) fn result() -> RunResult {
        let options = Options { seeds: vec![1, 2, 3, 4], tokens: None, sets: Vec::new() };
        let header = Header::new(SUITE.name, &options).unwrap();
        let mut result = RunResult::new(header);
        cases::tests::samples().into_iter().for_each(|sample| result.add(sample));
        result.conclude(&SUITE);
        result
    }

    #[test]
    fn numbers_are_kept_to_what_json_gives_back() {
        let [third, large] = [1.0 / 3.0, 123_456_789_012_345.0].map(rounded);
        assert_eq!((third, large), (0.333_333_333_333, 123_456_789_012_000.0));
        for value in [third, 1e-9 / 7.0, 2e17 / 3.0, 0.0, -5.5].map(rounded) {
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), value.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut result = result();
        let figures = [("a_seconds".to_owned(), f64::NAN), ("b_seconds".to_owned(), 1.0)].into();
        result.add(Sample { figures, ..Sample::default() });
        assert_eq!(result.samples.last().unwrap().figures.len(), 1);
    }

    #[test]
    fn a_conclusion_names_what_failed() {
        let result = result();
        assert_eq!(result.conclusion["schema"], "murmur.bench/1");
        assert_eq!(result.conclusion["metrics"]["small_seconds"]["failed"], 1);
        assert_eq!(result.conclusion["failed"][0]["seed"], 4);
        assert_eq!(result.conclusion["samples"], 8);
    }
}
