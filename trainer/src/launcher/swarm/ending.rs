//! The end of a launch: waiting for equal sets, requests to stop, and the failure when no peer finished.

use std::time::Duration;

use data_encoding::HEXLOWER;

use super::{EXIT_WITHIN, Phase, SETTLE_WITHIN, Swarm};
use crate::{
    error::{Exit, Failure, shell::shell_word},
    launcher::{
        board::Seat,
        liveness::{NAME_AFTER, SILENT_AFTER},
        summary::{summary, verdict},
    },
    observe::views::{Agreement, Summary},
    protocol::{Command, Finished},
};

/// Peers that are named when several are waited for.
const NAMED: usize = 3;

impl Swarm<'_> {
    /// A peer trains no more. When that is because training diverged, it has for all: the others stop as well.
    pub(super) fn finished(&mut self, index: usize, finished: Finished) {
        let diverged = finished.fault.as_ref().is_some_and(|fault| fault.code == Exit::Diverged.code());
        self.board.finished(index, finished);
        if diverged && self.phase == Phase::Training {
            self.drain("Training diverged. Finishing.");
        }
    }

    /// Names the peers that the run waits for, and gives up those that do not answer.
    pub(super) fn wait(&mut self, now: Duration) {
        let away = self.waiting.was_away(now);
        let slow = self.waited_for();
        let Some(since) = self.waiting.update(now, !slow.is_empty()) else { return };
        for &index in &slow {
            let Some(seated) = &mut self.peers[index] else { continue };
            if away {
                seated.liveness.record_report(now, None);
            }
            if let Some(why) = seated.liveness.given_up(now, since) {
                seated.peer.kill();
                self.output.note(&format!("Giving up {}: {why}.", self.board.name(index)));
                self.board.lost(index, why);
            }
        }
        if self.waiting.is_time_to_name(now) {
            self.output.note(&self.waiting_for(&slow, now));
        }
    }

    /// Peers that keep the run from starting or ending.
    fn waited_for(&self) -> Vec<usize> {
        let seats = self.board.seats.iter().enumerate().filter(|(_, seat)| !seat.gone && seat.lost.is_none());
        let starting = self.phase == Phase::Starting;
        let finishing = self.phase == Phase::Draining || self.board.alive().any(|seat| seat.finished.is_some());
        let keeps = |seat: &Seat| if starting { seat.started.is_none() } else { finishing && seat.finished.is_none() };
        seats.filter(|(_, seat)| keeps(seat)).map(|(index, _)| index).collect()
    }

    /// `Waiting for calm-heron and 3 more`, with the silent ones marked.
    fn waiting_for(&self, slow: &[usize], now: Duration) -> String {
        let mut said: Vec<String> = slow.iter().take(NAMED).map(|index| self.patient_name(*index, now)).collect();
        if slow.len() > NAMED {
            said.push(format!("{} more", slow.len() - NAMED));
        }
        format!("Waiting for {}.", said.join(", "))
    }

    fn patient_name(&self, index: usize, now: Duration) -> String {
        let name = self.board.name(index);
        let silent = self.peers[index].as_ref().map_or(Duration::ZERO, |seated| seated.liveness.silent(now));
        if silent < NAME_AFTER {
            return name;
        }
        let (silent, limit) = (silent.as_secs(), SILENT_AFTER.as_secs());
        format!("{name}, silent for {silent} s (the run goes on without it after {limit} s)")
    }

    /// When every live peer has finished: waits a little for equal sets, then lets them go.
    pub(super) fn settle(&mut self, now: Duration) {
        let finished = self.board.alive().all(|seat| seat.finished.is_some());
        match self.phase {
            Phase::Training | Phase::Draining if finished => {
                self.phase = Phase::Settling { until: now + SETTLE_WITHIN }
            }
            Phase::Settling { until } => {
                let settled = self.summary().is_some_and(|summary| summary.agreement != Agreement::Unsettled);
                if settled || now >= until {
                    self.tell_all(Command::Halt);
                    self.phase = Phase::Halting { until: now + EXIT_WITHIN };
                }
            }
            Phase::Halting { until } if now >= until => {
                self.peers.iter_mut().flatten().for_each(|seated| seated.peer.kill());
            }
            Phase::Starting | Phase::Training | Phase::Draining | Phase::Halting { .. } => (),
        }
    }

    /// The first request drains, the second ends everything at once.
    pub(super) fn stop(&mut self) -> Result<(), Failure> {
        let again = std::mem::replace(&mut self.asked, true);
        match self.phase {
            Phase::Starting => Err(Failure::new(Exit::TryAgain, "stopped before the peers were up")),
            Phase::Training => {
                self.drain("Finishing: peers end their segments and settle. Once more stops at once.");
                Ok(())
            }
            Phase::Draining | Phase::Settling { .. } | Phase::Halting { .. } if again => {
                Err(Failure::new(Exit::TryAgain, "stopped at once, before the peers had settled").hint(self.resume()))
            }
            Phase::Draining | Phase::Settling { .. } | Phase::Halting { .. } => {
                self.output.note("Already finishing. Once more stops at once.");
                Ok(())
            }
        }
    }

    pub(super) fn drain(&mut self, why: &str) {
        self.output.note(why);
        self.board.draining();
        self.tell_all(Command::Drain);
        self.phase = Phase::Draining;
    }

    pub(super) fn conclude(mut self) -> Result<(), Failure> {
        let Some(summary) = self.summary() else {
            return Err(self.reason());
        };
        self.output.summary(&summary);
        match summary.agreement {
            Agreement::Broken => verdict(&summary),
            Agreement::Equal | Agreement::Unsettled => self.complaint().map_or_else(|| verdict(&summary), Err),
        }
        .and_then(|()| self.nobody_lost())
    }

    /// What went wrong with one of the peers by its own doing, although others finished. That some were evicted, killed or
    /// stopped is no fault of the run.
    fn complaint(&self) -> Option<Failure> {
        let tolerated = [Exit::Evicted, Exit::TryAgain].map(Exit::code);
        let fault = |seat: &Seat| {
            let finished = seat.finished.as_ref().and_then(|finished| finished.fault.clone());
            finished.or(seat.fault.clone()).filter(|fault| !tolerated.contains(&fault.code))
        };
        let said = |(index, seat): (usize, &Seat)| Some(Failure::from_peer(&self.board.name(index), &fault(seat)?));
        self.board.seats.iter().enumerate().find_map(said).or_else(|| self.ended.first().cloned())
    }

    fn nobody_lost(&self) -> Result<(), Failure> {
        let lost = |(index, seat): (usize, &Seat)| Some((self.board.name(index), seat.lost.clone()?));
        match self.board.seats.iter().enumerate().find_map(lost) {
            Some((name, why)) => Err(Failure::new(Exit::TryAgain, format!("the run ended without {name}: {why}"))
                .hint(format!("It was stopped, or hung. {}", self.resume()))),
            None => Ok(()),
        }
    }

    fn summary(&mut self) -> Option<Summary> {
        let seconds = self.board.seconds(self.clock.elapsed());
        summary(&self.board, &HEXLOWER.encode(&self.plan.run_id), &self.plan.state_dir.to_string_lossy(), seconds)
    }

    /// Why no peer finished: what one of them said, or how one of them ended.
    pub(super) fn reason(&self) -> Failure {
        let said = |(index, seat): (usize, &Seat)| {
            seat.fault.as_ref().map(|fault| Failure::from_peer(&self.board.name(index), fault))
        };
        let said = self.board.seats.iter().enumerate().find_map(said).or_else(|| self.ended.first().cloned());
        said.or_else(|| self.nobody_lost().err()).unwrap_or_else(|| {
            Failure::new(Exit::TryAgain, "every peer of this machine was killed").hint(self.resume())
        })
    }

    fn resume(&self) -> String {
        if self.plan.joined {
            "Join again with the same ticket: this machine goes on as the same peer.".to_owned()
        } else {
            format!("murmur run --resume {} goes on from here.", shell_word(&self.plan.state_dir))
        }
    }
}
