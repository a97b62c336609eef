//! Reading a result, and finding out whether it is what was written and says what its samples say.

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Header, RunResult, report, with_failures,
    write::{SCHEMA, digest},
};
use crate::{
    bench::suite::{Sample, Suite},
    error::{Exit, Failure},
};

/// Relative difference of two numbers that count as one: what writing and reading may round.
const DIFFERENCE_MAX: f64 = 1e-9;

/// How many differing values are named.
const NAMED_MAX: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(rename = "schema")]
    _schema: String,
    header: Header,
    samples: Vec<Sample>,
    conclusion: Value,
    digests: Digests,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Digests {
    header: String,
    samples: String,
}

/// Reads a file. One whose parts do not fit their digests is read all the same, and says so.
///
/// # Errors
/// [`Exit::Checkpoint`] when it is missing, cut or no result; [`Exit::Version`] for one of another version.
pub fn read(path: &Path) -> Result<RunResult, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::io(Exit::Checkpoint, "read", path, &error))?;
    parse(&text).map_err(|failure| failure.at(path.display()))
}

fn parse(text: &str) -> Result<RunResult, Failure> {
    let whole = "Use the file as `murmur bench run` wrote it, or run the suite again.";
    let damaged = |error: serde_json::Error| {
        Failure::new(Exit::Checkpoint, "this is no whole result of a benchmark").because(error).hint(whole)
    };
    let value: Value = serde_json::from_str(text).map_err(damaged)?;
    match value["schema"].as_str() {
        Some(SCHEMA) => {}
        Some(other) if other.starts_with("murmur.bench-result/") => {
            let message = format!("this result is a {other}, and this program reads {SCHEMA}");
            return Err(Failure::new(Exit::Version, message));
        }
        _ => {
            let message = format!("this is no result of a benchmark: its schema is not {SCHEMA}");
            return Err(Failure::new(Exit::Checkpoint, message).hint(whole));
        }
    }
    let Stored { header, samples, conclusion, digests, .. } = serde_json::from_str(text).map_err(damaged)?;
    let of = |name: &str, found: String, said: &str| {
        let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
        (found != said)
            .then(|| format!("the {name}: their digest is {}…, and the file says {}…", short(&found), short(said)))
    };
    let header_damage = of("facts about the run (header)", digest(&header), &digests.header);
    let samples_damage = of("samples", digest(&samples), &digests.samples);
    let damage = header_damage.into_iter().chain(samples_damage).collect();
    Ok(RunResult { header, samples, conclusion, damage })
}

impl RunResult {
    /// What does not match, a sentence each: parts and their digests, the conclusion and what `suite` concludes from the samples.
    /// Empty for a sound and finished result.
    pub fn mismatches(&self, suite: &Suite) -> Vec<String> {
        let mut found = self.damage.clone();
        if !self.header.finished {
            found.push(format!("the run: it was stopped after {} samples", self.samples.len()));
            return found;
        }
        let again = with_failures(&report(suite, &self.samples), &self.samples);
        let mut differing = Vec::new();
        compare("", &self.conclusion, &again, &mut differing);
        let more = differing.len().saturating_sub(NAMED_MAX);
        found.extend(differing.into_iter().take(NAMED_MAX).map(|what| format!("the conclusion: {what}")));
        found.extend((more > 0).then(|| format!("the conclusion: {more} more values")));
        found
    }
}

/// Every value of `stored` that is not that of `again`, with its path.
fn compare(path: &str, stored: &Value, again: &Value, found: &mut Vec<String>) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (stored, again) {
        (Value::Object(stored), Value::Object(again)) => {
            let mut keys: Vec<&String> = stored.keys().chain(again.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let [one, other] = [stored, again].map(|object| object.get(key).unwrap_or(&Value::Null));
                compare(&inner(key), one, other, found);
            }
        }
        (Value::Array(stored), Value::Array(again)) if stored.len() == again.len() => {
            for (index, (one, other)) in stored.iter().zip(again).enumerate() {
                compare(&inner(&index.to_string()), one, other, found);
            }
        }
        (stored, again) if equal(stored, again) => {}
        (stored, again) => found.push(format!("{path} is {stored}, and the samples give {again}")),
    }
}

fn equal(stored: &Value, again: &Value) -> bool {
    match (stored.as_f64(), again.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= DIFFERENCE_MAX * one.abs().max(other.abs()),
        _ => stored == again,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{SUITE, result};
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_matches() {
        let written = result();
        let read = parse(&written.to_json()).unwrap();
        assert_eq!((&read.header, &read.samples, read.damage.len()), (&written.header, &written.samples, 0));
        assert_eq!(read.mismatches(&SUITE), Vec::<String>::new());
        // Laid out otherwise it is the same.
        let value: Value = serde_json::from_str(&written.to_json()).unwrap();
        assert!(parse(&value.to_string()).unwrap().mismatches(&SUITE).is_empty());
    }

    #[test]
    fn an_edited_file_names_what_does_not_match() {
        let text = result().to_json();
        let edited = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            parse(&text.replacen(from, to, 1)).unwrap().mismatches(&SUITE)
        };
        let sample = edited("\"step_seconds\": 1.0", "\"step_seconds\": 0.1");
        assert!(sample[0].starts_with("the samples: their digest"), "{sample:?}");
        let cores = edited("\"cores\": ", "\"cores\": 9");
        assert!(cores[0].starts_with("the facts about the run"), "{cores:?}");
        let metric = edited("\"value\": 2.0", "\"value\": 1.0");
        assert_eq!(metric, ["the conclusion: metrics.small_seconds.value is 1.0, and the samples give 2.0"]);
        let failure = edited("\"failed\": 1", "\"failed\": 0");
        assert_eq!(failure, ["the conclusion: metrics.small_seconds.failed is 0, and the samples give 1"]);
    }

    #[test]
    fn a_cut_file_and_one_of_something_else_are_refused_with_exit_21() {
        let text = result().to_json();
        for wrong in [&text[..text.len() / 2], "", "{}", "[1]", "{\"schema\":\"murmur.bench/1\"}"] {
            let failure = parse(wrong).unwrap_err();
            assert_eq!(failure.exit(), Exit::Checkpoint, "{}", failure.sentence());
        }
        let newer = text.replace("bench-result/1", "bench-result/2");
        assert_eq!(parse(&newer).unwrap_err().exit(), Exit::Version);
    }

    #[test]
    fn an_unfinished_result_is_one() {
        let mut unfinished = result();
        unfinished.header.finished = false;
        let found = parse(&unfinished.to_json()).unwrap().mismatches(&SUITE);
        assert_eq!(found, ["the run: it was stopped after 8 samples"]);
    }

    #[test]
    fn a_file_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        let mut result = result();
        result.header.finished = false;
        result.write(&path).unwrap();
        assert!(!path.exists() && RunResult::part(&path).exists());
        result.header.finished = true;
        result.write(&path).unwrap();
        assert!(path.exists() && !RunResult::part(&path).exists());
        assert_eq!(read(&path).unwrap().samples, result.samples);
        assert_eq!(read(&folder.path().join("none")).unwrap_err().exit(), Exit::Checkpoint);
    }
}
