//! One real run, `murmur run`, as a sample: its curve, its end, and what it cost.

use serde_json::Value;

use super::{
    child::Ended,
    suite::{Options, Point, Sample},
};
use crate::error::{Exit, Failure};

/// A run with local peers.
#[derive(Debug, Clone)]
pub(super) struct TrainingRun {
    /// What the case is called.
    pub(super) case: String,
    /// Peers on this machine.
    pub(super) peers: usize,
    /// Tokens of all peers together, unless the options say another number.
    pub(super) tokens: u64,
    /// Settings of the case; those of the options come after them.
    pub(super) sets: Vec<String>,
}

impl TrainingRun {
    /// Runs it with `seed`. One that fails is a failed sample.
    ///
    /// # Errors
    /// [`Exit::TryAgain`] when it was stopped from outside; [`Exit::Device`] when it cannot be started.
    pub(super) fn sample(&self, options: &Options, seed: u64) -> Result<Sample, Failure> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::new(Exit::DiskFull, "cannot make a folder for a run").because(error))?;
        let tokens = options.tokens.unwrap_or(self.tokens);
        let state = folder.path().join("run").display().to_string();
        let mut arguments: Vec<String> =
            ["run", "--local", &self.peers.to_string(), "--tokens", &tokens.to_string()].map(str::to_owned).to_vec();
        arguments.extend(["--seed".to_owned(), seed.to_string(), "--state-dir".to_owned(), state]);
        arguments.extend(self.sets.iter().chain(&options.sets).flat_map(|set| ["--set".to_owned(), set.clone()]));
        let ended = Ended::of(&arguments)?;
        if ended.code == Some(i32::from(Exit::TryAgain.code())) {
            return Err(Failure::new(Exit::TryAgain, "stopped before the benchmark was over"));
        }
        let sample = Sample { case: self.case.clone(), seed, ..Sample::default() };
        Ok(match ended.last("murmur.summary/1") {
            Some(summary) if ended.code == Some(0) => Sample {
                figures: figures(summary, &ended).into_iter().collect(),
                curve: ended.objects.iter().filter_map(point).collect(),
                ..sample
            },
            Some(_) | None => Sample { failure: Some(ended.failure()), ..sample },
        })
    }
}

fn figures(summary: &Value, ended: &Ended) -> Vec<(String, f64)> {
    let read = |name: &str, value: &Value| Some((name.to_owned(), value.as_f64()?));
    let mut figures: Vec<_> = [
        ("val_loss_nats", &summary["val_loss"]),
        ("train_seconds", &summary["seconds"]),
        ("tokens_per_second", &summary["tokens_per_second"]),
        ("sent_bytes", &summary["bytes_sent"]),
        ("tokens_count", &summary["tokens"]),
        ("updates_count", &summary["updates"]),
        ("payload_bits_per_parameter", &summary["payload_bits_per_param"]),
        ("audits_passed_count", &summary["audits"]["passed"]),
    ]
    .into_iter()
    .filter_map(|(name, value)| read(name, value))
    .collect();
    figures.push(("wall_seconds".to_owned(), ended.seconds));
    figures.extend(ended.processor_seconds.map(|spent| ("processor_seconds".to_owned(), spent)));
    figures
}

/// A round, if anybody had measured the loss by then.
fn point(object: &Value) -> Option<Point> {
    let is_round = object["schema"] == "murmur.round/1";
    is_round.then_some(())?;
    Some(Point {
        tokens: object["tokens"].as_u64()?,
        seconds: object["seconds"].as_f64()?,
        bytes: object["bytes_sent"].as_u64()?,
        loss: object["val_loss"].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_round_with_a_measured_loss_is_a_point() {
        let round =
            json!({ "schema": "murmur.round/1", "tokens": 5, "seconds": 0.5, "bytes_sent": 7, "val_loss": 3.5 });
        assert_eq!(point(&round), Some(Point { tokens: 5, seconds: 0.5, bytes: 7, loss: 3.5 }));
        assert_eq!(point(&json!({ "schema": "murmur.round/1", "tokens": 5, "val_loss": null })), None);
        assert_eq!(point(&json!({ "schema": "murmur.event/1" })), None);
    }
}
