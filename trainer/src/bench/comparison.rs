//! `bench compare`: the same suite, twice. Says of each figure whether it changed, and only what equal seeds show.

use serde_json::{Value, json};

use super::{
    cases::{self, Case},
    figures::median,
    paired::{Claim, Ratio},
    report::number,
    result::RunResult,
};
use crate::{
    error::{Exit, Failure},
    observe::output::{Column, table, terminal_width},
};

/// Two results, figure by figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    suite: String,
    rows: Vec<Row>,
    /// Why they should not be compared; empty if they may be.
    differences: Vec<String>,
    /// What else a reader should know.
    remarks: Vec<String>,
}

/// One figure of one case.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    case: String,
    figure: String,
    /// Medians before and after.
    medians: [Option<f64>; 2],
    ratio: Option<Ratio>,
    /// Samples that failed, before and after.
    failed: usize,
}

impl Comparison {
    /// `after` beside `before`.
    ///
    /// # Errors
    /// [`Exit::Usage`] when suite, machine or configuration differ, or one is unfinished, unless `anyway`; [`Exit::Checkpoint`]
    /// for one that was edited, whatever is asked.
    pub fn new(before: &RunResult, after: &RunResult, anyway: bool) -> Result<Self, Failure> {
        if let Some(damage) = before.damage.iter().chain(&after.damage).next() {
            return Err(Failure::new(Exit::Checkpoint, "a result was edited")
                .because(damage)
                .hint("Run the suite again."));
        }
        let differences = before.header.differences(&after.header);
        if !differences.is_empty() && !anyway {
            let failure = Failure::new(Exit::Usage, "these results cannot be compared").because(differences.join("; "));
            return Err(failure
                .hint("Run both on one machine with one configuration. --anyway compares them all the same, marked."));
        }
        let names = [before, after].map(|result| cases::names(&result.samples));
        let [mine, theirs] = &names;
        let both = mine.iter().filter(|name| theirs.contains(name));
        let rows = both.flat_map(|name| rows(name, before, after)).collect();
        let lonely = |here: &[&str], there: &[&str], which: &str| {
            let only: Vec<&str> = here.iter().copied().filter(|name| !there.contains(name)).collect();
            (!only.is_empty()).then(|| format!("only {which} has: {}", only.join(", ")))
        };
        let mut remarks: Vec<String> =
            lonely(mine, theirs, "the first").into_iter().chain(lonely(theirs, mine, "the second")).collect();
        if before.header.platform != after.header.platform {
            remarks.push("the systems differ in version".to_owned());
        }
        Ok(Self { suite: before.header.suite.clone(), rows, differences, remarks })
    }

    /// `murmur.bench-compare/1`.
    pub fn to_json(&self) -> Value {
        let row = |row: &Row| {
            let ratio = row.ratio.map(|ratio| ratio.value);
            let interval = row.ratio.and_then(|ratio| ratio.interval).map(|(low, high)| [low, high]);
            json!({
                "case": row.case, "figure": row.figure, "before": row.medians[0], "after": row.medians[1],
                "ratio": ratio, "interval": interval, "pairs": row.pairs(), "failed": row.failed,
                "verdict": row.verdict(),
            })
        };
        json!({
            "schema": "murmur.bench-compare/1", "suite": self.suite, "comparable": self.differences.is_empty(),
            "differences": self.differences, "remarks": self.remarks,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }

    /// The same for people.
    pub fn to_text(&self) -> String {
        let columns = [
            Column::text("case", 0),
            Column::text("figure", 0),
            Column::number("before", 2),
            Column::number("after", 2),
            Column::number("ratio", 0),
            Column::number("95 % interval", 0),
            Column::number("pairs", 1),
            Column::text("verdict", 0),
        ];
        let row = |row: &Row| {
            let shown = |value: Option<f64>| value.map_or_else(|| "—".to_owned(), number);
            let interval = row.ratio.and_then(|ratio| ratio.interval);
            let failed = if row.failed > 0 { format!(" ({} failed left out)", row.failed) } else { String::new() };
            vec![
                row.case.clone(),
                row.figure.clone(),
                shown(row.medians[0]),
                shown(row.medians[1]),
                row.ratio.map_or_else(|| "—".to_owned(), |ratio| format!("{:.3}", ratio.value)),
                interval.map_or_else(String::new, |(low, high)| format!("{low:.3} to {high:.3}")),
                row.pairs().to_string(),
                format!("{}{failed}", row.verdict()),
            ]
        };
        let marks = self.differences.iter().map(|why| format!("NOT COMPARABLE: {why}"));
        let table = table(&columns, &self.rows.iter().map(row).collect::<Vec<_>>(), terminal_width());
        let remarks = self.remarks.iter().map(|remark| format!("Note: {remark}."));
        marks.chain(std::iter::once(table)).chain(remarks).collect::<Vec<_>>().join("\n")
    }
}

fn rows(name: &str, before: &RunResult, after: &RunResult) -> Vec<Row> {
    let [before, after] = [before, after].map(|result| Case::of(&result.samples, name));
    let mut figures = [before.figures(), after.figures()].concat();
    figures.sort_unstable();
    figures.dedup();
    let failed = before.failures().count() + after.failures().count();
    let row = |figure: &str| Row {
        case: name.to_owned(),
        figure: figure.to_owned(),
        medians: [&before, &after].map(|case| median(&case.values(figure))),
        ratio: Ratio::of(&before.pairs(&after, figure)),
        failed,
    };
    figures.into_iter().map(row).collect()
}

impl Row {
    fn pairs(&self) -> usize {
        self.ratio.map_or(0, |ratio| ratio.pairs)
    }

    /// What the pairs show of this figure.
    fn verdict(&self) -> String {
        match self.ratio.map_or(Claim::TooFew, Ratio::claim) {
            Claim::TooFew => format!("too few pairs to say ({}, at least 3)", self.pairs()),
            Claim::NotShown => "no difference shown".to_owned(),
            Claim::More => words(&self.figure)[1].to_owned(),
            Claim::Less => words(&self.figure)[0].to_owned(),
        }
    }
}

/// What a figure is when it is less and when it is more.
fn words(figure: &str) -> [&'static str; 2] {
    if figure.ends_with("_per_second") {
        ["slower", "faster"]
    } else if figure.ends_with("_seconds") {
        ["faster", "slower"]
    } else if figure.ends_with("_bytes") || figure.ends_with("_count") {
        ["fewer", "more"]
    } else {
        ["lower", "higher"]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::result::tests::result;
    use super::*;

    /// The result with one figure of the small case scaled.
    fn scaled(factor: f64) -> RunResult {
        let mut result = result();
        for sample in result.samples.iter_mut().filter(|sample| sample.case == "small") {
            sample.figures.entry("step_seconds".to_owned()).and_modify(|value| *value *= factor);
        }
        result
    }

    fn verdict(comparison: &Comparison, case: &str, figure: &str) -> String {
        comparison.rows.iter().find(|row| row.case == case && row.figure == figure).unwrap().verdict()
    }

    #[test]
    fn what_equal_seeds_show_is_said_and_no_more() {
        let comparison = Comparison::new(&result(), &scaled(0.5), false).unwrap();
        assert_eq!(verdict(&comparison, "small", "step_seconds"), "faster");
        assert_eq!(verdict(&comparison, "large & slow", "step_seconds"), "no difference shown");
        let object = comparison.to_json();
        assert_eq!((&object["schema"], &object["comparable"]), (&"murmur.bench-compare/1".into(), &true.into()));
        assert_eq!(object["rows"].as_array().unwrap().len(), 4);
        assert!(comparison.to_text().contains("2 failed left out"));
    }

    #[test]
    fn fewer_than_three_pairs_carry_no_claim() {
        let mut after = scaled(0.5);
        after.samples.retain(|sample| sample.seed < 3);
        let comparison = Comparison::new(&result(), &after, false).unwrap();
        assert_eq!(verdict(&comparison, "small", "step_seconds"), "too few pairs to say (2, at least 3)");
    }

    #[test]
    fn other_machines_configurations_and_suites_are_refused_unless_asked_and_then_marked() {
        let before = result();
        let change = |change: fn(&mut RunResult)| {
            let mut after = result();
            change(&mut after);
            after
        };
        for (after, why) in [
            (change(|after| after.header.hardware.cores += 1), "the machines differ"),
            (change(|after| after.header.config_digest = "other".to_owned()), "the configurations differ"),
            (change(|after| after.header.suite = "other".to_owned()), "the suites differ"),
            (change(|after| after.header.finished = false), "unfinished"),
        ] {
            let failure = Comparison::new(&before, &after, false).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(failure.sentence().contains(why), "{}", failure.sentence());
            let forced = Comparison::new(&before, &after, true).unwrap();
            assert!(forced.to_text().starts_with("NOT COMPARABLE: ") && forced.to_json()["comparable"] == false);
        }
        let mut edited = result();
        edited.damage.push("the samples".to_owned());
        assert_eq!(Comparison::new(&before, &edited, true).unwrap_err().exit(), Exit::Checkpoint);
    }

    #[test]
    fn cases_of_one_result_alone_are_named() {
        let mut after = result();
        after.samples.retain(|sample| sample.case == "small");
        let text = Comparison::new(&result(), &after, false).unwrap().to_text();
        assert!(text.contains("only the first has: large & slow"), "{text}");
    }

    #[test]
    fn more_of_a_speed_is_faster_and_of_a_time_slower() {
        assert_eq!(words("tokens_per_second"), ["slower", "faster"]);
        assert_eq!(words("step_seconds"), ["faster", "slower"]);
        assert_eq!(words("val_loss_nats"), ["lower", "higher"]);
    }
}
