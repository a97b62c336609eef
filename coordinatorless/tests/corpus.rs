//! Replays the fuzz corpus. A file's name begins with what must become of it: `good-` or `bad-`; those a fuzzer finds have
//! other names, and must only not break a law.

#[path = "../fuzz/check.rs"]
mod check;
#[path = "../../kernels/fuzz/replay.rs"]
mod replay;

use replay::replay;

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

#[test]
fn datagrams_of_the_corpus_are_judged_as_their_names_say() {
    let (good, bad) = replay("datagram", check::datagram);
    assert!(good >= 5 && bad >= 8, "{good} good and {bad} bad datagrams: is the corpus there?");
}
