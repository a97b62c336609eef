//! Ends the process, with a report and [`Exit::Crashed`], when a thread or task stops that should not: it never goes on without
//! one.
//!
//! A panic ends only its own thread, and one in a task of the network runtime not even that: a peer would
//! silently train no more. So [`install`] makes every panic, in whatever thread or task of whatever library, the end of
//! the process: with [`Exit::Device`] if the system refused a thread, which libraries cannot say otherwise. [`Part`] lists
//! the threads and tasks that this program starts itself; [`start`], [`enter`] and [`endless`] mark where they begin.
//!
//! | part | process | when it returns |
//! |---|---|---|
//! | `learner` | peer | the driver stops, and the process ends with its result |
//! | `driver` | peer | the learner is stopped, and the process ends with its result |
//! | `commands` | peer | its launcher is gone: the process ends with [`Exit::TryAgain`] |
//! | `dispatch`, `metrics`, `heartbeat` | peer | it may not: [`Exit::Crashed`] |
//! | `checkpoint` | peer | its result has been reported |
//! | `reports` | launcher | the peer's stdout has ended: the launcher waits for the peer's exit, and kills it after a while |
//!
//! Threads and tasks of the transport, of the kernels' pool and of libraries end the process when they panic, and are
//! otherwise waited for by the code that started them.

use std::{
    future::Future,
    io::{self, Write},
    panic::PanicHookInfo,
    str::FromStr,
    sync::OnceLock,
    thread::{self, JoinHandle},
};

use crate::{
    error::{Exit, Failure},
    protocol::Report,
};

/// A thread or task that this program starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Trains, audits, finishes.
    Learner,
    /// Carries inputs to the node and its outputs to network and disk.
    Driver,
    /// Reads the launcher's commands.
    Commands,
    /// Carries out the launcher's commands.
    Dispatch,
    /// Serves metrics and status.
    Metrics,
    /// Tells the launcher that the process lives.
    Heartbeat,
    /// Writes a checkpoint beside the training.
    Checkpoint,
    /// Reads what a peer process reports.
    Reports,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Learner,
        Self::Driver,
        Self::Commands,
        Self::Dispatch,
        Self::Metrics,
        Self::Heartbeat,
        Self::Checkpoint,
        Self::Reports,
    ];

    /// Its name, also that of its thread.
    pub fn name(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::Driver => "driver",
            Self::Commands => "commands",
            Self::Dispatch => "dispatch",
            Self::Metrics => "metrics",
            Self::Heartbeat => "heartbeat",
            Self::Checkpoint => "checkpoint",
            Self::Reports => "reports",
        }
    }
}

/// A word that names no [`Part`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a part of murmur")]
pub struct NotAPart(String);

impl FromStr for Part {
    type Err = NotAPart;

    fn from_str(word: &str) -> Result<Self, NotAPart> {
        Self::ALL.into_iter().find(|part| part.name() == word).ok_or_else(|| NotAPart(word.to_owned()))
    }
}

/// The reader of a crash report, beside stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A person, who has stderr.
    Person,
    /// A program that reads NDJSON on stdout.
    Program,
    /// The launcher of this peer.
    Launcher,
}

/// What to do where threads are refused.
pub const MORE_THREADS: &str =
    "Start fewer peers with --local, or raise the limit: `ulimit -u`, or the container's limit of processes (pids).";

/// What libraries panic with when the system refuses them a thread: Rust's own, tokio, rayon.
const REFUSED_THREADS: [&str; 3] =
    ["failed to spawn thread", "OS can't spawn worker thread", "The global thread pool has not been initialized"];

/// The part that a test asked to crash.
static TARGET: OnceLock<Part> = OnceLock::new();

/// Makes every panic of this process its end: the message on stderr, a report to `audience`, [`Exit::Crashed`].
pub fn install(audience: Audience) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        end(audience, &failure(info));
    }));
}

/// Makes `part` panic when it begins, in this process: for tests of the report.
pub fn set_target(part: Part) {
    // A second aim in one process would be a mistake of the test.
    let _ = TARGET.set(part);
}

/// Marks the beginning of `part`.
///
/// # Panics
/// If a test aimed at it.
pub fn enter(part: Part) {
    assert!(TARGET.get() != Some(&part), "the {} was told to crash", part.name());
}

/// Starts the thread of `part`.
///
/// # Errors
/// [`Exit::Device`] when the system refuses it.
pub fn start<T: Send + 'static>(
    part: Part,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    let run = move || {
        enter(part);
        run()
    };
    let started = thread::Builder::new().name(part.name().to_owned()).spawn(run);
    started.map_err(|error| Failure::new(Exit::Device, "cannot start a thread").because(error))
}

/// Runs the task of `part`, which may not end before the process does.
///
/// # Panics
/// When it ends.
pub async fn endless(part: Part, task: impl Future<Output = ()>) {
    enter(part);
    task.await;
    panic!("the {} ended before the process", part.name());
}

fn failure(info: &PanicHookInfo<'_>) -> Failure {
    let thread = thread::current().name().unwrap_or("unnamed").to_owned();
    let said = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map_or_else(String::new, |place| format!(" ({place})"));
    failure_of(&thread, said, &place)
}

fn failure_of(thread: &str, said: &str, place: &str) -> Failure {
    if REFUSED_THREADS.iter().any(|refused| said.contains(refused)) {
        return Failure::new(Exit::Device, "the system refused a thread").because(said).hint(MORE_THREADS);
    }
    Failure::new(Exit::Crashed, format!("a part of murmur stopped unexpectedly: thread {thread}: {said}{place}"))
}

fn end(audience: Audience, failure: &Failure) -> ! {
    let line = match audience {
        Audience::Person => None,
        Audience::Program => Some(failure.to_json().to_string()),
        Audience::Launcher => Some(Report::Error(failure.to_fault()).to_line()),
    };
    // Without a reader there is still the exit code.
    let _ = line.map(|line| writeln!(io::stdout(), "{line}"));
    let _ = writeln!(io::stderr(), "{}", failure.clone().render());
    std::process::exit(i32::from(failure.exit().code()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_by_its_name() {
        for part in Part::ALL {
            assert_eq!(part.name().parse(), Ok(part));
        }
        assert!("nobody".parse::<Part>().unwrap_err().to_string().contains("nobody"));
    }

    #[test]
    fn a_thread_that_the_system_refused_is_no_mistake_of_this_program() {
        let refused = "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)";
        let failure = failure_of("main", refused, "");
        assert_eq!(failure.exit(), Exit::Device);
        assert!(failure.sentence().contains("os error 11") && failure.to_fault().hint.contains("ulimit -u"));
        let mistake = failure_of("main", "index out of bounds", " (x.rs:1)");
        assert_eq!(mistake.exit(), Exit::Crashed);
        assert!(mistake.sentence().contains("thread main: index out of bounds (x.rs:1)"));
    }
}
