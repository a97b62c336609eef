//! Text as tokens: the one place where what was read becomes what a model reads.

use crate::learn::model::{Token, Vocabulary};

/// A text and the vocabulary it is read in. Positions are counted in tokens.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    vocabulary: Vocabulary,
    text: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The tokens of `text`.
    pub(super) fn new(vocabulary: Vocabulary, text: &'a [u8]) -> Self {
        Self { vocabulary, text }
    }

    /// How many tokens there are.
    pub fn count(&self) -> usize {
        match self.vocabulary {
            Vocabulary::Bytes => self.text.len(),
        }
    }

    /// The `count` tokens from position `start` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn window(&self, start: usize, count: usize) -> impl Iterator<Item = Token> {
        match self.vocabulary {
            Vocabulary::Bytes => self.vocabulary.encode(&self.text[start..start + count]),
        }
    }
}
