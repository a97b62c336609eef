//! Channels and flags between the peer's threads and tasks: learner, driver, and the launcher's commands.

use std::{
    io::BufRead,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
};

use murmur_collectives::Voided;
use murmur_coordinatorless::{EntryName, Input};
use murmur_quic::Request;
use tokio::sync::mpsc as tokio_mpsc;

use crate::crash::{self, Part};
use crate::error::Exit;
use crate::error::Failure;
use crate::observe::status::StepsStatus;
use crate::protocol::{Ages, Command};

/// Messages to the learner's thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum Notice {
    /// An update is ready to be replayed.
    Audit(EntryName),
    /// The set equals a neighbour's: training may start.
    CaughtUp,
    /// This peer's updates are void.
    Evicted(Voided),
    /// The others agree; the peer may leave.
    Finished,
    /// Stop at once.
    Halt,
    /// Another process took part as this peer before this one did.
    IdentityInUse,
    /// Look at the flags again.
    Wake,
}

/// Flags and counters that a running segment looks at between steps.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// A stand-in may begin; a peer that trains does not wait for it.
    pub(super) begun: AtomicBool,
    /// Stop training at the next step and finish.
    pub(super) drain: AtomicBool,
    /// Stop at the next step and leave.
    pub(super) halt: AtomicBool,
    /// Nothing is authored until more work is final.
    pub(super) stalled: AtomicBool,
    /// Tokens of the set.
    pub(super) clock: AtomicU64,
    /// Peers that work on the run now, this one included, as far as it sees.
    pub(super) swarm: AtomicU64,
    /// The loss is not what a model that learns has: no checkpoint is written that would displace a better one.
    pub(super) unwell: AtomicBool,
    /// How long this peer's segments are; nothing before the first.
    steps: Mutex<Option<StepsStatus>>,
    /// How stale updates of others were when they joined the set.
    ages: Mutex<Ages>,
    /// What the learner has done; see [`Alive`](crate::protocol::Alive).
    pub(super) work: Arc<AtomicU64>,
}

impl Shared {
    /// Nothing asked, nothing known, `work` counted from now on.
    pub(super) fn new(work: Arc<AtomicU64>) -> Self {
        Self { work, ..Self::default() }
    }

    /// Whether the peer was asked to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.drain.load(Relaxed) || self.halt.load(Relaxed)
    }

    /// How long this peer's segments are.
    pub(super) fn steps(&self) -> Option<StepsStatus> {
        *self.steps.lock().expect("no code panics while it holds the steps")
    }

    /// Shows how long this peer's segments are.
    pub(super) fn set_steps(&self, steps: StepsStatus) {
        *self.steps.lock().expect("no code panics while it holds the steps") = Some(steps);
    }

    /// Counts the age of an update of another peer that joined the set.
    pub(super) fn add_age(&self, tokens: u64) {
        self.ages.lock().expect("no code panics while it holds the ages").add(tokens);
    }

    /// The ages counted so far.
    pub(super) fn ages(&self) -> Ages {
        self.ages.lock().expect("no code panics while it holds the ages").clone()
    }

    /// Counts something done.
    pub(super) fn worked(&self) {
        self.work.fetch_add(1, Relaxed);
    }
}

/// Reads the launcher's commands from stdin. When stdin ends, the launcher is gone and this process exits at once.
///
/// # Errors
/// As [`crash::start`].
pub(super) fn read_commands() -> Result<tokio_mpsc::Receiver<Command>, Failure> {
    let (sender, receiver) = tokio_mpsc::channel(64);
    let read = move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.parse() {
                Ok(command) => {
                    let _ = sender.blocking_send(command);
                }
                Err(error) => tracing::warn!(%error, "unknown command"),
            }
        }
        std::process::exit(i32::from(Exit::TryAgain.code()));
    };
    crash::start::<()>(Part::Commands, read).map(|_| receiver)
}

/// Dials the ticket's addresses and carries out the launcher's commands.
pub(super) async fn dispatch_commands(
    mut commands: tokio_mpsc::Receiver<Command>,
    addresses: Vec<SocketAddr>,
    requests: tokio_mpsc::Sender<Request>,
    notices: mpsc::Sender<Notice>,
    shared: Arc<Shared>,
) {
    for address in addresses {
        let _ = requests.send(Request::Input(Input::Introduce { address })).await;
    }
    while let Some(command) = commands.recv().await {
        match command {
            Command::Connect(address) => {
                let _ = requests.send(Request::Input(Input::Introduce { address })).await;
            }
            Command::Begin => {
                shared.begun.store(true, Relaxed);
                let _ = notices.send(Notice::Wake);
            }
            Command::Drain => {
                shared.drain.store(true, Relaxed);
                let _ = notices.send(Notice::Wake);
            }
            Command::Halt => {
                shared.halt.store(true, Relaxed);
                let _ = notices.send(Notice::Halt);
            }
        }
    }
}
