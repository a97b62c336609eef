//! One peer process, with the pipes to it: killed at the latest when this is dropped.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::mpsc::Sender,
};

use super::{plan::PeerPlan, swarm::Notice};
use crate::{
    crash::{self, Part},
    error::{Exit, Failure},
    protocol::{Command, Report},
};

/// How much of a log's end is looked at for its last lines.
const TAIL_BYTES: u64 = 4096;

/// A peer process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Peer {
    /// Starts the `index`-th peer. Its reports arrive as [`Notice`]s; the end of its stdout is the last.
    ///
    /// # Errors
    /// [`Exit::Device`] when the process cannot be started, [`Exit::Config`] when its log cannot be written.
    pub(crate) fn spawn(program: &Path, plan: &PeerPlan, index: usize, to: Sender<Notice>) -> Result<Self, Failure> {
        let log = File::options().create(true).append(true).open(&plan.log);
        let log = log.map_err(|error| Failure::io(Exit::Config, "write", &plan.log, &error))?;
        let words: Vec<&OsStr> = plan.prefix.iter().map(OsString::as_os_str).chain([program.as_os_str()]).collect();
        let mut command = std::process::Command::new(words[0]);
        command
            .args(&words[1..])
            .args(&plan.arguments)
            .envs(plan.environment.iter().copied())
            .env("RAYON_NUM_THREADS", plan.threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        own_group(&mut command);
        let mut process = command.spawn().map_err(|error| Failure::io(Exit::Device, "start", program, &error))?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().expect("stdout was asked to be a pipe");
        // Without ears for it, it is dropped, which kills it.
        let peer = Self { process, stdin, log: plan.log.clone() };
        crash::start(Part::Reports, move || listen(BufReader::new(stdout), index, &to))?;
        Ok(peer)
    }

    /// The operating system's number for it.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends the peer a command. One that has exited gets nothing; its exit is reported elsewhere.
    pub(crate) fn send(&mut self, command: Command) {
        let failed = |stdin: &mut ChildStdin| writeln!(stdin, "{command}").and_then(|()| stdin.flush()).is_err();
        if self.stdin.as_mut().is_some_and(failed) {
            self.stdin = None;
        }
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        // A process that cannot be asked about is not ours any more.
        self.process.try_wait().unwrap_or_default()
    }

    /// Ends it now.
    pub(crate) fn kill(&mut self) {
        self.stdin = None;
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The last lines of its log, at most `lines`.
    pub(crate) fn last_words(&self, lines: usize) -> Vec<String> {
        let text = tail(&self.log).unwrap_or_default();
        let words: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        words[words.len().saturating_sub(lines)..].iter().map(|&line| line.to_owned()).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// In a group of its own, so that a terminal's Ctrl-C reaches the launcher alone, which drains.
fn own_group(command: &mut std::process::Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    {
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;
        std::os::windows::process::CommandExt::creation_flags(command, CREATE_NEW_PROCESS_GROUP);
    }
}

/// Passes on what a peer reports, line by line, until its stdout ends.
fn listen(stdout: impl BufRead, index: usize, to: &Sender<Notice>) {
    for line in stdout.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let notice = match Report::from_line(&line) {
            Ok(report) => Notice::Report(index, Box::new(report)),
            Err(error) => Notice::Noise(index, format!("{error}: {}", line.chars().take(120).collect::<String>())),
        };
        if to.send(notice).is_err() {
            return;
        }
    }
    // The receiver is gone when the launcher is done.
    let _ = to.send(Notice::Closed(index));
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How a process ended, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("killed by signal {signal}");
    }
    status.code().map_or_else(|| "ended".to_owned(), |code| format!("exit {code}"))
}
