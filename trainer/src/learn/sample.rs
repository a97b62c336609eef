//! Text from a model, one token at a time.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::learn::model::{Replica, ReplicaError, Token, Vocabulary};

/// How to choose the next token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSpec {
    /// Tokens to generate.
    pub length: usize,
    /// Scores are divided by it: below 1 is more predictable, 0 always takes the likeliest token.
    pub temperature: f32,
    /// Only this many of the likeliest tokens are considered; 0 for all.
    pub top_k: usize,
    /// The same seed gives the same text, on one numeric class.
    pub seed: u64,
}

/// An iterator over the tokens that follow a prompt.
///
/// It ends after `length` tokens, or after an error.
pub struct Sampler<'a> {
    replica: &'a mut dyn Replica,
    params: &'a [f32],
    text: Vec<Token>,
    spec: SampleSpec,
    rng: ChaCha8Rng,
    left: usize,
}

impl<'a> Sampler<'a> {
    /// Text that follows `prompt`; an empty prompt starts a new file.
    pub fn new(
        replica: &'a mut dyn Replica,
        params: &'a [f32],
        (vocabulary, prompt): (Vocabulary, &[u8]),
        spec: SampleSpec,
    ) -> Self {
        let mut text: Vec<Token> = vocabulary.encode(prompt).collect();
        if text.is_empty() {
            text.push(vocabulary.end_of_file());
        }
        Self { replica, params, text, spec, rng: ChaCha8Rng::seed_from_u64(spec.seed), left: spec.length }
    }

    fn draw(&mut self) -> Result<Token, ReplicaError> {
        let scores = self.replica.logits(self.params, &self.text)?;
        let share = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let token = choose(&scores, &self.spec, share);
        self.text.push(token);
        Ok(token)
    }
}

impl Iterator for Sampler<'_> {
    type Item = Result<Token, ReplicaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let drawn = self.draw();
        if drawn.is_err() {
            self.left = 0;
        }
        Some(drawn)
    }
}

/// The token at which the cumulative probability passes `share`, likeliest tokens first, ties to the lower number.
fn choose(scores: &[f32], spec: &SampleSpec, share: f64) -> Token {
    let mut ranked: Vec<(Token, f32)> = (0..).map(Token).zip(scores.iter().copied()).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if spec.temperature <= 0.0 {
        return ranked[0].0;
    }
    if spec.top_k > 0 {
        ranked.truncate(spec.top_k);
    }
    let best = ranked[0].1;
    let weight = |score: f32| (f64::from(score - best) / f64::from(spec.temperature)).exp();
    let total: f64 = ranked.iter().map(|&(_, score)| weight(score)).sum();
    let mut passed = 0.0;
    let chosen = ranked.iter().find(|&&(_, score)| {
        passed += weight(score);
        passed > share * total
    });
    chosen.unwrap_or(&ranked[0]).0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmur_kernels::exact::{Level, Pool};

    use super::*;
    use crate::learn::model::{
        Architecture,
        gpt::{ExactReplica, Gpt},
    };

    const SPEC: SampleSpec = SampleSpec { length: 20, temperature: 1.0, top_k: 0, seed: 1 };

    fn text(spec: SampleSpec, prompt: &[u8]) -> Vec<Token> {
        let config = Gpt::tiny();
        let params = config.initial_params(&[0; 32]);
        let mut replica = ExactReplica::new(config, Pool::single(Level::active())).unwrap();
        Sampler::new(&mut replica, &params, (Vocabulary::Bytes, prompt), spec).map(Result::unwrap).collect()
    }

    #[test]
    fn a_seed_gives_the_same_text_and_another_seed_another() {
        assert_eq!(text(SPEC, b"fn main"), text(SPEC, b"fn main"));
        assert_ne!(text(SPEC, b"fn main"), text(SampleSpec { seed: 2, ..SPEC }, b"fn main"));
        assert_eq!(text(SPEC, b"").len(), 20);
    }

    #[test]
    fn top_one_is_temperature_zero() {
        let greedy = text(SampleSpec { temperature: 0.0, ..SPEC }, b"a prompt longer than the tiny context");
        assert_eq!(greedy, text(SampleSpec { top_k: 1, ..SPEC }, b"a prompt longer than the tiny context"));
    }

    #[test]
    fn tokens_are_chosen_in_proportion() {
        let mut scores = vec![f32::NEG_INFINITY; 256];
        (scores[65], scores[66]) = (3f32.ln(), 0.0);
        assert_eq!([0.0, 0.74, 0.76, 0.999].map(|share| choose(&scores, &SPEC, share)), [65, 65, 66, 66].map(Token));
    }
}
