//! The first parameters: the same bits from the same seed on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::layout::{Entry, Layout, Role};

/// Standard deviation of embeddings.
const EMBEDDING_DEVIATION: f32 = 0.02;

/// Parameters that follow from `seed` alone, in the order of `layout`. `additions` is how many products are added to the residual
/// stream one after another.
///
/// Each tensor draws from its own ChaCha8 stream, keyed by seed and name, so no tensor depends on another's size.
/// Matrices have deviation `1/√inputs`, those that feed the residual stream a further `1/√additions` (GPT-2, §2.3).
/// Normal deviates are sums of eight uniform 16-bit integers (Irwin–Hall): exact, needing no `ln` or `cos`, whose
/// last bit differs between platforms; the tails end at ±4.9 deviations.
pub(crate) fn initial_params(layout: &Layout, additions: usize, seed: &[u8; 32]) -> Vec<f32> {
    let mut params = vec![0.0; layout.params()];
    for entry in layout.entries() {
        fill(entry, additions, seed, &mut params[entry.range()]);
    }
    params
}

fn fill(entry: &Entry, additions: usize, seed: &[u8; 32], values: &mut [f32]) {
    let fan_in = 1.0 / (entry.shape[0] as f32).sqrt();
    match entry.role {
        Role::Gain => values.fill(1.0),
        Role::Bias => values.fill(0.0),
        Role::Embedding => fill_normal(entry, seed, EMBEDDING_DEVIATION, values),
        Role::Matrix | Role::Head => fill_normal(entry, seed, fan_in, values),
        Role::Residual => fill_normal(entry, seed, fan_in / (additions as f32).sqrt(), values),
    }
}

fn fill_normal(entry: &Entry, seed: &[u8; 32], deviation: f32, values: &mut [f32]) {
    let mut keyed = blake3::Hasher::new_derive_key("murmuration initial parameters v1");
    keyed.update(seed).update(entry.name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(*keyed.finalize().as_bytes());
    values.fill_with(|| deviation * normal(&mut rng));
}

/// A deviate with mean 0 and variance 1, from exactly two 64-bit draws.
fn normal(rng: &mut impl Rng) -> f32 {
    /// `√(8·(65536² − 1)/12)`, rounded to f32.
    const DEVIATION: f32 = 53_509.914;
    const MEAN_TIMES_8: i32 = 8 * 65_535 / 2;
    let sum = lanes(rng.next_u64()) + lanes(rng.next_u64());
    (sum - MEAN_TIMES_8) as f32 / DEVIATION
}

/// The sum of the four 16-bit lanes of a word.
fn lanes(word: u64) -> i32 {
    (0..4).map(|lane| (word >> (16 * lane)) as u16).map(i32::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, gpt::Gpt};

    #[test]
    fn deviates_have_mean_zero_and_variance_one() {
        let mut rng = ChaCha8Rng::from_seed([3; 32]);
        let draws: Vec<f64> = (0..100_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }

    #[test]
    fn a_seed_gives_the_same_bits_for_ever() {
        let params = Gpt::default().initial_params(&[0; 32]);
        let bytes: Vec<u8> = params.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(
            blake3::hash(&bytes).to_hex().as_str(),
            "1d702a13b242dee92e55fb79c05f365d63fd3ada01661d93b860edc22be1e4e7"
        );
    }

    #[test]
    fn another_seed_gives_other_parameters() {
        let config = Gpt::tiny();
        assert_ne!(config.initial_params(&[0; 32]), config.initial_params(&[1; 32]));
    }
}
