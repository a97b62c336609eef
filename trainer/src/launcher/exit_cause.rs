//! Why a peer process ended without a report: a crash of its own, a lack of memory, or a signal from outside. Only after the
//! last is it worth trying again.

use std::process::ExitStatus;

use super::child::describe;
use crate::error::{Exit, Failure};

/// What a process writes when it cannot have memory, from Rust's allocator, C's library, the kernel.
const OUT_OF_MEMORY: [&str; 3] = ["memory allocation of", "Cannot allocate memory", "failed to allocate"];

/// Signals that a process causes itself: an illegal instruction, an abort, a bad access, a forbidden call.
#[cfg(unix)]
const OWN_SIGNALS: [i32; 6] = [4, 6, 7, 8, 11, 31];

/// The signal that no process can refuse: SIGKILL.
#[cfg(unix)]
const KILL: i32 = 9;

/// Why a process ended with `status` and these last lines, `words`, in its log; nothing if a signal from outside ended it, or
/// if it succeeded. `short` says whether the system killed a process for lack of memory meanwhile.
pub(super) fn exit_cause(status: ExitStatus, words: &[String], short: bool) -> Option<Failure> {
    let how = describe(status);
    let starved = words.iter().any(|word| OUT_OF_MEMORY.iter().any(|said| word.contains(said)));
    let failure = |exit, message: String| Some(Failure::new(exit, message).because(last(words)));
    match ending(status) {
        Ending::Well | Ending::ByOthers => None,
        Ending::Killed if short => {
            failure(Exit::Device, format!("the system ended a peer because memory ran out ({how})"))
        }
        Ending::Killed => None,
        Ending::ByItself if starved => {
            failure(Exit::Device, format!("a peer could not have the memory it needs ({how})"))
        }
        Ending::ByItself => failure(Exit::Crashed, format!("a peer ended without a reason: {how}")),
    }
}

/// The last words, or that there are none.
fn last(words: &[String]) -> String {
    if words.is_empty() { "its log is empty".to_owned() } else { words.join("\n") }
}

enum Ending {
    Well,
    ByItself,
    Killed,
    ByOthers,
}

fn ending(status: ExitStatus) -> Ending {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            KILL => Ending::Killed,
            signal if OWN_SIGNALS.contains(&signal) => Ending::ByItself,
            _ => Ending::ByOthers,
        };
    }
    if status.success() { Ending::Well } else { Ending::ByItself }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn exit(status: i32, words: &[&str], short: bool) -> Option<Exit> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        exit_cause(ExitStatus::from_raw(status), &words, short).map(|failure| failure.exit())
    }

    #[test]
    fn only_a_peer_ended_by_a_signal_from_outside_may_be_tried_again() {
        assert_eq!(exit(KILL, &[], false), None);
        assert_eq!(exit(15, &["a warning"], false), None);
        assert_eq!(exit(0, &[], false), None);
        for signal in OWN_SIGNALS {
            assert_eq!(exit(signal, &[], false), Some(Exit::Crashed), "{signal}");
        }
        assert_eq!(exit(101 << 8, &["panicked"], false), Some(Exit::Crashed));
    }

    #[test]
    fn a_lack_of_memory_is_distinguished_from_a_crash() {
        assert_eq!(exit(6, &["memory allocation of 8 bytes failed"], false), Some(Exit::Device));
        assert_eq!(exit(KILL, &[], true), Some(Exit::Device));
    }

    #[test]
    fn the_last_words_are_shown() {
        let failure = exit_cause(ExitStatus::from_raw(11), &["the end".to_owned()], false);
        assert!(failure.is_some_and(|failure| failure.sentence().contains("the end")));
    }
}
