//! Replays the fuzz corpus. A file's name begins with what must become of it: `good-` or `bad-`; those a fuzzer finds have
//! other names, and must only not break a law.

#[path = "../fuzz/check.rs"]
mod check;
#[path = "../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn payloads_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("validate", |bytes| check::payload(bytes) == Some(true));
    assert!(good >= 5 && bad >= 8, "{good} good and {bad} bad payloads: is the corpus there?");
}

#[test]
fn carries_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("unseal", |bytes| check::carry(bytes) == Some(true));
    assert!(good >= 3 && bad >= 6, "{good} good and {bad} bad carries: is the corpus there?");
}
