//! Which part of the data is kept for validation.
//!
//! The data is cut into units: a whole file, or 4 KiB blocks of a file that is more than a twentieth of everything.
//! Contents are ranked by their hash, and the lowest make up the validation part until it has a twentieth of the bytes.
//! All copies of a content go together, so no content is in both parts, and the choice follows from the content alone.
//!
//! A content whose copies are too many for the validation part stays in training, and half of what is left does, too. A
//! text that is hardly more than repetition gives too little that way: then single copies of what repeats are held out.

use std::collections::{BTreeMap, BTreeSet};

use super::documents::{Document, Documents};
use crate::learn::model::Vocabulary;

/// Stands after each file, so that a model can learn where one ends.
pub(super) const END_OF_FILE: u8 = Vocabulary::Bytes.end_of_file().0 as u8;

/// Bytes of a unit of a large file.
const BLOCK: usize = 4096;

/// Validation gets at least this much, so that a window of any allowed context fits.
pub(super) const VALIDATION_BYTES_MIN: usize = 8192;

/// One validation byte in this many.
const VALIDATION_SHARE: usize = 20;

struct Unit<'a> {
    text: &'a [u8],
    hash: [u8; 32],
    ends_file: bool,
}

/// The training and the validation text. Of documents that hold at least [`super::corpus::BYTES_MIN`], at least half is
/// training text, and the validation part has its minimum.
pub(super) fn split(documents: &Documents) -> (Vec<u8>, Vec<u8>) {
    let total = documents.iter().map(|document| document.text.len()).sum::<usize>();
    let units: Vec<Unit<'_>> = documents.iter().flat_map(|document| units(document, total)).collect();
    let mut held_out = whole_contents(&units, (total / VALIDATION_SHARE).max(VALIDATION_BYTES_MIN));
    held_out.extend(single_copies(&units, &held_out));
    let (mut train, mut validation) = (Vec::with_capacity(total + units.len()), Vec::new());
    for (index, unit) in units.iter().enumerate() {
        let part = if held_out.contains(&index) { &mut validation } else { &mut train };
        part.extend_from_slice(unit.text);
        part.extend(unit.ends_file.then_some(END_OF_FILE));
    }
    (train, validation)
}

fn units(document: &Document, total: usize) -> impl Iterator<Item = Unit<'_>> {
    let len = document.text.len();
    let size = if len > total / VALIDATION_SHARE { BLOCK } else { len.max(1) };
    let count = len.div_ceil(size);
    let unit = move |(index, text)| Unit { text, hash: *blake3::hash(text).as_bytes(), ends_file: index + 1 == count };
    document.text.chunks(size).enumerate().map(unit)
}

/// The units of each content, in the order of the contents' hashes.
fn contents(units: &[Unit<'_>]) -> BTreeMap<[u8; 32], Vec<usize>> {
    let mut contents: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, unit) in units.iter().enumerate() {
        contents.entry(unit.hash).or_default().push(index);
    }
    contents
}

/// Contents with all their copies, until there are `wanted` bytes or half of all that is not repeated too often. None makes
/// them more than twice what is wanted.
fn whole_contents(units: &[Unit<'_>], wanted: usize) -> BTreeSet<usize> {
    let bytes_of = |copies: &[usize]| copies.iter().map(|&index| units[index].text.len()).sum::<usize>();
    let mut contents = contents(units);
    contents.retain(|_, copies| bytes_of(copies) <= 2 * wanted);
    let half = contents.values().map(|copies| bytes_of(copies)).sum::<usize>() / 2;
    let (mut held_out, mut bytes) = (BTreeSet::new(), 0);
    for copies in contents.values() {
        if bytes >= wanted.min(half) {
            break;
        }
        if bytes + bytes_of(copies) <= 2 * wanted {
            bytes += bytes_of(copies);
            held_out.extend(copies);
        }
    }
    held_out
}

/// What else to hold out so that validation has its minimum: the second copies of contents in the order of their hashes,
/// then the third ones, and so on. The first stay in training.
fn single_copies(units: &[Unit<'_>], held_out: &BTreeSet<usize>) -> Vec<usize> {
    let mut bytes: usize = held_out.iter().map(|&index| units[index].text.len()).sum();
    let contents = contents(units);
    let numbered = contents.values().flat_map(|copies| copies.iter().copied().enumerate().skip(1));
    let mut spare: Vec<(usize, usize)> = numbered.filter(|(_, index)| !held_out.contains(index)).collect();
    spare.sort_by_key(|&(number, _)| number);
    let lacks = |&(_, index): &(usize, usize)| {
        let lacking = bytes < VALIDATION_BYTES_MIN;
        bytes += units[index].text.len();
        lacking
    };
    spare.into_iter().take_while(lacks).map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests;
