//! What a peer trains on: a pseudo-random function of the run, the peer, its segment and the step, and of nothing else.

use blake3::OutputReader;
use murmur_collectives::PeerId;

use super::corpus::Corpus;
use super::tokens::Tokens;
use crate::learn::model::Batch;

/// The training batch of `peer`'s segment `seq` at inner step `step`: `[size, context]` windows of the training text.
///
/// Window starts come from BLAKE3's output stream keyed by exactly these values, so an auditor draws the same ones and
/// a peer cannot choose. A start is `⌊word · starts / 2⁶⁴⌋`, whose bias is below `starts / 2⁶⁴`.
///
/// # Panics
/// If the context does not leave a single window, which [`Corpus::check`] rules out.
pub fn batch(
    corpus: &Corpus,
    run_seed: &[u8; 32],
    peer: &PeerId,
    seq: u64,
    step: u32,
    size: usize,
    context: usize,
) -> Batch {
    draw(corpus.train_tokens(), training_words(run_seed, peer, seq, step), size, context)
}

fn training_words(run_seed: &[u8; 32], peer: &PeerId, seq: u64, step: u32) -> OutputReader {
    let mut key = blake3::Hasher::new_derive_key("murmuration training batch v1");
    key.update(run_seed).update(&peer.0).update(&seq.to_le_bytes()).update(&step.to_le_bytes());
    key.finalize_xof()
}

/// The validation batch of this index: the same for every peer of every run on this corpus.
///
/// # Panics
/// As [`batch`].
pub fn validation_batch(corpus: &Corpus, index: u32, size: usize, context: usize) -> Batch {
    let mut key = blake3::Hasher::new_derive_key("murmuration validation batch v1");
    key.update(&index.to_le_bytes());
    draw(corpus.validation_tokens(), key.finalize_xof(), size, context)
}

fn draw(text: Tokens<'_>, mut words: OutputReader, size: usize, context: usize) -> Batch {
    assert!(text.count() > context, "a text of {} tokens has no window of {context}", text.count());
    let starts = text.count() - context;
    let (mut inputs, mut targets) = (Vec::with_capacity(size * context), Vec::with_capacity(size * context));
    for _ in 0..size {
        let start = below(starts, &mut words);
        inputs.extend(text.window(start, context));
        targets.extend(text.window(start + 1, context));
    }
    Batch { size, context, inputs, targets }
}

fn below(starts: usize, words: &mut OutputReader) -> usize {
    let mut word = [0; 8];
    words.fill(&mut word);
    ((u128::from(u64::from_le_bytes(word)) * starts as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::data::corpus::tests::words;

    const PEER: PeerId = PeerId([7; 32]);

    fn starts(run_seed: [u8; 32], seq: u64, step: u32) -> Vec<usize> {
        let mut words = training_words(&run_seed, &PEER, seq, step);
        (0..4).map(|_| below(1_000_000, &mut words)).collect()
    }

    #[test]
    fn the_vectors_hold() {
        assert_eq!(starts([0; 32], 0, 0), [849_826, 468_657, 969_207, 806_182]);
        assert_eq!(starts([1; 32], 2, 3), [26_154, 562_405, 236_891, 954_503]);
    }

    #[test]
    fn every_argument_changes_the_batch() {
        let corpus = words();
        let base = batch(&corpus, &[0; 32], &PEER, 5, 3, 4, 16);
        assert_eq!(base, batch(&corpus, &[0; 32], &PEER, 5, 3, 4, 16));
        let others = [
            batch(&corpus, &[1; 32], &PEER, 5, 3, 4, 16),
            batch(&corpus, &[0; 32], &PeerId([8; 32]), 5, 3, 4, 16),
            batch(&corpus, &[0; 32], &PEER, 6, 3, 4, 16),
            batch(&corpus, &[0; 32], &PEER, 5, 4, 4, 16),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn targets_are_the_inputs_one_token_later() {
        let batch = batch(&words(), &[0; 32], &PEER, 0, 0, 3, 16);
        for (inputs, targets) in batch.inputs.chunks(16).zip(batch.targets.chunks(16)) {
            assert_eq!(inputs[1..], targets[..15]);
        }
    }

    #[test]
    fn starts_reach_both_ends() {
        let mut words = blake3::Hasher::new().finalize_xof();
        let drawn: std::collections::BTreeSet<usize> = (0..1000).map(|_| below(8, &mut words)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn validation_windows_come_from_the_validation_part() {
        let corpus = words();
        let batch = validation_batch(&corpus, 0, 2, 32);
        let tokens: Vec<_> = corpus.validation_tokens().window(0, corpus.validation().len()).collect();
        assert!(batch.inputs.chunks(32).all(|window| tokens.windows(32).any(|w| w == window)));
    }
}
