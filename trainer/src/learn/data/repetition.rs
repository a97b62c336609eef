//! The share of the validation part that occurs in the training part, too, so that a model can have memorized it.
//!
//! Blocks of equal content are never in both parts, but a text that repeats itself out of step with the blocks, as a file
//! does that was appended to itself, has no two equal blocks. So short pieces of the validation part are looked for at
//! every place of the training part, with the rolling hash of Karp and Rabin (IBM Journal 31, 1987).

/// Bytes of a piece: longer than what two texts share by accident, short enough to fit a line or two.
const PIECE: usize = 64;

/// Pieces looked for, at most: enough for a percent or two.
const PIECES_MAX: usize = 4096;

/// The multiplier of the rolling hash: odd, with bits all over.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// About how many bytes of `validation` stand in `train`, in pieces of 64.
pub(super) fn repeated(train: &[u8], validation: &[u8]) -> usize {
    let stride = (validation.len() / PIECES_MAX).max(PIECE);
    let mut pieces: Vec<&[u8]> = validation.windows(PIECE).step_by(stride).collect();
    let all = pieces.len().max(1);
    pieces.sort_unstable();
    let mut wanted: Vec<Wanted<'_>> = pieces.chunk_by(|a, b| a == b).map(Wanted::new).collect();
    wanted.sort_unstable_by_key(|wanted| wanted.hash);
    let found = search(train, &mut wanted);
    (validation.len() as u128 * found as u128 / all as u128) as usize
}

/// A piece, and how often the validation part was seen to have it.
struct Wanted<'a> {
    hash: u64,
    piece: &'a [u8],
    times: usize,
    is_found: bool,
}

impl<'a> Wanted<'a> {
    fn new(equal: &[&'a [u8]]) -> Self {
        Self { hash: hash(equal[0]), piece: equal[0], times: equal.len(), is_found: false }
    }
}

/// Looks for pieces, sorted by hash, until all are found; how many were, each as often as it is wanted.
fn search(text: &[u8], wanted: &mut [Wanted<'_>]) -> usize {
    let sieve = Sieve::of(wanted);
    let (mut missing, mut found) = (wanted.len(), 0);
    let Some(first) = text.get(..PIECE) else { return 0 };
    let mut rolling = hash(first);
    for (start, window) in text.windows(PIECE).enumerate() {
        if start > 0 {
            rolling = roll(rolling, text[start - 1], window[PIECE - 1]);
        }
        if !sieve.may_have(rolling) {
            continue;
        }
        let from = wanted.partition_point(|wanted| wanted.hash < rolling);
        for wanted in wanted[from..].iter_mut().take_while(|wanted| wanted.hash == rolling) {
            if !wanted.is_found && wanted.piece == window {
                wanted.is_found = true;
                missing -= 1;
                found += wanted.times;
            }
        }
        if missing == 0 {
            break;
        }
    }
    found
}

fn hash(piece: &[u8]) -> u64 {
    piece.iter().fold(0, |hash, &byte| push(hash, byte))
}

fn push(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(MULTIPLIER).wrapping_add(u64::from(byte) + 1)
}

/// The hash of the window one byte further.
fn roll(hash: u64, leaving: u8, entering: u8) -> u64 {
    /// What a byte has been multiplied by when it leaves.
    const LEAVING: u64 = MULTIPLIER.wrapping_pow(PIECE as u32);
    push(hash, entering).wrapping_sub(LEAVING.wrapping_mul(u64::from(leaving) + 1))
}

/// A bit set that rules out most hashes without a search.
struct Sieve(Vec<u64>);

impl Sieve {
    /// Bits, 2 to this power: sixteen for each piece.
    const BITS_LOG2: u32 = PIECES_MAX.ilog2() + 4;

    fn of(wanted: &[Wanted<'_>]) -> Self {
        let mut words = vec![0; 1 << (Self::BITS_LOG2 - 6)];
        for wanted in wanted {
            let (word, bit) = Self::place(wanted.hash);
            words[word] |= bit;
        }
        Self(words)
    }

    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = Self::place(hash);
        self.0[word] & bit != 0
    }

    fn place(hash: u64) -> (usize, u64) {
        let bit = hash.wrapping_mul(MULTIPLIER) >> (64 - Self::BITS_LOG2);
        ((bit / 64) as usize, 1 << (bit % 64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text that does not repeat itself.
    fn varied(bytes: usize, salt: u32) -> Vec<u8> {
        let mut words = blake3::Hasher::new().update(&salt.to_le_bytes()).finalize_xof();
        let mut text = vec![0; bytes];
        words.fill(&mut text);
        text
    }

    #[test]
    fn what_was_appended_to_itself_out_of_step_is_known_by_heart() {
        let once = varied(10_007, 1);
        let train = [&once[..], &once[..], &once[..]].concat();
        assert_eq!(repeated(&train, &once[500..9_000]), 8_500);
    }

    #[test]
    fn new_text_is_not() {
        assert_eq!(repeated(&varied(100_000, 1), &varied(20_000, 2)), 0);
        assert_eq!((repeated(b"", &varied(100, 1)), repeated(b"short", b"")), (0, 0));
    }

    #[test]
    fn half_and_half_is_about_half() {
        let known = varied(50_000, 1);
        let held_out = [&known[..20_000], &varied(20_000, 2)[..]].concat();
        assert!((19_000..21_000).contains(&repeated(&known, &held_out)));
    }

    #[test]
    fn one_line_again_and_again_is_found_at_once() {
        let text = b"y\n".repeat(1 << 20);
        assert_eq!(repeated(&text, &text[..100_000]), 100_000);
    }

    proptest! {
        #[test]
        fn rolling_gives_the_hash_of_each_window(text in prop::collection::vec(any::<u8>(), PIECE..300)) {
            let mut rolling = hash(&text[..PIECE]);
            for start in 1..=text.len() - PIECE {
                rolling = roll(rolling, text[start - 1], text[start + PIECE - 1]);
                prop_assert_eq!(rolling, hash(&text[start..start + PIECE]));
            }
        }
    }
}
