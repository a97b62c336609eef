//! The whole loop against real processes: small shell scripts that speak the protocol of a peer.
#![allow(clippy::unwrap_used)]

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{super::PeerPlan, *};
use crate::{error::Exit, observe::output::Format, protocol::sample_reports as sample, run::ticket::Ticket};

/// Passes every line written to stdout on to a test.
struct Lines {
    pending: Vec<u8>,
    to: Sender<Value>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let _ = self.to.send(serde_json::from_slice(&line).unwrap());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A launch in a thread of its own, whose objects and result a test can wait for.
struct Launch {
    stop: Sender<Notice>,
    objects: Receiver<Value>,
    thread: Option<thread::JoinHandle<Result<(), Failure>>>,
    dir: TempDir,
    notes: Arc<Mutex<Vec<u8>>>,
}

#[derive(Clone)]
struct Notes(Arc<Mutex<Vec<u8>>>);

impl Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Launch {
    fn new(scripts: &[String], limit: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(dir.path(), scripts, limit);
        let (to, objects) = mpsc::channel();
        let (stop, from) = mpsc::channel();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let stderr = Notes(Arc::clone(&notes));
        let sender = stop.clone();
        let thread = thread::spawn(move || {
            let stdout = Lines { pending: Vec::new(), to };
            let mut output = Output::to(Format::Json, Box::new(stdout), Box::new(stderr));
            launch_with(&plan, &mut output, &sender, &from)
        });
        Self { stop, objects, thread: Some(thread), dir, notes }
    }

    /// The next object; the launch must bring one.
    fn next(&self) -> Value {
        self.objects.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn result(&mut self) -> Result<(), Failure> {
        self.thread.take().unwrap().join().unwrap()
    }

    /// What the scripts wrote about themselves.
    fn trace(&self, index: usize) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("heard-{index}"))).unwrap_or_default()
    }
}

fn plan(dir: &Path, scripts: &[String], limit: Option<Duration>) -> Plan {
    let peer = |(index, script): (usize, &String)| PeerPlan {
        prefix: Vec::new(),
        arguments: ["-c".into(), format!("cd '{}'; {script}", dir.display()).into()].to_vec(),
        environment: Vec::new(),
        threads: 1,
        log: dir.join(format!("log-{index}")),
    };
    Plan {
        program: "/bin/sh".into(),
        peers: scripts.iter().enumerate().map(peer).collect(),
        run_id: [0x0f; 32],
        state_dir: dir.to_owned(),
        announce: None,
        limit,
        joined: false,
        resumed: false,
        data: None,
        lan: false,
    }
}

fn say(report: &Report) -> String {
    format!("echo '{}'", report.to_line())
}

fn started(index: usize) -> String {
    say(&Report::Started(sample::started(index)))
}

fn finished(index: usize) -> String {
    say(&Report::Finished(sample::finished(index)))
}

/// A peer that starts, writes down the commands it gets, reports a segment when introduced to another peer, finishes when
/// drained, and exits when halted or alone.
fn well_behaved(index: usize) -> String {
    let (started, finished) = (started(index), finished(index));
    let segment = say(&Report::Segment(sample::segment(0)));
    format!(
        "{started}; while read line; do echo $line >> heard-{index}; case $line in connect*) {segment};; \
         drain) {finished};; halt) exit 0;; esac; done; echo end >> heard-{index}; exit 0"
    )
}

#[test]
fn a_time_limit_drains_and_every_peer_is_heard_and_told() {
    let scripts: Vec<_> = (0..3).map(well_behaved).collect();
    let mut launch = Launch::new(&scripts, Some(Duration::from_millis(50)));
    let opening = launch.next();
    assert_eq!(opening["schema"], "murmur.started/1");
    assert_eq!(opening["peers"].as_array().unwrap().len(), 3);
    assert!(opening["ticket"].as_str().unwrap().parse::<Ticket>().is_ok());
    let round = launch.next();
    assert_eq!((round["schema"].as_str(), round["tokens"].as_u64()), (Some("murmur.round/1"), Some(4_000)));
    let summary = launch.next();
    assert_eq!((summary["schema"].as_str(), &summary["state_roots_equal"]), (Some("murmur.summary/1"), &true.into()));
    launch.result().unwrap();
    assert_eq!(launch.trace(1), "connect 127.0.0.1:4000\nconnect 127.0.0.1:4002\ndrain\nhalt\n");
}

#[test]
fn one_request_drains_and_the_summary_comes_last() {
    let mut launch = Launch::new(&[well_behaved(0)], None);
    launch.next();
    launch.stop.send(Notice::Stop).unwrap();
    let last = std::iter::from_fn(|| launch.objects.recv_timeout(Duration::from_secs(30)).ok()).last().unwrap();
    assert_eq!(last["schema"], "murmur.summary/1");
    launch.result().unwrap();
}

#[test]
fn two_requests_end_everything_at_once() {
    let deaf = format!("echo $$ > pid; {}; exec sleep 600", started(0));
    let mut launch = Launch::new(&[deaf], None);
    launch.next();
    launch.stop.send(Notice::Stop).unwrap();
    launch.stop.send(Notice::Stop).unwrap();
    assert_eq!(launch.result().unwrap_err().exit(), Exit::TryAgain);
    let pid = std::fs::read_to_string(launch.dir.path().join("pid")).unwrap();
    let alive = std::process::Command::new("/bin/sh").args(["-c", &format!("kill -0 {pid}")]).output().unwrap();
    assert!(!alive.status.success(), "the peer outlived the launcher");
}

#[test]
fn a_killed_peer_is_reported_and_the_others_go_on() {
    let dies = format!("{}; kill -9 $$", started(0));
    let mut launch = Launch::new(&[dies, well_behaved(1)], Some(Duration::from_millis(300)));
    let objects: Vec<_> = std::iter::from_fn(|| launch.objects.recv_timeout(Duration::from_secs(30)).ok()).collect();
    launch.result().unwrap();
    let departed = objects.iter().find(|object| object["schema"] == "murmur.event/1").unwrap();
    assert_eq!(
        (departed["kind"].as_str(), departed["detail"].as_str()),
        (Some("departed"), Some("killed by signal 9"))
    );
    let summary = objects.last().unwrap();
    assert_eq!((summary["survivors"].as_u64(), &summary["state_roots_equal"]), (Some(1), &true.into()));
}

#[test]
fn a_peer_that_cannot_start_ends_the_run_with_its_code() {
    let fault = say(&Report::Error(sample::fault()));
    let mut launch = Launch::new(&[format!("{fault}; exit 20"), well_behaved(1)], None);
    let failure = launch.result().unwrap_err();
    assert_eq!(failure.exit(), Exit::Data);
    assert!(failure.to_fault().hint.contains("--data"));
}

#[test]
fn a_peer_that_panics_shows_its_last_words() {
    let mut launch = Launch::new(&["echo boom >&2; exit 101".to_owned()], None);
    let failure = launch.result().unwrap_err();
    assert_eq!(failure.exit(), Exit::Crashed);
    assert!(failure.sentence().contains("boom"), "{}", failure.sentence());
    assert!(String::from_utf8_lossy(&launch.notes.lock().unwrap()).contains("boom"));
}

#[test]
fn when_all_fail_the_code_is_theirs_and_when_all_are_killed_one_may_try_again() {
    let fault = say(&Report::Error(sample::fault()));
    let mut launch = Launch::new(&[format!("{}; {fault}; exit 20", started(0))], None);
    assert_eq!(launch.result().unwrap_err().exit(), Exit::Data);
    let mut launch = Launch::new(&[format!("{}; kill -9 $$", started(0))], None);
    assert_eq!(launch.result().unwrap_err().exit(), Exit::TryAgain);
}

#[test]
fn the_last_finished_report_counts() {
    let early = sample::finished(1);
    let early = crate::protocol::Finished { version: "dd".repeat(32), state_root: "dd".repeat(32), ..early };
    let early = say(&Report::Finished(early));
    let late = format!("{}; {early}; {}; read line; exit 0", started(1), finished(1));
    let prompt = format!("{}; {}; read line; exit 0", started(0), finished(0));
    let mut launch = Launch::new(&[prompt, late], None);
    launch.result().unwrap();
}

#[test]
fn events_from_before_the_first_screen_come_after_it() {
    let visitor = say(&Report::Event(sample::event(crate::protocol::EventKind::Joined, &sample::peer_id(9))));
    let mut launch = Launch::new(&[format!("{visitor}; {}", well_behaved(0))], Some(Duration::from_millis(50)));
    let schemas: Vec<_> = std::iter::from_fn(|| launch.objects.recv_timeout(Duration::from_secs(30)).ok())
        .map(|object| object["schema"].as_str().unwrap().to_owned())
        .collect();
    launch.result().unwrap();
    assert_eq!(schemas, ["murmur.started/1", "murmur.event/1", "murmur.summary/1"]);
}
