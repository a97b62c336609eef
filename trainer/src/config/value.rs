//! Values of settings: parsing text, and the error when it is not valid.

use core::ops::RangeInclusive;
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{Kind, path_text};

/// The value of a setting, checked against its [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// A number.
    Real(f64),
    /// Text.
    Text(String),
    /// A path, empty for none.
    Path(PathBuf),
    /// An address.
    Address(SocketAddr),
}

impl Value {
    /// Reads `text` as a value of `kind`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that starts with the text; the caller adds what is allowed.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, Wrong> {
        let given = text;
        let text = given.trim();
        match kind {
            Kind::Path => Ok(Self::Path(path_text::from_text(given).into())),
            _ if path_text::is_escaped(given) => Err(Wrong::NotText),
            Kind::Whole(range) => whole(text).and_then(|number| within(number, range)).map(Self::Whole),
            Kind::WordOrWhole(word, _) if *word == text => Ok(Self::Text(text.to_owned())),
            Kind::WordOrWhole(_, range) => whole(text).and_then(|number| within(number, range)).map(Self::Whole),
            Kind::Real(range) => real(text).and_then(|number| within(number, range)).map(Self::Real),
            Kind::Word(words) if words.contains(&text) => Ok(Self::Text(text.to_owned())),
            Kind::Word(_) => Err(Wrong::NotAWord),
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::Address => text.parse().map(Self::Address).map_err(|_| Wrong::NotAnAddress),
        }
    }

    /// The same value, a relative path made absolute from `folder`. Without a folder it stays relative.
    pub(super) fn absolute_in(self, folder: &Path) -> Self {
        match self {
            Self::Path(path) if !path.as_os_str().is_empty() => {
                let path = folder.join(path);
                // Of an absolute path this asks nothing of the system; it removes what says nothing, as in `/a/./b`.
                let tidy = path.is_absolute().then(|| std::path::absolute(&path).ok()).flatten();
                Self::Path(tidy.unwrap_or(path))
            }
            Self::Whole(_) | Self::Real(_) | Self::Text(_) | Self::Path(_) | Self::Address(_) => self,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Text(text) if text.is_empty() => f.write_str("\"\""),
            Self::Text(text) => f.write_str(text),
            Self::Path(path) if path.as_os_str().is_empty() => f.write_str("\"\""),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// What is wrong with a text that should be a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not digits, or a fraction, or negative.
    #[error("not a whole number")]
    NotWhole,
    /// Not a finite number.
    #[error("not a number")]
    NotANumber,
    /// Below the range.
    #[error("too small")]
    TooSmall,
    /// Above the range.
    #[error("too large")]
    TooLarge,
    /// None of the words that mean something here.
    #[error("no such choice")]
    NotAWord,
    /// Bytes that are not UTF-8, which only a path may have.
    #[error("not UTF-8")]
    NotText,
    /// Not `ADDRESS:PORT`.
    #[error("not an address with a port")]
    NotAnAddress,
}

/// Reads `12`, `12_000`, `12k`, `1.5M`.
fn whole(text: &str) -> Result<u64, Wrong> {
    let (digits, unit) = split_suffix(text);
    let digits = digits.replace('_', "");
    let (integer, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let scaled = scale(fraction, unit).ok_or(Wrong::NotWhole)?;
    if integer.is_empty() || !integer.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::NotWhole);
    }
    let integer: u64 = integer.parse().map_err(|_| Wrong::TooLarge)?;
    integer.checked_mul(unit).and_then(|number| number.checked_add(scaled)).ok_or(Wrong::TooLarge)
}

/// The digits and what a suffix multiplies them by.
fn split_suffix(text: &str) -> (&str, u64) {
    let suffixes = [('k', 1_000), ('K', 1_000), ('M', 1_000_000), ('G', 1_000_000_000)];
    let found = suffixes.into_iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)));
    found.unwrap_or((text, 1))
}

/// The digits after a decimal point in units of 1, if they come out whole: `5` of a thousand is 500.
fn scale(fraction: &str, unit: u64) -> Option<u64> {
    fraction
        .chars()
        .try_fold((unit, 0), |(unit, sum), digit| {
            let digit = u64::from(digit.to_digit(10)?);
            let tenth = unit.is_multiple_of(10).then_some(unit / 10)?;
            Some((tenth, sum + digit * tenth))
        })
        .map(|(_, sum)| sum)
}

/// Reads a finite number.
fn real(text: &str) -> Result<f64, Wrong> {
    let number: f64 = text.replace('_', "").parse().map_err(|_| Wrong::NotANumber)?;
    number.is_finite().then_some(number).ok_or(Wrong::NotANumber)
}

/// Passes a number that is in range.
fn within<T: PartialOrd + Copy>(number: T, range: &RangeInclusive<T>) -> Result<T, Wrong> {
    if number < *range.start() {
        Err(Wrong::TooSmall)
    } else if number > *range.end() {
        Err(Wrong::TooLarge)
    } else {
        Ok(number)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_carry_a_suffix() {
        assert_eq!(whole("12"), Ok(12));
        assert_eq!(whole("12_000"), Ok(12_000));
        assert_eq!(whole("12k"), Ok(12_000));
        assert_eq!(whole("1.5M"), Ok(1_500_000));
        assert_eq!(whole("0.25G"), Ok(250_000_000));
        assert_eq!(whole("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_not_a_whole_number_is_refused_by_name() {
        for text in ["", "k", "-1", "1.5", "1.2345k", ".5M", "1e6", "four", "1.-5k"] {
            assert_eq!(whole(text), Err(Wrong::NotWhole), "{text}");
        }
        assert_eq!(whole("18446744073709551616"), Err(Wrong::TooLarge));
        assert_eq!(whole("99999999999G"), Err(Wrong::TooLarge));
    }

    #[test]
    fn numbers_are_finite_and_in_range() {
        let kind = Kind::Real(0.0..=1.0);
        assert_eq!(Value::parse(&kind, " 3e-4 "), Ok(Value::Real(3e-4)));
        assert_eq!(Value::parse(&kind, "nan"), Err(Wrong::NotANumber));
        assert_eq!(Value::parse(&kind, "inf"), Err(Wrong::NotANumber));
        assert_eq!(Value::parse(&kind, "-0.1"), Err(Wrong::TooSmall));
        assert_eq!(Value::parse(&kind, "1.1"), Err(Wrong::TooLarge));
    }

    #[test]
    fn a_word_is_one_of_those_there_are() {
        let kind = Kind::Word(&["exact", "class"]);
        assert_eq!(Value::parse(&kind, "class"), Ok(Value::Text("class".to_owned())));
        assert_eq!(Value::parse(&kind, "Exact"), Err(Wrong::NotAWord));
        assert_eq!(Value::parse(&kind, ""), Err(Wrong::NotAWord));
    }

    #[test]
    fn a_word_may_stand_for_a_number() {
        let kind = Kind::WordOrWhole("auto", 1..=9);
        assert_eq!(Value::parse(&kind, " auto "), Ok(Value::Text("auto".to_owned())));
        assert_eq!(Value::parse(&kind, "9"), Ok(Value::Whole(9)));
        assert_eq!(Value::parse(&kind, "10"), Err(Wrong::TooLarge));
        assert_eq!(Value::parse(&kind, "automatic"), Err(Wrong::NotWhole));
    }

    #[test]
    fn a_path_is_taken_as_it_is_written() {
        assert_eq!(Value::parse(&Kind::Path, " a b "), Ok(Value::Path(" a b ".into())));
        assert_eq!(Value::parse(&Kind::Text, &path_text::to_text(" a".as_ref())), Ok(Value::Text("a".to_owned())));
    }

    #[cfg(unix)]
    #[test]
    fn only_a_path_may_hold_what_is_no_text() {
        let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/caf\xE9");
        let text = path_text::to_text(odd);
        assert_eq!(Value::parse(&Kind::Path, &text), Ok(Value::Path(odd.into())));
        for kind in [Kind::Text, Kind::Whole(0..=9), Kind::Address, Kind::Word(&["exact"])] {
            assert_eq!(Value::parse(&kind, &text), Err(Wrong::NotText), "{kind}");
        }
    }

    #[test]
    fn a_relative_path_becomes_absolute_and_nothing_else_changes() {
        let from = |value: Value, folder: &str| value.absolute_in(Path::new(folder));
        let path = |text: &str| Value::Path(text.into());
        let root = if cfg!(windows) { "C:\\home" } else { "/home" };
        let joined = Path::new(root).join("rel").join("x");
        assert_eq!(from(path("rel/x"), root), Value::Path(joined));
        assert_eq!(from(path(root), "/other"), path(root));
        assert_eq!((from(path(""), root), from(path("rel"), "")), (path(""), path("rel")));
        assert_eq!(from(Value::Text("rel".to_owned()), root), Value::Text("rel".to_owned()));
    }

    #[test]
    fn an_address_needs_its_port() {
        assert!(Value::parse(&Kind::Address, "0.0.0.0:4500").is_ok());
        assert_eq!(Value::parse(&Kind::Address, "localhost"), Err(Wrong::NotAnAddress));
    }
}
