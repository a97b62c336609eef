//! The launcher's loop: notices in, commands to the peers and lines to the user out, until every peer is gone.

mod ending;

use std::{
    process::ExitStatus,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use super::{
    Plan,
    addresses::{explanation, for_neighbour},
    board::Board,
    child::{Peer, describe},
    exit_cause::exit_cause,
    lan,
    liveness::{Liveness, Waiting},
    opening::opening,
    repetition::Repetition,
    signals,
};
use crate::{
    error::Failure,
    observe::{
        output::Output,
        views::{EventLine, count},
    },
    protocol::{Command, Event, Report, Started},
    resources::oom_kills,
    run::ticket::Ticket,
};

/// How often processes and time limits are checked while no report comes.
const TICK: Duration = Duration::from_millis(100);
/// How long peers that all finished may take to end with the same set.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);
/// How long a peer may take to exit, once sent `halt` or once its stdout is closed.
const EXIT_WITHIN: Duration = Duration::from_secs(5);
/// How many lines of a dead peer's log are shown.
const LAST_WORDS: usize = 5;

/// Inputs of the launcher's loop.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A peer reported.
    Report(usize, Box<Report>),
    /// A peer wrote a line that is no report.
    Noise(usize, String),
    /// A peer's stdout ended: it is exiting.
    Closed(usize),
    /// The user, or the system, wants it to end.
    Stop,
}

/// Runs the peers of `plan` to their end and shows everything on `output`. May be called once per process, because it
/// takes over Ctrl-C. When it returns, no peer process is left.
///
/// # Errors
/// The failure of the peers when none finished; [`Bug`](crate::error::Exit::Bug) when states differ;
/// [`TryAgain`](crate::error::Exit::TryAgain) when it was stopped at once or sets differ;
/// [`Evicted`](crate::error::Exit::Evicted) when all peers of this machine were.
pub fn launch(plan: &Plan, output: &mut Output) -> Result<(), Failure> {
    let (to, from) = mpsc::channel();
    signals::listen(to.clone())?;
    launch_with(plan, output, &to, &from)
}

/// As [`launch`], with notices from the given channel, requests to stop among them.
pub(super) fn launch_with(
    plan: &Plan,
    output: &mut Output,
    to: &Sender<Notice>,
    from: &Receiver<Notice>,
) -> Result<(), Failure> {
    let (clock, mut peers) = (Instant::now(), Vec::new());
    for (index, peer) in plan.peers.iter().enumerate() {
        let peer = Peer::spawn(&plan.program, peer, index, to.clone())?;
        peers.push(Some(Seated { peer, closed_at: None, liveness: Liveness::new(clock.elapsed()) }));
    }
    let board = Board::new(peers.len());
    let swarm = Swarm {
        plan,
        output,
        board,
        peers,
        phase: Phase::Starting,
        clock,
        waiting: Waiting::default(),
        repetition: Repetition::default(),
        early: Vec::new(),
        announcement: None,
        asked: false,
        ended: Vec::new(),
        oom_kills: oom_kills(),
    };
    swarm.run(from)
}

struct Swarm<'a> {
    plan: &'a Plan,
    output: &'a mut Output,
    board: Board,
    peers: Vec<Option<Seated>>,
    phase: Phase,
    clock: Instant,
    waiting: Waiting,
    repetition: Repetition,
    /// Events from before the first screen, with the index of the peer that reported each.
    early: Vec<(usize, Event)>,
    /// Kept for as long as the run is announced on the local network.
    announcement: Option<lan::Announcement>,
    /// Whether a stop was requested.
    asked: bool,
    /// How peers ended that did not say why, if it was their own doing.
    ended: Vec<Failure>,
    /// Processes that the system had killed for want of memory when the peers were started.
    oom_kills: Option<u64>,
}

struct Seated {
    peer: Peer,
    closed_at: Option<Duration>,
    liveness: Liveness,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Training,
    /// `drain` was sent.
    Draining,
    /// All live peers have finished, but not with the same set yet.
    Settling {
        until: Duration,
    },
    /// `halt` was sent.
    Halting {
        until: Duration,
    },
}

impl Swarm<'_> {
    fn run(mut self, from: &Receiver<Notice>) -> Result<(), Failure> {
        self.output.note(&format!("Starting {} …", count(self.peers.len(), "peer")));
        while self.peers.iter().any(Option::is_some) {
            match from.recv_timeout(TICK) {
                Ok(notice) => self.handle(notice)?,
                Err(RecvTimeoutError::Timeout) => (),
                // Every listener is gone; their processes are still waited for.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            }
            self.tick()?;
        }
        self.conclude()
    }

    fn handle(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Report(index, report) => self.report(index, *report),
            Notice::Noise(index, line) => {
                self.output.note(&format!("Peer {index} said something unreadable: {line}"));
                Ok(())
            }
            Notice::Closed(index) => {
                let now = self.clock.elapsed();
                self.peers[index].iter_mut().for_each(|seated| seated.closed_at = Some(now));
                Ok(())
            }
            Notice::Stop => self.stop(),
        }
    }

    fn report(&mut self, index: usize, report: Report) -> Result<(), Failure> {
        let now = self.clock.elapsed();
        let work = if let Report::Alive(alive) = &report { Some(alive.work) } else { None };
        self.peers[index].iter_mut().for_each(|seated| seated.liveness.record_report(now, work));
        match report {
            // Its liveness is all that it says.
            Report::Alive(_) => {}
            Report::Started(started) => {
                self.board.started(index, started);
                return self.open_if_ready();
            }
            Report::Segment(segment) => {
                let left = self.plan.limit.map(|limit| limit.saturating_sub(self.trained()));
                let round = self.board.segment(index, segment, now, left);
                round.iter().for_each(|round| self.output.round(round));
            }
            // Nothing comes before the first screen.
            Report::Event(event) if self.phase == Phase::Starting => self.early.push((index, event)),
            Report::Event(event) => self.event(index, event),
            // Only peers of a benchmark tell, and this launcher starts none.
            Report::Folded(_) | Report::Excluded(_) => {}
            Report::Finished(finished) => self.finished(index, finished),
            Report::Error(fault) => self.board.fault(index, fault),
        }
        Ok(())
    }

    /// Once every peer is up or gone: introduces them to each other and shows the first screen.
    fn open_if_ready(&mut self) -> Result<(), Failure> {
        if self.phase != Phase::Starting || !self.board.ready() {
            return Ok(());
        }
        let up: Vec<(usize, Started)> = self
            .board
            .seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| !seat.gone)
            .filter_map(|(index, seat)| Some((index, seat.started.clone()?)))
            .collect();
        for (index, _) in &up {
            let others = up.iter().filter(|(other, _)| other != index);
            let addresses: Vec<_> = others.map(|(_, started)| for_neighbour(started.address)).collect();
            addresses.into_iter().for_each(|address| self.send(*index, Command::Connect(address)));
        }
        let started: Vec<_> = up.into_iter().map(|(_, started)| started).collect();
        let listening: Vec<_> = started.iter().map(|started| started.address).collect();
        let why = explanation(&listening, self.plan.announce);
        why.iter().for_each(|why| self.output.note(why));
        let opening = opening(self.plan, started)?;
        self.output.opening(&opening);
        self.announce(&opening.ticket);
        self.board.begin(self.clock.elapsed());
        self.phase = Phase::Training;
        std::mem::take(&mut self.early).into_iter().for_each(|(index, event)| self.event(index, event));
        Ok(())
    }

    /// Announces the run on the local network if that was asked for. The run does not depend on it.
    fn announce(&mut self, ticket: &str) {
        let Some(ticket) = ticket.parse::<Ticket>().ok().filter(|_| self.plan.lan) else { return };
        match lan::announce(&ticket, lan::Interfaces::All) {
            Ok(announcement) => self.announcement = Some(announcement),
            Err(failure) => self.output.note(&failure.sentence()),
        }
    }

    fn event(&mut self, index: usize, event: Event) {
        let now = self.clock.elapsed();
        let told = self.board.event(index, event, now);
        told.iter().for_each(|told| self.show(told, now));
    }

    /// A program gets every event; a person only the first of many alike.
    fn show(&mut self, happening: &EventLine, now: Duration) {
        if self.output.is_for_programs() || self.repetition.shows(happening.kind, now) {
            self.output.event(happening);
        }
    }

    fn tick(&mut self) -> Result<(), Failure> {
        for index in 0..self.peers.len() {
            self.reap(index)?;
        }
        let now = self.clock.elapsed();
        self.board.overdue(now).iter().for_each(|told| self.show(told, now));
        self.repetition.over(now).iter().for_each(|said| self.output.note(said));
        let over = self.plan.limit.is_some_and(|limit| self.trained() >= limit);
        let why = self.output.end_of_output().or_else(|| over.then(|| "The time is up.".to_owned()));
        if let Some(why) = why.filter(|_| self.phase == Phase::Training) {
            self.drain(&why);
        }
        self.wait(now);
        self.settle(now);
        self.output.progress(self.board.tokens, self.board.alive().find_map(|seat| seat.started.as_ref()));
        Ok(())
    }

    /// Notices that a peer is gone; helps one along that closed its stdout and stays.
    fn reap(&mut self, index: usize) -> Result<(), Failure> {
        let now = self.clock.elapsed();
        let Some(seated) = &mut self.peers[index] else {
            return Ok(());
        };
        let Some(closed_at) = seated.closed_at else {
            return Ok(());
        };
        let Some(status) = seated.peer.ended() else {
            if now >= closed_at + EXIT_WITHIN {
                seated.peer.kill();
            }
            return Ok(());
        };
        let words = seated.peer.last_words(LAST_WORDS);
        self.peers[index] = None;
        self.gone(index, status, &words)
    }

    fn gone(&mut self, index: usize, status: ExitStatus, words: &[String]) -> Result<(), Failure> {
        let seat = &self.board.seats[index];
        let silent = seat.fault.is_none() && seat.finished.is_none();
        let departed = self.board.gone(index, &describe(status));
        let now = self.clock.elapsed();
        departed.iter().for_each(|told| self.show(told, now));
        if silent {
            let short = oom_kills() > self.oom_kills;
            let doing = exit_cause(status, words, short);
            if doing.is_some() && !words.is_empty() {
                self.output.note(&format!("Peer {index} ended without a result; the end of its log:"));
                words.iter().for_each(|line| self.output.note(&format!("  {line}")));
            }
            self.ended.extend(doing);
        }
        if self.phase == Phase::Starting {
            // A killed peer is a loss; one that fails by itself would fail for the others too.
            let failed = self.board.seats[index].fault.is_some() || !self.ended.is_empty();
            let others = self.peers.iter().any(Option::is_some);
            if failed && !(self.plan.resumed && others) {
                return Err(self.reason());
            }
            let fault = self.board.seats[index].fault.as_ref().map(|fault| fault.message.as_str());
            self.output.note(&format!("Going on without peer {index}: {}", fault.unwrap_or("it ended")));
            return self.open_if_ready();
        }
        Ok(())
    }

    fn trained(&self) -> Duration {
        if self.phase == Phase::Starting {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(self.board.seconds(self.clock.elapsed()))
    }

    fn send(&mut self, index: usize, command: Command) {
        self.peers[index].iter_mut().for_each(|seated| seated.peer.send(command));
    }

    fn tell_all(&mut self, command: Command) {
        self.peers.iter_mut().flatten().for_each(|seated| seated.peer.send(command));
    }
}

#[cfg(all(test, unix))]
mod tests;
