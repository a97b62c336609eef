//! The result of a benchmark: figures, targets they met or missed, and rules that were broken.

use std::borrow::Cow;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use crate::error::{Exit, Failure};

/// What a benchmark found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its name.
    pub suite: &'static str,
    /// Figures, in the order they are shown.
    pub metrics: Vec<Metric>,
    /// What was asked of some of them.
    pub targets: Vec<Target>,
    /// What must never happen and did, a sentence each.
    pub violations: Vec<String>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name; a promise.
    pub name: Cow<'static, str>,
    /// The figure; absent where it could not be measured.
    pub value: Option<f64>,
    /// What it counts.
    pub unit: Cow<'static, str>,
    /// Where the mean or median lies with 95 % confidence, where that makes sense.
    pub interval: Option<(f64, f64)>,
    /// Samples that failed and so are not in the figure.
    pub failed: usize,
}

/// A limit on a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The metric may not exceed it.
    AtMost(&'static str, f64),
    /// The metric must reach it.
    AtLeast(&'static str, f64),
}

impl Metric {
    /// A figure without an interval.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Option<f64>>,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { name: name.into(), value: value.into(), unit: unit.into(), interval: None, failed: 0 }
    }

    /// A count.
    pub fn count(name: &'static str, value: usize, unit: &'static str) -> Self {
        Self::new(name, value as f64, unit)
    }

    fn json(&self) -> Value {
        let interval = self.interval.map(|(low, high)| [low, high]);
        json!({ "value": self.value, "unit": self.unit, "interval": interval, "failed": self.failed })
    }
}

impl Target {
    fn metric(self) -> &'static str {
        match self {
            Self::AtMost(name, _) | Self::AtLeast(name, _) => name,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtMost(name, limit) => format!("{name} at most {limit}"),
            Self::AtLeast(name, limit) => format!("{name} at least {limit}"),
        }
    }
}

impl Report {
    /// Whether a target is met. What was not measured meets nothing.
    pub fn meets(&self, target: Target) -> bool {
        let value = self.metrics.iter().find(|metric| metric.name == target.metric()).and_then(|metric| metric.value);
        value.is_some_and(|value| match target {
            Target::AtMost(_, limit) => value <= limit,
            Target::AtLeast(_, limit) => value >= limit,
        })
    }

    /// `murmur.bench/1`.
    pub fn to_json(&self) -> Value {
        let metrics: Map<String, Value> = self.metrics.iter().map(|m| (m.name.to_string(), m.json())).collect();
        let target = |target: &Target| {
            let (bound, limit) = match target {
                Target::AtMost(_, limit) => ("at_most", limit),
                Target::AtLeast(_, limit) => ("at_least", limit),
            };
            json!({ "metric": target.metric(), bound: limit, "met": self.meets(*target) })
        };
        json!({
            "schema": "murmur.bench/1", "suite": self.suite, "metrics": metrics,
            "targets": self.targets.iter().map(target).collect::<Vec<_>>(), "violations": self.violations,
        })
    }

    /// The same for people.
    pub fn to_text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header([self.suite, "value", "unit", "95 % interval"]);
        for metric in &self.metrics {
            let value = metric.value.map_or_else(|| "not measured".to_owned(), number);
            let interval = metric.interval.map(|(low, high)| format!("{} to {}", number(low), number(high)));
            let failed = match metric.failed {
                0 => String::new(),
                failed => format!(" ({failed} failed left out)"),
            };
            let unit = format!("{}{failed}", metric.unit);
            table.add_row([metric.name.to_string(), value, unit, interval.unwrap_or_default()]);
        }
        table.column_mut(1).iter_mut().for_each(|column| {
            column.set_cell_alignment(CellAlignment::Right);
        });
        let judged = |target: &Target| {
            let word = if self.meets(*target) { "met" } else { "MISSED" };
            format!("{word}: {}", target.words())
        };
        let broken = self.violations.iter().map(|violation| format!("BROKEN: {violation}"));
        let lines = self.targets.iter().map(judged).chain(broken);
        std::iter::once(table.to_string()).chain(lines).collect::<Vec<_>>().join("\n")
    }

    /// Nothing when all targets are met and no rule was broken.
    ///
    /// # Errors
    /// [`Exit::Bug`] with the first broken rule; [`Exit::TargetMissed`] with all missed targets.
    pub fn verdict(&self) -> Result<(), Failure> {
        if let Some(first) = self.violations.first() {
            let message = format!("{} of the rules that must always hold were broken", self.violations.len());
            return Err(Failure::new(Exit::Bug, message).because(first));
        }
        let missed: Vec<_> = self.targets.iter().filter(|target| !self.meets(**target)).collect();
        if missed.is_empty() {
            return Ok(());
        }
        let words = missed.into_iter().map(|target| target.words()).collect::<Vec<_>>().join(", ");
        Err(Failure::new(Exit::TargetMissed, "a target was missed").because(words))
    }
}

/// Three significant digits or more.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.3}"),
        size if size >= 0.001 => format!("{value:.5}"),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn report(delay: Option<f64>) -> Report {
        Report {
            suite: "made-up",
            metrics: vec![Metric::new("delay_seconds", delay, "s"), Metric::count("peers", 3, "processes")],
            targets: vec![Target::AtMost("delay_seconds", 1.0), Target::AtLeast("peers", 2.0)],
            violations: Vec::new(),
        }
    }

    #[test]
    fn met_targets_end_well() {
        let good = report(Some(0.5));
        assert!(good.verdict().is_ok());
        assert_eq!(good.to_json()["metrics"]["delay_seconds"]["value"], 0.5);
        assert!(good.to_text().contains("met: peers at least 2"));
    }

    #[test]
    fn a_missed_or_unmeasured_target_has_its_own_code() {
        for delay in [Some(1.5), None] {
            let failure = report(delay).verdict().unwrap_err();
            assert_eq!(failure.exit(), Exit::TargetMissed);
            assert!(failure.sentence().contains("delay_seconds at most 1"));
        }
    }

    #[test]
    fn a_broken_rule_is_worse_than_a_missed_target() {
        let broken = Report { violations: vec!["roots differ".to_owned()], ..report(None) };
        assert_eq!(broken.verdict().unwrap_err().exit(), Exit::Bug);
        assert!(broken.to_text().contains("BROKEN: roots differ"));
    }
}
