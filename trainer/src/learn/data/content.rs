//! What a file holds: text, or something that a model of text cannot use.

use std::io::{self, Read};

/// Bytes read at once; a file that is no text by these is not read further.
const PIECE: u64 = 64 << 10;

/// Pairs of bytes from which on letters and zeros by turns mean UTF-16.
const PAIRS_MIN: usize = 4;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Text, in any encoding without zero bytes.
    Text(Vec<u8>),
    /// Nothing.
    Empty,
    /// Text in UTF-16, by its byte-order mark or by zeros after or before nearly every letter.
    Utf16,
    /// A zero byte, this many bytes from the start.
    Binary(usize),
    /// Text, more of it than there is room for.
    TooLarge,
}

/// Reads a file of about `bytes` bytes, of which text may have `room`.
///
/// # Errors
/// What the system says.
pub(super) fn read(mut file: impl Read, bytes: u64, room: u64) -> io::Result<Content> {
    let mut text = Vec::new();
    loop {
        let before = text.len();
        if file.by_ref().take(PIECE).read_to_end(&mut text)? == 0 {
            return Ok(if text.is_empty() { Content::Empty } else { Content::Text(text) });
        }
        if before == 0 && has_mark(&text) {
            return Ok(Content::Utf16);
        }
        if let Some(zero) = text[before..].iter().position(|&byte| byte == 0) {
            return Ok(if alternates(&text) { Content::Utf16 } else { Content::Binary(before + zero) });
        }
        if bytes.max(text.len() as u64) > room {
            return Ok(Content::TooLarge);
        }
    }
}

/// A byte-order mark of UTF-16. That of UTF-32 begins alike and goes on with zeros.
fn has_mark(text: &[u8]) -> bool {
    (text.starts_with(&[0xFF, 0xFE]) && !text.starts_with(&[0xFF, 0xFE, 0, 0])) || text.starts_with(&[0xFE, 0xFF])
}

/// Whether of the pairs at the start nine in ten are a letter and a zero, in one order or the other.
fn alternates(text: &[u8]) -> bool {
    let pairs = text[..text.len().min(PIECE as usize)].chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    let letters = |order: fn([u8; 2]) -> u16| pairs.clone().filter(|&pair| is_letter(order(pair))).count();
    let most = letters(u16::from_le_bytes).max(letters(u16::from_be_bytes));
    pairs.len() >= PAIRS_MIN && most * 10 >= pairs.len() * 9
}

/// What most of a text in Latin letters is made of.
fn is_letter(unit: u16) -> bool {
    matches!(unit, 0x09 | 0x0A | 0x0D | 0x20..=0xFF)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Content {
        read(bytes, bytes.len() as u64, 1 << 20).unwrap()
    }

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn utf_16_is_known_by_its_mark_and_without_one() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(content(&utf16("\u{FEFF}日本語", order)), Content::Utf16);
            assert_eq!(content(&utf16("plain words, most of them ASCII: naïve", order)), Content::Utf16);
        }
    }

    #[test]
    fn text_in_utf_8_or_latin_1_is_text() {
        for text in ["日本語 and more".as_bytes(), b"caf\xE9", b"\xEF\xBB\xBFmarked", b"\xFFodd"] {
            assert_eq!(content(text), Content::Text(text.to_vec()));
        }
        assert_eq!(content(b""), Content::Empty);
    }

    #[test]
    fn the_first_zero_byte_of_a_binary_file_is_named() {
        let mut text = vec![b'x'; 300_000];
        text[200_000] = 0;
        assert_eq!(content(&text), Content::Binary(200_000));
        assert_eq!(content(b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"), Content::Binary(7));
        assert_eq!(content(&[1, 0].repeat(100)), Content::Binary(1), "small numbers of two bytes");
        assert_eq!(content(b"\xFF\xFE\0\0a\0\0\0b\0\0\0c\0\0\0"), Content::Binary(2), "UTF-32");
    }

    #[test]
    fn only_text_needs_room() {
        let mut bytes = vec![b'x'; 300_000];
        assert_eq!(read(&bytes[..], 300_000, 299_999).unwrap(), Content::TooLarge);
        assert_eq!(read(&bytes[..], 5, 299_999).unwrap(), Content::TooLarge, "a file may grow while it is read");
        bytes[7] = 0;
        assert_eq!(read(&bytes[..], u64::MAX, 10).unwrap(), Content::Binary(7));
    }
}
