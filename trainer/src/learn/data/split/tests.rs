//! Both parts exist, share no content unless they say so, and training keeps the larger part: of any text.

use proptest::prelude::*;

use super::*;
use crate::learn::data::{corpus::BYTES_MIN, repetition::repeated};

fn documents(texts: impl IntoIterator<Item = Vec<u8>>) -> Documents {
    let document = |(index, text)| Document { name: format!("{index}"), text };
    Documents::new(texts.into_iter().enumerate().map(document).collect())
}

fn files(count: usize, bytes: usize) -> Documents {
    documents((0..count).map(|file| (0..bytes).map(|i| (i * (file + 3) % 251) as u8 + 1).collect()))
}

/// `bytes` of text in which no block repeats.
fn varied(bytes: usize, salt: u32) -> Vec<u8> {
    (0..bytes as u32).map(|i| (i.wrapping_add(salt).wrapping_mul(2_654_435_761) >> 25) as u8 + 1).collect()
}

fn pieces(text: &[u8]) -> Vec<&[u8]> {
    text.split(|&byte| byte == END_OF_FILE).filter(|piece| !piece.is_empty()).collect()
}

#[test]
fn every_file_is_in_exactly_one_part() {
    let (train, validation) = split(&files(200, 3000));
    let (train, validation) = (pieces(&train), pieces(&validation));
    assert_eq!(train.len() + validation.len(), 200);
    assert!(validation.iter().all(|piece| !train.contains(piece)));
}

#[test]
fn validation_has_about_a_twentieth() {
    let (train, validation) = split(&files(200, 3000));
    let share = validation.len() as f64 / (train.len() + validation.len()) as f64;
    assert!((0.05..0.06).contains(&share), "{share}");
}

#[test]
fn one_file_is_cut_into_blocks_and_both_parts_exist() {
    let (train, validation) = split(&documents([(0..40 * BLOCK).map(|i| (i / 7 % 200 + i % 50) as u8 + 1).collect()]));
    assert!(validation.len() >= VALIDATION_BYTES_MIN);
    assert!(train.len() > validation.len());
    assert_eq!(train.len() + validation.len(), 40 * BLOCK + 1);
}

#[test]
fn nothing_but_one_block_again_and_again_gives_both_parts() {
    let text = b"y\n".repeat(BYTES_MIN as usize / 2);
    let (train, validation) = split(&documents([text]));
    assert_eq!(validation.len(), VALIDATION_BYTES_MIN);
    assert_eq!(train.len() as u64, BYTES_MIN + 1 - VALIDATION_BYTES_MIN as u64);
}

#[test]
fn what_repeats_stays_in_training_while_enough_else_is_there() {
    let text = [b"y\n".repeat(100 * BLOCK / 2), varied(30 * BLOCK, 0)].concat();
    let (train, validation) = split(&documents([text]));
    assert!(!validation.windows(8).any(|window| window == b"y\ny\ny\ny\n"));
    let learnt = train.len() - 100 * BLOCK;
    assert!(learnt >= validation.len(), "training has half of what does not repeat: {learnt}");
}

/// Today's rule, of which nothing changes for a text without repetition.
fn held_out_by_rank(units: &[Unit<'_>], wanted: usize) -> BTreeSet<usize> {
    let mut ranked: Vec<usize> = (0..units.len()).collect();
    ranked.sort_by_key(|&index| units[index].hash);
    let mut bytes = 0;
    let lacks = |index: &usize| {
        let lacking = bytes < wanted;
        bytes += units[*index].text.len();
        lacking
    };
    ranked.into_iter().take_while(lacks).collect()
}

/// Texts of files that are made of few or many different blocks.
fn texts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let block = prop_oneof![
        3 => (0u8..3).prop_map(|kind| vec![kind + 1; BLOCK]),
        1 => any::<u32>().prop_map(|salt| varied(BLOCK, salt)),
        1 => (1usize..BLOCK, 0u8..3).prop_map(|(len, kind)| vec![kind + 1; len]),
    ];
    let file = prop::collection::vec(block, 1..30).prop_map(|blocks| blocks.concat());
    prop::collection::vec(file, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_gives_two_parts_of_which_training_is_the_larger(texts in texts()) {
        let documents = documents(texts);
        prop_assume!(documents.bytes() >= BYTES_MIN);
        let (train, validation) = split(&documents);
        prop_assert!(train.len() >= validation.len());
        prop_assert!(validation.len() >= VALIDATION_BYTES_MIN);
        prop_assert_eq!(split(&documents), (train, validation));
    }

    #[test]
    fn no_block_is_in_both_parts_unless_the_corpus_can_tell(texts in texts()) {
        let documents = documents(texts);
        prop_assume!(documents.bytes() >= BYTES_MIN);
        let total = documents.bytes() as usize;
        let units: Vec<Unit<'_>> = documents.iter().flat_map(|document| units(document, total)).collect();
        let mut held_out = whole_contents(&units, (total / VALIDATION_SHARE).max(VALIDATION_BYTES_MIN));
        let kept = |held_out: &BTreeSet<usize>, index: &usize| {
            (0..units.len()).any(|other| !held_out.contains(&other) && units[other].hash == units[*index].hash)
        };
        prop_assert!(!held_out.iter().any(|index| kept(&held_out, index)));
        held_out.extend(single_copies(&units, &held_out));
        let common: usize = held_out.iter().filter(|index| kept(&held_out, index)).map(|&i| units[i].text.len()).sum();
        let (train, validation) = split(&documents);
        // Pieces are out of step with blocks, and small ones may lie between two of them.
        prop_assert!(common < BLOCK || repeated(&train, &validation) >= common / 2);
    }

    #[test]
    fn a_text_without_repetition_is_split_by_rank_alone(sizes in prop::collection::vec(1usize..40_000, 4..20)) {
        let documents = documents(sizes.iter().enumerate().map(|(salt, &bytes)| varied(bytes, salt as u32 * 1_000_003)));
        prop_assume!(documents.bytes() >= BYTES_MIN);
        let total = documents.bytes() as usize;
        let units: Vec<Unit<'_>> = documents.iter().flat_map(|document| units(document, total)).collect();
        let wanted = (total / VALIDATION_SHARE).max(VALIDATION_BYTES_MIN);
        prop_assert_eq!(whole_contents(&units, wanted), held_out_by_rank(&units, wanted));
        prop_assert!(single_copies(&units, &whole_contents(&units, wanted)).is_empty());
    }
}
