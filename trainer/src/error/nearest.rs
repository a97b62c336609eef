//! The known word that a mistyped one is likest.

/// Which of `known` is likest to `word`; nothing if there are none.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(word, name);
    known.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))
}
