//! This program as a child: what a case needs that takes over signals, or whose processor time is to be counted alone.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::Value;

use super::footprint::children_cpu_seconds;
use crate::error::{Exit, Failure};

/// Lines of a log that a failed sample keeps.
const LOG_LINES: usize = 20;

/// How a child ended, and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    /// The objects on its stdout.
    pub(super) objects: Vec<Value>,
    /// Its exit code; nothing if a signal ended it.
    pub(super) code: Option<i32>,
    /// The end of its stderr.
    pub(super) log: String,
    /// From its start to its end.
    pub(super) seconds: f64,
    /// Processor seconds of it and its own children, where the system says.
    pub(super) processor_seconds: Option<f64>,
}

impl Ended {
    /// Runs `murmur` with `arguments` and `--json` to its end.
    ///
    /// # Errors
    /// [`Exit::Device`] when it cannot be started.
    pub(super) fn of(arguments: &[String]) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::new(Exit::Device, "cannot start murmur itself").because(error);
        let program = std::env::current_exe().map_err(cannot)?;
        let notes = tempfile::NamedTempFile::new().map_err(cannot)?;
        let (begun, before) = (Instant::now(), children_cpu_seconds());
        let mut command = Command::new(program);
        command.args(arguments).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped());
        // Settings come from the suite alone, so that the environment is no part of the result.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MURMUR_") && name != murmur_kernels::simd::VARIABLE {
                command.env_remove(&name);
            }
        }
        let mut child = command.stderr(notes.reopen().map_err(cannot)?).spawn().map_err(cannot)?;
        let stdout = child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        let objects = stdout.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect();
        let code = child.wait().map_err(cannot)?.code();
        let processor_seconds = children_cpu_seconds().zip(before).map(|(after, before)| after - before);
        let text = String::from_utf8_lossy(&fs::read(notes.path()).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let log = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        Ok(Self { objects, code, log, seconds: begun.elapsed().as_secs_f64(), processor_seconds })
    }

    /// The last object of this schema.
    pub(super) fn last(&self, schema: &str) -> Option<&Value> {
        self.objects.iter().rev().find(|object| object["schema"] == schema)
    }

    /// Why it failed, with the end of its log.
    pub(super) fn failure(&self) -> String {
        let how = self.code.map_or_else(|| "killed by a signal".to_owned(), |code| format!("exit {code}"));
        let said = self.last("murmur.error/1").and_then(|error| error["message"].as_str());
        [Some(how.as_str()), said, Some(self.log.as_str())].into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}
