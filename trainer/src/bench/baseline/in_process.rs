//! All ranks in one process, in turn: the laboratory, for many settings at small cost. It counts messages, not packets.

use std::time::Instant;

use murmur_collectives::Collective;

use super::rank::{Rank, Task};
use crate::bench::suite::{Point, Sample};
use crate::error::{Exit, Failure};

/// Trains a task to its end.
///
/// # Errors
/// [`Exit::Diverged`]; [`Exit::Data`], [`Exit::Device`] and [`Exit::Config`] as for a peer of a run.
pub fn train(task: &Task, threads: usize) -> Result<Sample, Failure> {
    let ranks = (0..task.peers).map(|rank| Rank::new(task, rank, threads)).collect::<Result<Vec<_>, _>>()?;
    let mut ranks = ranks;
    let (begun, mut bytes) = (Instant::now(), 0);
    loop {
        let seconds = begun.elapsed().as_secs_f64();
        ranks.iter_mut().for_each(|rank| rank.keep(seconds, bytes));
        if ranks.iter().all(Rank::is_over) {
            break;
        }
        ranks.iter_mut().try_for_each(Rank::contribute)?;
        bytes += deliver(&mut ranks)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let measured = if task.method.has_one_model() { &mut ranks[..1] } else { &mut ranks[..] };
    let curves = measured.iter_mut().map(Rank::curve).collect::<Result<Vec<_>, _>>()?;
    Ok(sample(task, &curves, seconds, bytes))
}

/// Delivers all messages of a round; how many bytes they had.
fn deliver(ranks: &mut [Rank]) -> Result<u64, Failure> {
    let mut bytes = 0;
    loop {
        let messages: Vec<_> = ranks
            .iter_mut()
            .enumerate()
            .flat_map(|(from, rank)| std::iter::from_fn(|| rank.collective.poll()).map(move |message| (from, message)))
            .collect();
        if messages.is_empty() {
            break;
        }
        for (from, message) in messages {
            bytes += message.bytes.len() as u64;
            ranks[message.to].collective.handle((from, message.bytes));
        }
    }
    if ranks.iter_mut().all(|rank| rank.collective.is_ready()) {
        return Ok(bytes);
    }
    let bad = ranks.iter().find_map(|rank| rank.collective.failure()).map(ToString::to_string);
    Err(Failure::new(Exit::Bug, "a round of a baseline did not end").because(bad.unwrap_or_default()))
}

/// A sample of curves that differ in nothing but the model.
pub(super) fn sample(task: &Task, curves: &[Vec<Point>], seconds: f64, bytes: u64) -> Sample {
    let mut curve = curves.first().cloned().unwrap_or_default();
    for (index, point) in curve.iter_mut().enumerate() {
        let losses = curves.iter().filter_map(|curve| curve.get(index)).map(|point| point.loss);
        point.loss = losses.sum::<f64>() / curves.len() as f64;
    }
    let last = curve.last().copied();
    let mut figures = std::collections::BTreeMap::new();
    figures.insert("val_loss_nats".to_owned(), last.map_or(f64::NAN, |point| point.loss));
    figures.insert("train_seconds".to_owned(), seconds);
    figures.insert("sent_bytes".to_owned(), bytes as f64);
    figures.insert("tokens_count".to_owned(), last.map_or(0.0, |point| point.tokens as f64));
    let case = format!("{} n={}", task.method.name(), task.peers);
    Sample { case, seed: task.settings.seed, figures, curve, failure: None }
}
