//! The peer processes of a benchmark: starts them, reads their reports, freezes and kills them, and leaves none behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Stdio,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant, SystemTime},
};

use super::{footprint, links::Namespaces, run_folder::RunFolder, tally::Tally};
use crate::{
    error::{Exit, Failure},
    launcher::{self, Notice, Peer, describe},
    peer::Pace,
    protocol::{Command, EventKind, Fault, Finished, Report, Started},
    run::ticket::Ticket,
};

/// How often memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// One sample in this many divides shared memory among processes, which takes longer.
const PROPORTIONAL_EVERY: u32 = 8;

/// How long a process may take to exit after `halt`.
const EXIT_WITHIN: Duration = Duration::from_secs(5);

/// All processes, the dead ones included; a process keeps its index.
pub(super) struct Fleet {
    pub(super) run_folder: RunFolder,
    pub(super) processes: Vec<Process>,
    pub(super) tally: Tally,
    pub(super) memory: Memory,
    to: Sender<Notice>,
    from: Receiver<Notice>,
    /// The links between them; outlives them.
    links: Option<Namespaces>,
}

/// One process and its newest reports.
pub(super) struct Process {
    /// Which folder it works in; a later process may continue in it.
    pub(super) folder: usize,
    pub(super) life: Life,
    pub(super) started: Option<Started>,
    /// Whether its set equals the others': a founder's does from the start.
    pub(super) ready: bool,
    /// Whom it is connected to, in hex.
    pub(super) neighbours: BTreeSet<String>,
    /// When each of its own segments was reported.
    pub(super) segments: Vec<Instant>,
    pub(super) bytes_sent: u64,
    /// How long its segments computed, all together, seconds.
    pub(super) trained_seconds: f64,
    pub(super) finished: Option<Finished>,
    /// Whom it evicted, in hex.
    evicted: BTreeSet<String>,
    /// The reason of its newest `unfinished` event.
    pub(super) unfinished: Option<String>,
    pub(super) fault: Option<Fault>,
    pub(super) was_frozen: bool,
    peer: Peer,
}

/// Whether a process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// Stopped by a signal; it can go on.
    Frozen,
    /// Killed by this program, at this time in microseconds since 1970.
    Killed(u64),
    /// Ended by itself; how.
    Ended(String),
}

/// What the processes took together, and each over time since it had caught up: what it takes up to then is no growth.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) resident_peak: u64,
    pub(super) proportional_peak: u64,
    pub(super) series: BTreeMap<usize, Vec<f64>>,
    samples: u32,
    next: Option<Instant>,
}

impl Process {
    pub(super) fn lives(&self) -> bool {
        matches!(self.life, Life::Running | Life::Frozen)
    }

    /// Its public key in hex, once it is up.
    pub(super) fn peer_id(&self) -> Option<&str> {
        self.started.as_ref().map(|started| started.peer_id.as_str())
    }

    pub(super) fn pid(&self) -> u32 {
        self.peer.pid()
    }

    pub(super) fn send(&mut self, command: Command) {
        self.peer.send(command);
    }

    /// What was wrong with how it ended, if something was.
    fn complaint(&self) -> Option<String> {
        let Life::Ended(how) = &self.life else { return None };
        let why = self.fault.as_ref().map_or(String::new(), |fault| format!(": {}", fault.message));
        (how != "exit 0").then(|| format!("the peer of folder {} ended by itself, {how}{why}", self.folder))
    }

    fn record(&mut self, report: &Report) {
        match report {
            Report::Started(started) => self.started = Some(started.clone()),
            Report::Segment(segment) => {
                self.segments.push(Instant::now());
                self.bytes_sent = segment.bytes_sent;
                self.trained_seconds += segment.seconds;
            }
            Report::Event(event) => match (event.kind, &event.peer) {
                (EventKind::Joined, Some(peer)) => drop(self.neighbours.insert(peer.clone())),
                (EventKind::Departed, Some(peer)) => drop(self.neighbours.remove(peer)),
                (EventKind::CaughtUp, _) => self.ready = true,
                (EventKind::Evicted, Some(peer)) => drop(self.evicted.insert(peer.clone())),
                (EventKind::Unfinished, _) => self.unfinished = Some(event.detail.clone()),
                _ => {}
            },
            Report::Finished(finished) => {
                self.bytes_sent = finished.bytes_sent;
                self.finished = Some(finished.clone());
            }
            Report::Error(fault) => self.fault = Some(fault.clone()),
            Report::Alive(_) | Report::Folded(_) | Report::Excluded(_) => {}
        }
    }
}

impl Fleet {
    /// No processes yet. Takes over Ctrl-C, from an earlier fleet, too.
    ///
    /// # Errors
    /// As [`launcher::listen`].
    pub(super) fn new(run_folder: RunFolder) -> Result<Self, Failure> {
        let (to, from) = mpsc::channel();
        launcher::listen(to.clone())?;
        let (tally, memory) = (Tally::default(), Memory::default());
        Ok(Self { run_folder, processes: Vec::new(), tally, memory, to, from, links: None })
    }

    /// The same, whose processes will be peers of `links`: the one of folder 0 is the first peer.
    pub(super) fn within(self, links: Namespaces) -> Self {
        Self { links: Some(links), ..self }
    }

    /// The links between the processes, if they are shaped.
    pub(super) fn links(&self) -> Option<&Namespaces> {
        self.links.as_ref()
    }

    /// Starts a process in `folder`; one with a ticket has something to catch up with.
    ///
    /// # Errors
    /// As [`Peer::spawn`].
    pub(super) fn spawn(&mut self, folder: usize, ticket: Option<&Ticket>, pace: Option<Pace>) -> Result<(), Failure> {
        let mut plan = self.run_folder.plan(folder, ticket, pace);
        if let Some(links) = &self.links {
            plan.prefix = links.prefix(folder);
            // Of two values of one setting the last counts. There is no router to ask.
            let sets = [format!("net.listen={}:0", links.address(folder)), "net.port_map=0".to_owned()];
            plan.arguments.extend(sets.into_iter().flat_map(|set| ["--set".into(), set.into()]));
        }
        let peer = Peer::spawn(self.run_folder.program(), &plan, self.processes.len(), self.to.clone())?;
        self.processes.push(Process {
            folder,
            life: Life::Running,
            started: None,
            ready: ticket.is_none(),
            neighbours: BTreeSet::new(),
            segments: Vec::new(),
            bytes_sent: 0,
            trained_seconds: 0.0,
            finished: None,
            evicted: BTreeSet::new(),
            unfinished: None,
            fault: None,
            was_frozen: false,
            peer,
        });
        Ok(())
    }

    /// Indices of the processes that live.
    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|index| self.processes[*index].lives()).collect()
    }

    /// Processes that live, with their indices.
    pub(super) fn living(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.lives())
    }

    /// Where the processes that run and are up listen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let running = self.processes.iter().filter(|process| process.life == Life::Running && process.ready);
        running.filter_map(|process| Some(process.started.as_ref()?.address)).collect()
    }

    /// Tells every process that lives.
    pub(super) fn send_all(&mut self, command: Command) {
        self.processes.iter_mut().filter(|process| process.lives()).for_each(|process| process.send(command));
    }

    /// Kills a process; its earlier reports are still read.
    pub(super) fn kill(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.peer.kill();
        process.life = Life::Killed(now_us());
    }

    /// Stops a process where it is, or lets it go on.
    pub(super) fn freeze(&mut self, index: usize, frozen: bool) {
        let process = &mut self.processes[index];
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let mut command = std::process::Command::new("kill");
        command.args([signal, &process.pid().to_string()]).stderr(Stdio::null());
        // A process that ended by itself in between is reported elsewhere.
        if command.status().is_ok_and(|status| status.success()) {
            process.life = if frozen { Life::Frozen } else { Life::Running };
            process.was_frozen = true;
        }
    }

    /// Takes what comes until `deadline` or until a report came, whichever is first. Says whose report it was.
    ///
    /// # Errors
    /// [`Exit::TryAgain`] when the user stops it.
    pub(super) fn next_report(&mut self, deadline: Instant) -> Result<Option<(usize, Report)>, Failure> {
        self.sample();
        let wait = deadline.saturating_duration_since(Instant::now()).min(SAMPLE_EVERY);
        let notice = match self.from.recv_timeout(wait) {
            Ok(notice) => notice,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(None),
        };
        match notice {
            Notice::Report(index, report) => {
                self.processes[index].record(&report);
                match (&*report, self.processes[index].peer_id()) {
                    (Report::Folded(folded), Some(peer_id)) => self.tally.folded(index, peer_id, folded),
                    (Report::Excluded(excluded), _) => self.tally.excluded(excluded),
                    _ => {}
                }
                return Ok(Some((index, *report)));
            }
            Notice::Noise(index, line) => tracing::warn!(index, line, "a peer said something unreadable"),
            Notice::Closed(index) => self.closed(index),
            Notice::Stop => return Err(Failure::new(Exit::TryAgain, "stopped before the benchmark was over")),
        }
        Ok(None)
    }

    /// Hears reports until `done`, at most for `patience`. Says whether it came to that.
    ///
    /// # Errors
    /// As [`Fleet::next_report`].
    pub(super) fn until(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) -> Result<bool, Failure> {
        let deadline = Instant::now() + patience;
        while !done(self) {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.next_report(deadline)?;
        }
        Ok(true)
    }

    /// What was wrong with processes that ended by themselves, and with those that found an honest peer false.
    pub(super) fn complaints(&self) -> Vec<String> {
        let ended = self.processes.iter().filter_map(Process::complaint);
        let evicting = self.processes.iter().flat_map(|process| {
            let name = |peer: &String| format!("the peer of folder {} evicted honest {}", process.folder, &peer[..12]);
            process.evicted.iter().map(name)
        });
        ended.chain(evicting).collect()
    }

    /// Tells everybody to exit and waits for it. Those that do not are killed and named.
    ///
    /// # Errors
    /// As [`Fleet::next_report`].
    pub(super) fn shut_down(&mut self) -> Result<Vec<String>, Failure> {
        self.send_all(Command::Halt);
        self.until(EXIT_WITHIN, |fleet| fleet.alive().is_empty())?;
        let left = self.alive();
        left.iter().for_each(|index| self.kill(*index));
        let folder = |index: usize| self.processes[index].folder;
        Ok(left
            .into_iter()
            .map(|index| format!("the peer of folder {} did not exit when told", folder(index)))
            .collect())
    }

    /// Processor seconds of the living processes so far, where the system says.
    pub(super) fn cpu_seconds(&self) -> Option<f64> {
        self.living().map(|process| footprint::cpu_seconds(process.pid())).sum()
    }

    /// A process's stdout ended: it is ending.
    fn closed(&mut self, index: usize) {
        let process = &mut self.processes[index];
        if !process.lives() {
            return;
        }
        let deadline = Instant::now() + EXIT_WITHIN;
        let how = loop {
            match process.peer.ended() {
                Some(status) => break describe(status),
                None if Instant::now() >= deadline => break "stdout closed and never exited".to_owned(),
                None => std::thread::yield_now(),
            }
        };
        process.life = Life::Ended(how);
    }

    fn sample(&mut self) {
        let now = Instant::now();
        if self.memory.next.is_some_and(|next| next > now) {
            return;
        }
        self.memory.next = Some(now + SAMPLE_EVERY);
        self.memory.samples += 1;
        let mut resident = 0;
        for index in self.alive() {
            let process = &self.processes[index];
            let Some(bytes) = footprint::resident_bytes(process.pid()) else { continue };
            resident += bytes;
            if process.ready {
                self.memory.series.entry(index).or_default().push(bytes as f64);
            }
        }
        self.memory.resident_peak = self.memory.resident_peak.max(resident);
        if self.memory.samples.is_multiple_of(PROPORTIONAL_EVERY) {
            let proportional = self.living().filter_map(|process| footprint::proportional_bytes(process.pid())).sum();
            self.memory.proportional_peak = self.memory.proportional_peak.max(proportional);
        }
    }
}

/// Microseconds since 1970, as peers tell them.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros());
    u64::try_from(since).unwrap_or(u64::MAX)
}
