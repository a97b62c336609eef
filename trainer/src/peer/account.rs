//! Measurements and reports of the learner's work: held-out losses, the report after each segment, the report at the end.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use murmur_collectives::{PeerId, Snapshot};

use super::exchange::{Conclusion, Exchange};
use super::learner::{Learner, Progress, bits_per_parameter, failed};
use super::steps::{Allowed, StepsChooser, Totals};
use crate::error::Failure;
use crate::learn::segment::SegmentResult;
use crate::observe::metrics::Direction;
use crate::protocol::{Finished, Segment};

/// Segments of a peer between two measurements of its validation loss.
const VALIDATE_EVERY: u32 = 8;

/// How long the final measurement of a peer that was asked to stop may take.
const HURRIED_MEASUREMENT: Duration = Duration::from_secs(5);

/// The final measurement takes this many times the sequences of one on the way.
const FINAL_MEASUREMENTS: u32 = 4;

impl<C: Exchange> Learner<C> {
    pub(super) fn validate_now_and_then(&mut self, progress: &Progress, segment: u32) -> Result<Option<f64>, Failure> {
        let turn = u32::from(self.collective.me().0[0]) % VALIDATE_EVERY;
        if self.is_over() || (segment % VALIDATE_EVERY != turn && progress.segments != 1) {
            return Ok(None);
        }
        let Some(snapshot) = self.collective.snapshot() else { return Ok(None) };
        let shared = self.shared.clone();
        let (loss, _) = self.validate(&snapshot.parameters, 0, 1, &|| shared.is_stopped())?;
        if self.shared.is_stopped() {
            return Ok(None); // of fewer sequences than the others measure it would not compare
        }
        self.metrics.set_validation_loss(loss);
        Ok(Some(loss))
    }

    /// The measurement at the end, of which a peer that is asked to stop takes what there is time for.
    fn validate_finally(&mut self, parameters: &[f32]) -> Result<(f64, u64), Failure> {
        let founders = &self.manifest.rules.founders;
        let me = self.collective.me();
        let slice = founders.iter().position(|founder| founder.peer == me).unwrap_or(founders.len());
        let slice = u32::try_from(slice).unwrap_or(0);
        let (shared, begun) = (self.shared.clone(), Instant::now());
        let cut = move || {
            let hurried = shared.drain.load(Relaxed) && begun.elapsed() >= HURRIED_MEASUREMENT;
            hurried || shared.halt.load(Relaxed)
        };
        self.validate(parameters, slice, FINAL_MEASUREMENTS, &cut)
    }

    /// Mean loss over `measurements` measurements' worth of held-out sequences from number `first` on, and its bytes; over
    /// fewer if `cut` asks for it.
    fn validate(
        &mut self,
        parameters: &[f32],
        first: u32,
        measurements: u32,
        cut: &dyn Fn() -> bool,
    ) -> Result<(f64, u64), Failure> {
        let (batch, context) = (self.manifest.inner.batch as usize, self.manifest.model().context());
        let batches = self.manifest.eval_sequences.div_ceil(self.manifest.inner.batch).max(1) * measurements;
        let start = first.saturating_mul(batches).min(u32::MAX - batches);
        let numbers = start..start + batches;
        let shared = self.shared.clone();
        let stop = |_: u32| {
            shared.worked();
            cut()
        };
        let measured = self.worker.validation_loss(parameters, numbers, batch, context, &stop);
        let (loss, batches) = measured.map_err(|error| failed(&error.into()))?;
        Ok((loss, u64::from(batches) * (batch * context) as u64))
    }

    pub(super) fn report_segment(
        &mut self,
        progress: &Progress,
        snapshot: &Snapshot<C::Base>,
        result: &SegmentResult,
        took: Duration,
        validation_loss: Option<f64>,
    ) {
        let Some(view) = self.collective.view() else { return };
        let traffic = self.transport.traffic();
        self.count_traffic();
        self.reporter.segment(Segment {
            seq: u64::from(snapshot.segment),
            clock: snapshot.clock,
            set_tokens: view.tokens,
            tokens_self: progress.tokens,
            loss: f64::from(result.loss_mean),
            seconds: took.as_secs_f64(),
            steps: u64::from(result.steps),
            updates_folded: view.updates,
            peers: view.neighbours,
            bytes_sent: traffic.udp_tx_bytes,
            bytes_received: traffic.udp_rx_bytes,
            payload_bits_per_param: bits_per_parameter(result),
            audits_passed: view.audits.0,
            audits_failed: view.audits.1,
            validation_loss,
            base: snapshot.base.to_string(),
        });
    }

    /// A chooser of the length of segments that begins to measure now.
    pub(super) fn steps_chooser(&self) -> StepsChooser {
        let rules = &self.manifest.rules;
        let least = self.manifest.inner.steps;
        // The segments of a stand-in take no time, so it has nothing to choose from.
        let most = if self.pace.is_some() { least } else { rules.steps_max };
        let epoch_tokens = if self.pace.is_some() { 0 } else { rules.frontier_every_tokens };
        let density = if self.pace.is_some() { (rules.top, rules.top) } else { (self.manifest.inner.top, rules.top) };
        StepsChooser::new(Allowed { least, most, density, epoch_tokens }, self.totals())
    }

    /// Chooses how long the next segment is.
    pub(super) fn choose_steps(&self, progress: &mut Progress, result: &SegmentResult, took: Duration) {
        progress.chooser.record(result.steps, took, result.payload.len(), self.totals());
        let peers = self.shared.swarm.load(Relaxed).saturating_sub(1);
        self.shared.set_steps(progress.chooser.status(peers));
    }

    fn totals(&self) -> Totals {
        Totals {
            at: Instant::now(),
            queued_bytes: self.transport.traffic().messages_queued_bytes,
            sending: self.transport.sending(),
            clock: self.shared.clock.load(Relaxed),
        }
    }

    fn count_traffic(&self) {
        let traffic = self.transport.traffic();
        self.metrics.set_udp_bytes(Direction::Sent, traffic.udp_tx_bytes);
        self.metrics.set_udp_bytes(Direction::Received, traffic.udp_rx_bytes);
    }

    pub(super) fn report_finished(&mut self, progress: &Progress, begun: Instant) -> Result<(), Failure> {
        // The model of a stand-in is of no use.
        let keeps = self.pace.is_none().then(|| self.checkpoints.clone());
        let Some(Conclusion { snapshot, view, root, taken }) = self.collective.conclude(keeps) else { return Ok(()) };
        let (val_loss, val_bytes) = self.validate_finally(&snapshot.parameters)?;
        self.metrics.set_validation_loss(val_loss);
        let lost = progress
            .diverged
            .clone()
            .or_else(|| progress.watch.is_lost(val_loss).then(|| self.diverged(&progress.watch, val_loss)));
        // What diverged must not displace what was good.
        let written = taken.filter(|_| lost.is_none()).map(|taken| self.checkpoints.write(&taken)).transpose();
        let (checkpoint, unsaved) = match written {
            Ok(path) => (path, None),
            Err(error) => (None, Some(Failure::from(error))),
        };
        let drained = self.shared.drain.load(Relaxed);
        let reason = if lost.is_some() {
            "diverged"
        } else if drained {
            "drained"
        } else {
            "budget"
        };
        let traffic = self.transport.traffic();
        self.count_traffic();
        self.reporter.finished(Finished {
            peer_id: self.collective.me().to_string(),
            petname: self.collective.me().petname(),
            seq: u64::from(snapshot.segment),
            updates: view.updates,
            tokens_set: view.tokens,
            tokens_self: progress.tokens,
            state_root: root.to_string(),
            version: snapshot.base.to_string(),
            val_loss,
            val_bytes,
            loss_first: progress.loss_first.map_or(f64::NAN, f64::from),
            loss_last: progress.loss_last.map_or(f64::NAN, f64::from),
            bytes_sent: traffic.udp_tx_bytes,
            bytes_received: traffic.udp_rx_bytes,
            audits_passed: view.audits.0,
            audits_failed: view.audits.1,
            evicted: view.evicted.iter().map(PeerId::to_string).collect(),
            seconds: begun.elapsed().as_secs_f64(),
            steps_self: progress.steps,
            payload_bits_per_param: progress.payload_bits / f64::from(progress.segments.max(1)),
            roots_matched: view.compared.0,
            roots_differed: view.compared.1,
            chains: view.chains,
            final_epoch: view.final_epoch,
            ages: self.shared.ages(),
            reason: reason.to_owned(),
            checkpoint: checkpoint.map(|path| path.display().to_string()),
            fault: lost.or(unsaved).as_ref().map(Failure::to_fault),
        });
        Ok(())
    }
}
