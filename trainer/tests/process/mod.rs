//! The program as a process of its own, and what it prints.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::Value;

/// A bound on everything a test waits for; reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const TINY: [&str; 14] = [
    "--set",
    "model.layers=1",
    "--set",
    "model.heads=2",
    "--set",
    "model.d_model=16",
    "--set",
    "model.context=32",
    "--set",
    "train.batch=2",
    "--set",
    "train.steps=5",
    "--set",
    "checkpoint.every_tokens=5k",
];

/// A `murmur` with `--json`, and the objects it prints.
pub(crate) struct Murmur {
    pub(crate) child: Child,
    lines: Receiver<Value>,
    seen: Vec<Value>,
    /// What it says on stderr goes there.
    notes: tempfile::NamedTempFile,
}

impl Murmur {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(&[], arguments)
    }

    pub(crate) fn start_with(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let notes = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_murmur"))
            .args(arguments)
            .envs(environment.iter().copied())
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(notes.reopen().expect("a file that can be opened twice"))
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).expect("every line is JSON");
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new(), notes }
    }

    /// Reads on until an object of `murmur.<kind>/1` satisfies `wanted`.
    pub(crate) fn until(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (schema, deadline) = (format!("murmur.{kind}/1"), Instant::now() + PATIENCE);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(value) = self.lines.recv_timeout(left) else {
                panic!("no such {kind}; printed so far: {:#?}\n{}", self.seen, self.notes());
            };
            self.seen.push(value.clone());
            if value["schema"] == schema && wanted(&value) {
                return value;
            }
        }
    }

    /// Waits for its end, whatever it prints: the last object, if any, and the exit code.
    pub(crate) fn end(mut self) -> (Option<Value>, i32) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(value) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(value);
        }
        assert!(Instant::now() < deadline, "it does not end: {:#?}\n{}", self.seen, self.notes());
        let code = self.child.wait().expect("it exits").code().expect("by itself");
        eprintln!("{}", self.notes());
        (self.seen.pop(), code)
    }

    /// What it has said on stderr so far.
    pub(crate) fn notes(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.notes.path()).expect("it is there")).into_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id().into(), name);
    }

    /// Reads to the end: the summary and the exit code.
    pub(crate) fn finish(mut self) -> (Value, i32) {
        let summary = self.until("summary", |_| true);
        let code = self.child.wait().expect("it exits").code().expect("by itself");
        // Shown only when the test fails.
        eprintln!("{}", self.notes());
        (summary, code)
    }
}

impl Drop for Murmur {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u64, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.expect("kill is installed").success(), "process {pid} is there");
}

/// Whether a process is there; one that has ended and was not waited for counts as gone.
pub(crate) fn is_alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Some hundred kilobytes that can be learned.
pub(crate) fn text(dir: &Path) -> PathBuf {
    let words = ["fn ", "let ", "mut ", "self", "(x)", " {\n", "}\n", "match ", "=> ", "Some", "return ", "0;\n"];
    let mut state = 1u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        words[(state >> 60) as usize % words.len()]
    };
    let path = dir.join("text");
    fs::create_dir(&path).expect("a fresh folder");
    for file in 0..20 {
        let content: String = (0..4000).map(|_| word()).collect();
        fs::write(path.join(format!("{file}.txt")), content).expect("a fresh file");
    }
    path
}

pub(crate) fn run<'a>(dir: &'a str, text: &'a str, more: &[&'a str]) -> Murmur {
    let base = ["run", "--state-dir", dir, "--data", text];
    Murmur::start(&[&base[..], &TINY, more].concat())
}

/// What a command that ends at once prints with `--json`.
pub(crate) fn page(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_murmur")).args(arguments).arg("--json").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one object")
}

pub(crate) fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("a plain path").to_owned()
}
