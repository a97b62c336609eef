//! Replays the fuzz corpus. A file's name begins with what must become of it: `good-` or `bad-`; those a fuzzer finds have
//! other names, and must only not break a law.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/check.rs"]
mod check;

use std::path::Path;

/// Replays every file of one corpus folder and returns how many were accepted and refused.
fn replay(folder: &str, check: impl Fn(&[u8]) -> Option<bool>) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(folder);
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let accepted = check(&std::fs::read(&path).unwrap()) == Some(true);
        assert!(accepted || !name.starts_with("good-"), "{name} was refused");
        assert!(!accepted || !name.starts_with("bad-"), "{name} was accepted");
        good += usize::from(accepted);
        bad += usize::from(!accepted);
    }
    (good, bad)
}

#[test]
fn payloads_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("validate", check::payload);
    assert!(good >= 5 && bad >= 8, "{good} good and {bad} bad payloads: is the corpus there?");
}

#[test]
fn carries_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("unseal", check::carry);
    assert!(good >= 3 && bad >= 6, "{good} good and {bad} bad carries: is the corpus there?");
}
