//! Paths as text: settings, arguments of peers and the marker of a state folder are text, and a path may not be.
//!
//! On Unix a path is any bytes. Those that are not UTF-8 become characters that nothing uses, U+10F780 to U+10F7FF of a
//! private plane, one a byte, and come back as the same bytes. A path that has such characters itself has them spelt the
//! same way, byte by byte, so every path has one text and comes back exactly. Elsewhere a path that is not Unicode has
//! no text, and what cannot be shown is replaced.

use std::ffi::{OsStr, OsString};

/// The text of `path`. Ordinary paths are their own text.
pub fn to_text(path: &OsStr) -> String {
    system::to_text(path)
}

/// The path whose text is `text`.
pub fn from_text(text: &str) -> OsString {
    system::from_text(text)
}

/// Whether `text` stands for bytes that are not text.
pub(super) fn is_escaped(text: &str) -> bool {
    text.chars().any(|character| byte_of(character).is_some())
}

/// The character of byte 0; only those of bytes from 128 on occur.
const BASE: u32 = 0x10_F700;

fn byte_of(character: char) -> Option<u8> {
    let byte = u8::try_from(u32::from(character).checked_sub(BASE)?).ok()?;
    (byte >= 0x80).then_some(byte)
}

#[cfg(unix)]
mod system {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    use super::{BASE, OsStr, OsString, byte_of};

    pub(super) fn to_text(path: &OsStr) -> String {
        let spell = |bytes: &[u8]| -> String {
            bytes.iter().filter_map(|&byte| char::from_u32(BASE + u32::from(byte))).collect()
        };
        let mut text = String::new();
        for chunk in path.as_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                match byte_of(character) {
                    Some(_) => text.push_str(&spell(character.encode_utf8(&mut [0; 4]).as_bytes())),
                    None => text.push(character),
                }
            }
            text.push_str(&spell(chunk.invalid()));
        }
        text
    }

    pub(super) fn from_text(text: &str) -> OsString {
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            match byte_of(character) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        OsString::from_vec(bytes)
    }
}

#[cfg(not(unix))]
mod system {
    use super::{OsStr, OsString};

    pub(super) fn to_text(path: &OsStr) -> String {
        path.to_string_lossy().into_owned()
    }

    pub(super) fn from_text(text: &str) -> OsString {
        text.into()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_ordinary_path_is_its_own_text() {
        for path in ["/a b/ü/日本", "", "~/x", "\u{E000}"] {
            assert_eq!(to_text(path.as_ref()), path);
            assert!(!is_escaped(path));
        }
    }

    #[test]
    fn a_path_with_the_private_characters_comes_back_too() {
        let path = OsStr::new("/\u{10F7FF}/x");
        assert_ne!(to_text(path), "/\u{10F7FF}/x");
        assert_eq!(from_text(&to_text(path)), path);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let path = OsStr::from_bytes(&bytes);
            prop_assert_eq!(from_text(&to_text(path)), path);
            prop_assert_eq!(is_escaped(&to_text(path)), std::str::from_utf8(&bytes).is_err());
        }
    }
}
