//! Replays the fuzz corpus. A file's name begins with what must become of it: `good-` or `bad-`; those a fuzzer finds have
//! other names, and must only not break a law.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/check.rs"]
mod check;

use std::path::Path;

/// Replays every file of one corpus folder and returns how many were accepted and refused.
fn replay(folder: &str, check: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let accepted = check(&std::fs::read(&path).unwrap());
        assert!(accepted || !name.starts_with("good-"), "{name} was refused");
        assert!(!accepted || !name.starts_with("bad-"), "{name} was accepted");
        good += usize::from(accepted);
        bad += usize::from(!accepted);
    }
    (good, bad)
}

#[test]
fn messages_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("message", check::message);
    assert!(good >= 13 && bad >= 10, "{good} good and {bad} bad messages: is the corpus there?");
}

#[test]
fn entries_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("entry", check::entry);
    assert!(good >= 5 && bad >= 10, "{good} good and {bad} bad entries: is the corpus there?");
}
