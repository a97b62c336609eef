//! How a launch ends: settling, requests to stop, and what is said when nobody finished.

use std::time::Duration;

use data_encoding::HEXLOWER;

use super::{EXIT_WITHIN, Phase, SETTLE_WITHIN, Swarm};
use crate::{
    error::Failure,
    explain::Exit,
    launcher::{Agreement, Summary, board::Seat, child::describe},
    protocol::Command,
};

impl Swarm<'_> {
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
        summary.verdict()
    }

    fn summary(&mut self) -> Option<Summary> {
        let seconds = self.board.seconds(self.clock.elapsed());
        Summary::of(&self.board, &HEXLOWER.encode(&self.plan.run_id), &self.plan.state_dir.to_string_lossy(), seconds)
    }

    /// Why no peer finished: what one of them said, or how one of them ended.
    pub(super) fn reason(&self) -> Failure {
        let spoken = self.board.seats.iter().enumerate().find(|(_, seat)| seat.fault.is_some());
        if let Some((index, Seat { started, fault: Some(fault), .. })) = spoken {
            let name = started.as_ref().map_or_else(|| index.to_string(), |started| started.petname.clone());
            return Failure::from_peer(&name, fault);
        }
        match self.ended.iter().find(|(status, _)| status.code().is_some()) {
            Some((status, words)) => {
                Failure::new(Exit::Bug, format!("a peer ended without a reason: {}", describe(*status)))
                    .because(words.join("\n"))
                    .hint(format!("Its whole log is in {}.", self.plan.state_dir.display()))
            }
            None => Failure::new(Exit::TryAgain, "every peer of this machine was killed").hint(self.resume()),
        }
    }

    fn resume(&self) -> String {
        if self.plan.joined {
            "Join again with the same ticket: this machine goes on as the same peer.".to_owned()
        } else {
            format!("murmur run --resume {} goes on from here.", self.plan.state_dir.display())
        }
    }
}
