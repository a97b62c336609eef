//! Decoding and folding, by the definition.

use super::bits::Cursor;
use super::encode::rice_parameter;
use crate::{CHUNK, CodecError, Direction, TopK, Weight, level_fixed};

/// One sent value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its parameter's place in the vector.
    pub index: usize,
    /// The value in units of 2^-40.
    pub fixed: i64,
}

/// Every entry of a payload, by ascending index.
///
/// # Errors
/// If the payload is not the canonical encoding of anything.
pub fn decode(k: TopK, params: usize, payload: &[u8]) -> Result<Vec<Entry>, CodecError> {
    let (mut cursor, mut entries, mut previous) = (Cursor::new(payload), Vec::new(), (160, 8));
    for chunk in 0..params.div_ceil(CHUNK) {
        let len = CHUNK.min(params - chunk * CHUNK);
        let (small, spread) = levels(&mut cursor, previous, chunk)?;
        let sent = indices(&mut cursor, k.of_chunk(len), len, chunk)?;
        let signs = plane(&mut cursor, sent.len(), chunk)?;
        let sizes = plane(&mut cursor, sent.len(), chunk)?;
        let uses = (sizes.contains(&false), sizes.contains(&true));
        if uses != (true, spread > 0) {
            return Err(CodecError::NotCanonical { chunk });
        }
        for ((index, negative), large) in sent.into_iter().zip(signs).zip(sizes) {
            let level = level_fixed(if large { small + spread } else { small }) as i64;
            entries.push(Entry { index: chunk * CHUNK + index, fixed: if negative { -level } else { level } });
        }
        previous = (small, spread);
    }
    match cursor.rest() {
        rest if rest.len() >= 8 => Err(CodecError::TrailingBytes { count: rest.len() / 8 }),
        rest if rest.contains(&true) => Err(CodecError::Padding),
        _ => Ok(entries),
    }
}

fn levels(cursor: &mut Cursor, previous: (u8, u8), chunk: usize) -> Result<(u8, u8), CodecError> {
    let small = level(cursor, previous.0, chunk)?;
    let spread = level(cursor, previous.1, chunk)?;
    if u32::from(small) + u32::from(spread) > 255 { Err(CodecError::Level { chunk }) } else { Ok((small, spread)) }
}

fn level(cursor: &mut Cursor, previous: u8, chunk: usize) -> Result<u8, CodecError> {
    let truncated = CodecError::Truncated { chunk };
    let quotient = cursor.unary(10).ok_or(truncated)?;
    let zigzag = if quotient < 10 {
        2 * quotient + cursor.binary(1).ok_or(truncated)?
    } else {
        cursor.binary(8).ok_or(truncated)?
    };
    if quotient == 10 && zigzag < 20 {
        return Err(CodecError::NotCanonical { chunk });
    }
    let step = if zigzag % 2 == 1 { -((zigzag as i64 + 1) / 2) } else { zigzag as i64 / 2 };
    Ok((i64::from(previous) + step).rem_euclid(256) as u8)
}

fn indices(cursor: &mut Cursor, count: usize, len: usize, chunk: usize) -> Result<Vec<usize>, CodecError> {
    let complement = 2 * count > len;
    let coded_count = if complement { len - count } else { count };
    let rice = rice_parameter(coded_count, len);
    let truncated = CodecError::Truncated { chunk };
    let quotient = |cursor: &mut Cursor| cursor.unary(len as u64).ok_or(truncated);
    let quotients = (0..coded_count).map(|_| quotient(cursor)).collect::<Result<Vec<_>, _>>()?;
    let mut coded = Vec::new();
    let mut expected = 0;
    for quotient in quotients {
        let index = expected + ((quotient << rice) + cursor.binary(rice).ok_or(truncated)?) as usize;
        if index >= len {
            return Err(CodecError::Index { chunk });
        }
        coded.push(index);
        expected = index + 1;
    }
    Ok((0..len).filter(|index| coded.binary_search(index).is_ok() != complement).collect())
}

fn plane(cursor: &mut Cursor, count: usize, chunk: usize) -> Result<Vec<bool>, CodecError> {
    (0..count).map(|_| cursor.bit().ok_or(CodecError::Truncated { chunk })).collect()
}

/// The twin of [`crate::fold`]: decode everything, then add.
///
/// # Errors
/// As the fast path.
pub fn fold(
    k: TopK,
    payload: &[u8],
    weight: Weight,
    direction: Direction,
    state: &mut [i64],
) -> Result<(), CodecError> {
    for Entry { index, fixed } in decode(k, state.len(), payload)? {
        let product = i128::from(fixed.abs()) * i128::from(weight.q16());
        let rounded = ((product + 32768) / 65536) as i64 * fixed.signum();
        let value = &mut state[index];
        *value = match direction {
            Direction::Add => value.wrapping_sub(rounded),
            Direction::Remove => value.wrapping_add(rounded),
        };
    }
    Ok(())
}
