//! `scale`: what more peers cost: tokens a second, bytes a token, and loss from equal tokens.

use super::super::{
    cases::Case,
    suite::{Conclusion, Options, Sample, Suite},
    training_run::TrainingRun,
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "scale",
    about: "real runs of 1, 2, 4, 8 and 16 peers on this machine: tokens a second, bytes a token, loss",
    run,
    conclude,
};

const SIZES: [usize; 5] = [1, 2, 4, 8, 16];

/// Enough for a dozen updates of each of sixteen.
const TOKENS: u64 = 300_000;

fn case(peers: usize) -> String {
    format!("n={peers}")
}

fn run(options: &Options, output: &mut Output, tell: &mut dyn FnMut(Sample)) -> Result<(), Failure> {
    for seed in &options.seeds {
        for peers in SIZES {
            output.note(&format!("Training with {peers} peers, seed {seed} …"));
            let asked = TrainingRun { case: case(peers), peers, tokens: TOKENS, sets: Vec::new() };
            let mut sample = asked.sample(options, *seed)?;
            let tokens = sample.figures.get("tokens_count").copied().filter(|tokens| *tokens > 0.0);
            let sent = sample.figures.get("sent_bytes").copied();
            let each = sent.zip(tokens).map(|(sent, tokens)| sent / tokens);
            sample.figures.extend(each.map(|each| ("bytes_a_token".to_owned(), each)));
            tell(sample);
        }
    }
    Ok(())
}

fn conclude(samples: &[Sample]) -> Conclusion {
    let metrics = SIZES.iter().flat_map(|peers| {
        let case = Case::of(samples, &case(*peers));
        [
            case.metric("tokens_per_second", format!("tokens_per_second_n{peers}"), "tokens/s"),
            case.metric("bytes_a_token", format!("bytes_a_token_n{peers}"), "bytes of all peers"),
            case.metric("val_loss_nats", format!("val_loss_n{peers}"), "nats per byte"),
        ]
    });
    Conclusion { metrics: metrics.collect(), ..Conclusion::default() }
}
