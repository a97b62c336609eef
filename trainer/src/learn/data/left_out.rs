//! What of a folder is not part of the text, and why: counted, with the first example of each.

use std::{collections::BTreeMap, fmt};

/// Why a file or folder was left out. In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Text in UTF-16, of which every second byte is noise to a model of bytes.
    Utf16,
    /// A file with a zero byte.
    Binary,
    /// A symbolic link.
    Link,
    /// A pipe, a device, a socket.
    Special,
    /// A file with the content of another one.
    Copy,
    /// A file without content.
    Empty,
    /// A name that begins with a dot.
    Hidden,
}

/// Everything that was left out of a text. Prints as a list: `2 symbolic links (first: a), 1 hidden name (first: .git)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeMap<Reason, Tally>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tally {
    count: usize,
    first: String,
}

impl LeftOut {
    /// Counts one more; the first of its reason is the example.
    pub(super) fn add(&mut self, reason: Reason, example: impl Into<String>) {
        self.0.entry(reason).or_insert_with(|| Tally { count: 0, first: example.into() }).count += 1;
    }

    /// How many were left out for this reason.
    pub fn count(&self, reason: Reason) -> usize {
        self.0.get(&reason).map_or(0, |tally| tally.count)
    }

    /// Whether anything was left out that a user may have wanted: hidden names and empty files do not count.
    pub fn is_news(&self) -> bool {
        self.0.keys().any(|reason| !matches!(reason, Reason::Empty | Reason::Hidden))
    }

    /// The end of a sentence about a text: nothing, or what was left out of it.
    pub(super) fn clause(&self) -> String {
        if self.0.is_empty() { String::new() } else { format!("; left out: {self}") }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |(reason, Tally { count, first }): (&Reason, &Tally)| {
            let (one, many) = reason.nouns();
            let noun = if *count == 1 { one } else { many };
            let advice = if *reason == Reason::Utf16 { "; `iconv -f UTF-16 -t UTF-8` makes it readable" } else { "" };
            format!("{count} {noun} (first: {first}{advice})")
        };
        f.write_str(&self.0.iter().map(line).collect::<Vec<_>>().join(", "))
    }
}

impl Reason {
    fn nouns(self) -> (&'static str, &'static str) {
        match self {
            Self::Utf16 => ("file in UTF-16", "files in UTF-16"),
            Self::Binary => ("binary file", "binary files"),
            Self::Link => ("symbolic link", "symbolic links"),
            Self::Special => ("pipe, device or socket", "pipes, devices or sockets"),
            Self::Copy => ("copy of another file", "copies of other files"),
            Self::Empty => ("empty file", "empty files"),
            Self::Hidden => ("hidden name", "hidden names"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_and_shows_its_first_example() {
        let mut left_out = LeftOut::default();
        left_out.add(Reason::Hidden, ".git");
        left_out.add(Reason::Link, "a");
        left_out.add(Reason::Link, "b");
        assert_eq!(left_out.to_string(), "2 symbolic links (first: a), 1 hidden name (first: .git)");
        assert_eq!((left_out.count(Reason::Link), left_out.count(Reason::Copy)), (2, 0));
    }

    #[test]
    fn hidden_names_and_empty_files_alone_are_no_news() {
        let mut left_out = LeftOut::default();
        left_out.add(Reason::Hidden, ".git");
        left_out.add(Reason::Empty, "x");
        assert!(!left_out.is_news());
        left_out.add(Reason::Binary, "y");
        assert!(left_out.is_news());
    }

    #[test]
    fn who_has_utf_16_hears_how_to_convert_it() {
        let mut left_out = LeftOut::default();
        left_out.add(Reason::Utf16, "notes.txt");
        assert!(left_out.to_string().contains("iconv -f UTF-16 -t UTF-8"));
    }
}
