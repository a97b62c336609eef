//! Results as comma-separated values, a line each: samples by figure, and points of curves (RFC 4180).

use std::fmt::Write as _;

use super::super::result::RunResult;

/// One row for each case, seed and figure; a failed sample has a row with its reason.
pub fn samples(results: &[(String, RunResult)]) -> String {
    let mut text = "file,suite,case,seed,figure,value,failure\r\n".to_owned();
    for (file, result) in results {
        for sample in &result.samples {
            let [file, suite, case] = [file, &result.header.suite, &sample.case].map(|cell| quoted(cell));
            let seed = sample.seed;
            for (figure, value) in &sample.figures {
                // Writing to a String cannot fail.
                let _ = write!(text, "{file},{suite},{case},{seed},{},{value},\r\n", quoted(figure));
            }
            if let Some(failure) = &sample.failure {
                let _ = write!(text, "{file},{suite},{case},{seed},,,{}\r\n", quoted(failure));
            }
        }
    }
    text
}

/// One row for each point of each curve.
pub fn curves(results: &[(String, RunResult)]) -> String {
    let mut text = "file,suite,case,seed,tokens,seconds,bytes,loss_nats\r\n".to_owned();
    for (file, result) in results {
        for sample in &result.samples {
            let [file, suite, case] = [file, &result.header.suite, &sample.case].map(|cell| quoted(cell));
            for point in &sample.curve {
                let (tokens, seconds, bytes, loss) = (point.tokens, point.seconds, point.bytes, point.loss);
                let _ = write!(text, "{file},{suite},{case},{},{tokens},{seconds},{bytes},{loss}\r\n", sample.seed);
            }
        }
    }
    text
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::super::result::tests::result;
    use super::*;

    #[test]
    fn every_case_seed_and_figure_has_a_row_and_so_has_a_failure() {
        let text = samples(&[("a,b.json".to_owned(), result())]);
        assert_eq!(text.lines().count(), 1 + 7 * 2 + 1);
        assert!(text.contains("\"a,b.json\",made-up,large & slow,3,step_seconds,6,\r\n"), "{text}");
        assert!(text.ends_with("small,4,,,\"exit 1: <out of luck> & \"\"more\"\"\"\r\n"), "{text}");
    }
}
