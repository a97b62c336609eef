//! Which part of the data is kept for validation.
//!
//! The data is cut into units: a whole file, or 4 KiB blocks of a file that is more than a twentieth of everything.
//! Units are ranked by the hash of their content, and the lowest make up the validation part until it has a twentieth
//! of the bytes. So both parts exist whenever there are two units, no unit is in both, and the choice follows from
//! the content alone.

use super::documents::{Document, Documents};

/// Stands after each file, so that a model can learn where one ends.
pub(super) const END_OF_FILE: u8 = 0;

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

/// The training and the validation text.
pub(super) fn split(documents: &Documents) -> (Vec<u8>, Vec<u8>) {
    let total = documents.iter().map(|document| document.text.len()).sum::<usize>();
    let units: Vec<Unit<'_>> = documents.iter().flat_map(|document| units(document, total)).collect();
    let held_out = held_out(&units, (total / VALIDATION_SHARE).max(VALIDATION_BYTES_MIN));
    let (mut train, mut validation) = (Vec::with_capacity(total + units.len()), Vec::new());
    for (unit, held_out) in units.iter().zip(held_out) {
        let part = if held_out { &mut validation } else { &mut train };
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

/// For each unit whether validation keeps it. Units of equal content get equal answers.
fn held_out(units: &[Unit<'_>], bytes_wanted: usize) -> Vec<bool> {
    let mut ranked: Vec<&Unit<'_>> = units.iter().collect();
    ranked.sort_by_key(|unit| unit.hash);
    let mut bytes = 0;
    let enough = |unit: &&&Unit<'_>| {
        bytes += unit.text.len();
        bytes >= bytes_wanted
    };
    let last = ranked.iter().find(enough).or(ranked.last()).map(|unit| unit.hash);
    units.iter().map(|unit| Some(unit.hash) <= last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize, bytes: usize) -> Documents {
        let text = |file: usize| (0..bytes).map(|i| (i * (file + 3) % 251) as u8 + 1).collect();
        Documents::new((0..count).map(|file| Document { name: format!("{file}"), text: text(file) }).collect())
    }

    fn pieces(text: &[u8]) -> Vec<&[u8]> {
        text.split(|&byte| byte == END_OF_FILE).filter(|piece| !piece.is_empty()).collect()
    }

    #[test]
    fn every_file_is_in_exactly_one_part() {
        let documents = files(200, 3000);
        let (train, validation) = split(&documents);
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
        let text: Vec<u8> = (0..40 * BLOCK).map(|i| (i / 7 % 200 + i % 50) as u8 + 1).collect();
        let (train, validation) = split(&Documents::new(vec![Document { name: "one".to_owned(), text }]));
        assert!(validation.len() >= VALIDATION_BYTES_MIN);
        assert!(train.len() > validation.len());
        assert_eq!(train.len() + validation.len(), 40 * BLOCK + 1);
    }
}
