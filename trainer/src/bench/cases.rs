//! Samples by case: what suites conclude from, and what reports show.

use std::borrow::Cow;

use super::{
    figures::{bootstrap, median},
    paired::Ratio,
    report::Metric,
    suite::Sample,
};

/// The names of all cases, in the order in which they were first run.
pub(super) fn names(samples: &[Sample]) -> Vec<&str> {
    let mut names = Vec::new();
    for sample in samples.iter().filter(|sample| !sample.case.is_empty()) {
        if !names.contains(&sample.case.as_str()) {
            names.push(&sample.case);
        }
    }
    names
}

/// All samples of one case.
#[derive(Debug, Clone)]
pub(super) struct Case<'a>(Vec<&'a Sample>);

impl<'a> Case<'a> {
    /// Those of the case called `name`; there may be none.
    pub(super) fn of(samples: &'a [Sample], name: &str) -> Self {
        Self(samples.iter().filter(|sample| sample.case == name).collect())
    }

    /// Names of all its figures, sorted.
    pub(super) fn figures(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.0.iter().flat_map(|sample| sample.figures.keys().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What was measured, one value a sample that has it.
    pub(super) fn values(&self, figure: &str) -> Vec<f64> {
        self.0.iter().filter_map(|sample| sample.figures.get(figure).copied()).collect()
    }

    /// Samples that failed.
    pub(super) fn failures(&self) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().copied().filter(|sample| sample.failure.is_some())
    }

    /// All its samples.
    pub(super) fn samples(&self) -> &[&'a Sample] {
        &self.0
    }

    /// The median of a figure over the seeds, with its interval, and how many samples failed.
    pub(super) fn metric(
        &self,
        figure: &str,
        name: impl Into<Cow<'static, str>>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Metric {
        let values = self.values(figure);
        let interval = bootstrap(&values, median);
        Metric { interval, failed: self.failures().count(), ..Metric::new(name, median(&values), unit) }
    }

    /// Values of a figure in `self` and in `other` with equal seeds.
    pub(super) fn pairs(&self, other: &Case<'_>, figure: &str) -> Vec<(f64, f64)> {
        let value = |sample: &Sample| sample.figures.get(figure).copied();
        let pair = |sample: &&&Sample| {
            let twin = other.0.iter().find(|twin| twin.seed == sample.seed)?;
            value(sample).zip(value(twin))
        };
        self.0.iter().filter_map(|sample| pair(&sample)).collect()
    }

    /// The ratio of a figure in `self` to that in `base`, over equal seeds, with its interval.
    pub(super) fn ratio_to(&self, base: &Case<'_>, figure: &str, name: impl Into<Cow<'static, str>>) -> Metric {
        let ratio = Ratio::of(&base.pairs(self, figure));
        let failed = self.failures().count() + base.failures().count();
        let interval = ratio.and_then(|ratio| ratio.interval);
        Metric { interval, failed, ..Metric::new(name, ratio.map(|ratio| ratio.value), "×") }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Samples of two cases with three seeds, of which one failed.
    pub(crate) fn samples() -> Vec<Sample> {
        let sample = |case: &str, seed: u64, seconds: f64| Sample {
            case: case.to_owned(),
            seed,
            figures: [("step_seconds".to_owned(), seconds), ("sent_bytes".to_owned(), 1000.0)].into(),
            ..Sample::default()
        };
        let failed = Sample {
            case: "small".to_owned(),
            seed: 4,
            failure: Some("exit 1: <out of luck> & \"more\"".to_owned()),
            ..Sample::default()
        };
        let mut samples: Vec<Sample> = (1..=4).map(|seed| sample("large & slow", seed, 2.0 * seed as f64)).collect();
        samples.extend((1..=3).map(|seed| sample("small", seed, seed as f64)));
        samples.push(failed);
        samples
    }

    #[test]
    fn a_metric_is_a_median_and_says_what_failed() {
        let samples = samples();
        assert_eq!(names(&samples), ["large & slow", "small"]);
        let metric = Case::of(&samples, "small").metric("step_seconds", "small_seconds", "s");
        assert_eq!((metric.value, metric.interval, metric.failed), (Some(2.0), Some((1.0, 3.0)), 1));
        assert_eq!(Case::of(&samples, "none").metric("step_seconds", "x", "s").value, None);
    }

    #[test]
    fn a_ratio_is_of_equal_seeds_only() {
        let samples = samples();
        let [large, small] = ["large & slow", "small"].map(|name| Case::of(&samples, name));
        assert_eq!(small.pairs(&large, "step_seconds"), [(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]);
        let ratio = large.ratio_to(&small, "step_seconds", "slower");
        assert!((ratio.value.unwrap_or_default() - 2.0).abs() < 1e-9 && ratio.failed == 1);
        assert_eq!(large.figures(), ["sent_bytes", "step_seconds"]);
    }
}
