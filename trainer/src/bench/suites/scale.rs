//! `scale`: what more peers cost: tokens a second, bytes a token, and loss from equal tokens.

use super::super::{
    cases::Case,
    suite::{Conclusion, Options, Sample, Suite},
    training_run::{TrainingRun, per_token},
};
use crate::{error::Failure, observe::output::Output};

pub(super) const SUITE: Suite = Suite {
    name: "scale",
    about: "real runs of 1, 2, 4, 8 and 16 peers on this machine: tokens a second, bytes a token, loss",
    trains: true,
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
            tell(per_token(asked.sample(options, *seed)?));
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
