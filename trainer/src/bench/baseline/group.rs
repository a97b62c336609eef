//! Ranks as processes: starts them, lets them meet, begins, and gathers what they measured.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::in_process;
use super::process::{Ranks, Said, Start};
use super::rank::Task;
use crate::bench::{
    links::Namespaces,
    suite::{Point, Sample},
};
use crate::error::{Exit, Failure};

/// Where a rank runs: how its process is started, and the address it listens on.
pub struct Place {
    /// Starts this program, with arguments still to come.
    pub command: Command,
    /// The address it listens on.
    pub listen: IpAddr,
}

impl Place {
    /// On this machine, on loopback.
    ///
    /// # Errors
    /// [`Exit::Device`] when this program's own file cannot be found.
    pub fn here() -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(Exit::Device, "cannot find murmur's own program").because(error))?;
        Ok(Self { command: Command::new(program), listen: Ipv4Addr::LOCALHOST.into() })
    }

    /// In the namespace of rank `rank`.
    ///
    /// # Errors
    /// As [`Place::here`].
    pub fn within(links: &Namespaces, rank: usize) -> Result<Self, Failure> {
        let here = Self::here()?;
        let program = here.command.get_program().to_owned();
        Ok(Self { command: links.command(rank, program), listen: links.address(rank) })
    }
}

/// A rank's process; killed when this is dropped.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    rank: usize,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Trains a task with a process for each rank. `sets` are the settings that the task was made with.
///
/// # Errors
/// [`Exit::Device`] when a process cannot be started; [`Exit::NoPeers`] with what a rank said last when one ended early.
pub fn train(task: &Task, sets: &[String], places: Vec<Place>, threads: usize) -> Result<Sample, Failure> {
    let start = |(rank, place)| Process::start(task, sets, place, rank, threads);
    let mut processes = places.into_iter().enumerate().map(start).collect::<Result<Vec<_>, _>>()?;
    let mut ranks = Vec::new();
    for process in &mut processes {
        let Said::Ready { peer, address } = process.next_line()? else { return Err(process.unexpected()) };
        ranks.push((peer, address));
    }
    processes.iter_mut().try_for_each(|process| process.tell(&Ranks(ranks.clone())))?;
    for process in &mut processes {
        let Said::Met = process.next_line()? else { return Err(process.unexpected()) };
    }
    processes.iter_mut().try_for_each(|process| process.tell(&"begin"))?;
    for process in &mut processes {
        let Said::Trained = process.next_line()? else { return Err(process.unexpected()) };
    }
    processes.iter_mut().try_for_each(|process| process.tell(&"end"))?;
    let (mut curves, mut seconds, mut bytes, mut compute) = (Vec::new(), 0.0_f64, 0, 0.0);
    for process in &mut processes {
        let Said::Done { curve, seconds: own, sent_bytes, compute_seconds } = process.next_line()? else {
            return Err(process.unexpected());
        };
        if !curve.is_empty() {
            curves.push(
                curve
                    .into_iter()
                    .map(|(tokens, seconds, bytes, loss)| Point { tokens, seconds, bytes, loss })
                    .collect(),
            );
        }
        (seconds, bytes, compute) = (seconds.max(own), bytes + sent_bytes, compute + compute_seconds);
    }
    let mut sample = in_process::sample(task, &curves, seconds, bytes);
    // Ranks send alike, but for the server's; a point's bytes are one rank's.
    let last = sample.curve.last().map_or(0, |point| point.bytes);
    let all = if last == 0 { 0.0 } else { bytes as f64 / last as f64 };
    sample.curve.iter_mut().for_each(|point| point.bytes = (point.bytes as f64 * all) as u64);
    let busy = compute / (seconds * task.peers as f64).max(f64::MIN_POSITIVE);
    sample.figures.insert("compute_share".to_owned(), busy);
    Ok(sample)
}

impl Process {
    fn start(task: &Task, sets: &[String], place: Place, rank: usize, threads: usize) -> Result<Self, Failure> {
        let Place { mut command, listen } = place;
        command.arg("baseline-rank").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command.env("RAYON_NUM_THREADS", threads.to_string());
        let failed = |error| Failure::new(Exit::Device, "cannot start a rank").because(error);
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).expect("both were asked to be pipes");
        let mut process = Self { child, stdin, stdout: BufReader::new(stdout), rank };
        let (method, momentum) = (task.method.name().to_owned(), task.momentum);
        process.tell(&Start { method, sets: sets.to_vec(), momentum, rank, peers: task.peers, listen, threads })?;
        Ok(process)
    }

    fn tell(&mut self, line: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(line).expect("what a rank reads is JSON");
        let told = writeln!(self.stdin, "{text}").and_then(|()| self.stdin.flush());
        told.map_err(|error| self.ended().because(error))
    }

    fn next_line(&mut self) -> Result<Said, Failure> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(read) if read > 0 => serde_json::from_str(&line).map_err(|error| self.unexpected().because(error)),
            Ok(_) | Err(_) => Err(self.ended()),
        }
    }

    fn ended(&mut self) -> Failure {
        let how = self.child.wait().map_or_else(|_| "gone".to_owned(), |status| status.to_string());
        Failure::new(Exit::NoPeers, format!("rank {} ended early", self.rank)).because(how)
    }

    fn unexpected(&self) -> Failure {
        Failure::new(Exit::Bug, format!("rank {} said what nobody waited for", self.rank))
    }
}
