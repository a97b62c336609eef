//! Tokens, and the vocabularies that text is cut into.

/// One element of a vocabulary, by its number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u32);

impl From<u8> for Token {
    fn from(byte: u8) -> Self {
        Self(u32::from(byte))
    }
}

impl From<Token> for usize {
    fn from(token: Token) -> Self {
        token.0 as Self
    }
}

/// How text becomes tokens and tokens become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// Each byte is a token: 256 of them, and every text can be written.
    Bytes,
}

impl Vocabulary {
    /// How many tokens there are.
    pub const fn size(self) -> usize {
        match self {
            Self::Bytes => 256,
        }
    }

    /// The token that stands after each file, and before text that follows nothing.
    pub const fn end_of_file(self) -> Token {
        match self {
            Self::Bytes => Token(0),
        }
    }

    /// The tokens of `text`.
    pub fn encode(self, text: &[u8]) -> impl Iterator<Item = Token> {
        match self {
            Self::Bytes => text.iter().copied().map(Token::from),
        }
    }

    /// Appends what `token` stands for to `text`; nothing for one that is not of this vocabulary.
    pub fn decode(self, token: Token, text: &mut Vec<u8>) {
        match self {
            Self::Bytes => text.extend(u8::try_from(token.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_and_its_tokens_are_of_the_vocabulary() {
        let (text, mut back) = ((0..=u8::MAX).collect::<Vec<_>>(), Vec::new());
        for token in Vocabulary::Bytes.encode(&text) {
            assert!(usize::from(token) < Vocabulary::Bytes.size());
            Vocabulary::Bytes.decode(token, &mut back);
        }
        assert_eq!(back, text);
        Vocabulary::Bytes.decode(Token(256), &mut back);
        assert_eq!(back.len(), 256);
    }
}
