//! Checking a payload without applying it.

use crate::error::CodecError;
use crate::layout::layouts;
use crate::level::SquareSum;
use crate::read::{ChunkReader, Sent};
use crate::{Norm, TopK};

/// Checks a hostile payload completely and returns its norm: every index inside its chunk and in order, every level in the
/// table, canonical form, the exact end, zero padding. Allocates nothing and takes time in proportion to `params` at most.
///
/// # Errors
/// What is wrong with it, and in which chunk.
pub fn validate(k: TopK, params: usize, payload: &[u8]) -> Result<Norm, CodecError> {
    let mut reader = ChunkReader::new(payload);
    let mut sent = Sent::none();
    let mut squares = SquareSum::default();
    for layout in layouts(k, params) {
        reader.next(layout, &mut sent)?;
        squares.add(sent.levels.small, sent.count - sent.large_count);
        squares.add(sent.levels.large(), sent.large_count);
    }
    reader.finish()?;
    Ok(squares.norm())
}
