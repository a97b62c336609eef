//! Reports to the launcher: one JSON object a line on stdout.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use murmur_coordinatorless::EntryName;

use crate::crash::{self, Part};
use crate::error::Failure;
use crate::protocol::{Alive, Event, EventKind, Excluded, Finished, Folded, Report, Segment, Started};

/// How often the process reports that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// Writes reports. A launcher that no longer listens is noticed on stdin, so a failed write is not an error here.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reporter;

impl Reporter {
    /// Reports every second, from now to the end of the process, that it is alive and how much `work` it has done.
    /// A thread of its own: the others may be busy for long.
    ///
    /// # Errors
    /// As [`crash::start`].
    pub(super) fn keep_beating(self, work: Arc<AtomicU64>) -> Result<(), Failure> {
        let beat = move || {
            loop {
                self.write(&Report::Alive(Alive { work: work.load(Relaxed) }));
                std::thread::sleep(BEAT);
            }
        };
        crash::start::<()>(Part::Heartbeat, beat).map(drop)
    }

    pub(super) fn started(self, started: Started) {
        self.write(&Report::Started(started));
    }

    pub(super) fn segment(self, segment: Segment) {
        self.write(&Report::Segment(segment));
    }

    pub(super) fn finished(self, finished: Finished) {
        self.write(&Report::Finished(finished));
    }

    /// Reports that an update was folded, with the present time: it is sent at once.
    pub(super) fn folded(self, update: EntryName) {
        let at_us = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros());
        let at_us = u64::try_from(at_us).unwrap_or(u64::MAX);
        self.write(&Report::Folded(Folded { author: update.author.to_string(), seq: update.seq, at_us }));
    }

    pub(super) fn excluded(self, counts: BTreeMap<String, u32>) {
        self.write(&Report::Excluded(Excluded { counts }));
    }

    pub(super) fn event(self, kind: EventKind, peer: Option<String>, detail: impl Into<String>) {
        self.write(&Report::Event(Event { kind, peer, detail: detail.into() }));
    }

    pub(super) fn fault(self, failure: &Failure) {
        self.write(&Report::Error(failure.to_fault()));
    }

    fn write(self, report: &Report) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", report.to_line()).and_then(|()| out.flush());
    }
}
