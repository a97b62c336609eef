//! One setting: its name, its allowed values, and advice on choosing one.

use core::ops::RangeInclusive;
use std::fmt;

/// Whom a setting concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The run: it is part of the manifest, so all peers have the same, and a joiner cannot change it.
    Run,
    /// This machine only.
    Machine,
}

/// What values a setting takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A whole number in this range. Written with `_` and a suffix `k`, `M` or `G` (powers of 1000) if one likes.
    Whole(RangeInclusive<u64>),
    /// This word, or a whole number in this range.
    WordOrWhole(&'static str, RangeInclusive<u64>),
    /// A number in this range.
    Real(RangeInclusive<f64>),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// A file or a folder; see [`path_text`](super::path_text) for how it is written. Empty: none.
    Path,
    /// An IP address and a port.
    Address,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(range) if *range.end() == u64::MAX => write!(f, "a whole number, at least {}", range.start()),
            Self::Whole(range) => write!(f, "a whole number from {} to {}", range.start(), range.end()),
            Self::WordOrWhole(word, range) => {
                write!(f, "{word}, or a whole number from {} to {}", range.start(), range.end())
            }
            Self::Real(range) => write!(f, "a number from {} to {}", range.start(), range.end()),
            Self::Word(words) => f.write_str(&words.join(" or ")),
            Self::Text => f.write_str("any text"),
            Self::Path => f.write_str("a path"),
            Self::Address => f.write_str("an IP address and a port, as in 0.0.0.0:4500"),
        }
    }
}

/// One line of the table of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Section and name, joined by a dot.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default, as one would write it.
    pub default: &'static str,
    /// What the number counts; empty when there is nothing to say.
    pub unit: &'static str,
    /// Whom it concerns.
    pub scope: Scope,
    /// What it does and how to choose it.
    pub doc: &'static str,
}

impl Key {
    /// A setting of the run that is a whole number.
    pub(super) const fn whole(
        name: &'static str,
        range: RangeInclusive<u64>,
        default: &'static str,
        unit: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Whole(range), default, unit, scope: Scope::Run, doc }
    }

    /// A setting of the run that is a word or a whole number.
    pub(super) const fn word_or_whole(
        name: &'static str,
        word: &'static str,
        range: RangeInclusive<u64>,
        default: &'static str,
        unit: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind: Kind::WordOrWhole(word, range), default, unit, scope: Scope::Run, doc }
    }

    /// Lets a whole number reach these limits, too.
    pub(super) fn widen(&mut self, to: &RangeInclusive<u64>) {
        if let Kind::Whole(range) = &mut self.kind {
            *range = (*range.start()).min(*to.start())..=(*range.end()).max(*to.end());
        }
    }

    /// A setting of the run that is a number.
    pub(super) const fn real(
        name: &'static str,
        range: RangeInclusive<f64>,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Real(range), default, unit: "", scope: Scope::Run, doc }
    }

    /// A setting of the run that is one of some words.
    pub(super) const fn word(
        name: &'static str,
        words: &'static [&'static str],
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Word(words), default, unit: "", scope: Scope::Run, doc }
    }

    /// A setting of this machine.
    pub(super) const fn machine(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self { name, kind, default, unit: "", scope: Scope::Machine, doc }
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("MURMUR_{}", self.name.replace('.', "__").to_uppercase())
    }
}
