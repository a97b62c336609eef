//! What the terminal shows of results: every figure of every case, and what failed.

use super::super::{
    cases::{self, Case},
    figures::{bootstrap, median},
    report::number,
    result::RunResult,
};
use crate::observe::output::{Column, table, terminal_width};

/// A result as a table of medians, with its failures below.
pub fn summary(result: &RunResult) -> String {
    let columns = [
        Column::text("case", 0),
        Column::text("figure", 0),
        Column::number("median", 0),
        Column::number("95 % interval", 2),
        Column::number("seeds", 1),
    ];
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for name in cases::names(&result.samples) {
        let case = Case::of(&result.samples, name);
        for figure in case.figures() {
            let values = case.values(figure);
            let interval = bootstrap(&values, median).map(|(low, high)| format!("{} to {}", number(low), number(high)));
            let middle = median(&values).map_or_else(|| "—".to_owned(), number);
            let seeds = values.len().to_string();
            rows.push(vec![name.to_owned(), figure.to_owned(), middle, interval.unwrap_or_default(), seeds]);
        }
        for sample in case.failures() {
            let none = || "—".to_owned();
            rows.push(vec![
                name.to_owned(),
                "FAILED".to_owned(),
                none(),
                String::new(),
                format!("seed {}", sample.seed),
            ]);
            let reason = sample.failure.as_deref().unwrap_or_default();
            failures.push(format!("FAILED {name}, seed {}: {reason}", sample.seed));
        }
    }
    let unfinished = (!result.header.finished).then(|| "UNFINISHED: the suite was stopped.".to_owned());
    let damage = result.damage.iter().map(|what| format!("EDITED: {what}"));
    let head = format!("{} · {}", result.title(), result.header.tree_in_words());
    let table = table(&columns, &rows, terminal_width());
    let lines = [head, result.header.hardware.sentence(), table].into_iter();
    lines.chain(unfinished).chain(damage).chain(failures).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::super::result::tests::result;
    use super::*;

    #[test]
    fn a_failure_is_a_row_and_its_log_stands_below() {
        let text = summary(&result());
        assert!(text.contains("FAILED") && text.contains("FAILED small, seed 4: exit 1: <out of luck>"), "{text}");
        assert!(text.contains("step_seconds") && text.contains("large & slow"));
    }
}
