//! The learner's thread: segments, audits in between, and the end. It never waits for the network while it may train.
//! Audits are in `auditing.rs`, measurements and reports in `account.rs`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use murmur_collectives::{Collective, Draft, Voided};
use murmur_kernels::CarryShape;
use murmur_quic::Transport;
use murmur_verification::Attack;

use super::contribution::{Contribution, KeptCarry, Spans, contribute};
use super::divergence::{Health, LossWatch};
use super::exchange::{CollectiveInput, Exchange};
use super::segment_runner::SegmentRunner;
use super::steps::StepsChooser;
use super::{Checkpoints, Notice, Pace, Reporter, Shared, store::Carries};
use crate::error::Exit;
use crate::error::Failure;
use crate::learn::segment::{SegmentError, SegmentResult, Worker};
use crate::observe::metrics::Metrics;
use crate::protocol::EventKind;
use crate::run::manifest::Manifest;

/// How long neighbours that still train are waited for when the budget is reached: they are in their last segment.
const BUDGET_PATIENCE: Duration = Duration::from_secs(60);

/// How long a joiner may take to find anyone and catch up.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(60);

/// Parameters of a model whose vectors are let go wherever they can be had again.
const LARGE: usize = 1 << 24;

/// How often a learner that may not train checks whether it may again, without a notice.
const PAUSE: Duration = Duration::from_millis(200);

/// All that the learner's thread owns.
pub(super) struct Learner<C> {
    /// Combines its work with that of others.
    pub(super) collective: C,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) shared: Arc<Shared>,
    pub(super) manifest: Manifest,
    pub(super) worker: Worker,
    /// When a stand-in works; a peer that trains always does.
    pub(super) pace: Option<Pace>,
    pub(super) carries: Carries,
    pub(super) checkpoints: Checkpoints,
    pub(super) metrics: Metrics,
    pub(super) reporter: Reporter,
    pub(super) transport: Transport,
    /// The attack it plays, for demonstrations and tests.
    pub(super) attack: Option<Attack>,
    pub(super) patience: Duration,
    pub(super) joined: bool,
}

/// What the learner remembers between segments.
pub(super) struct Progress {
    pub(super) carry: Option<KeptCarry>,
    pub(super) caught_up: bool,
    pub(super) finishing: bool,
    pub(super) tokens: u64,
    pub(super) steps: u64,
    pub(super) segments: u32,
    pub(super) payload_bits: f64,
    pub(super) loss_first: Option<f32>,
    pub(super) loss_last: Option<f32>,
    pub(super) watch: LossWatch,
    pub(super) chooser: StepsChooser,
    /// Why training was given up.
    pub(super) diverged: Option<Failure>,
}

impl Progress {
    fn new(vocabulary: usize, chooser: StepsChooser) -> Self {
        Self {
            carry: None,
            caught_up: false,
            finishing: false,
            tokens: 0,
            steps: 0,
            segments: 0,
            payload_bits: 0.0,
            loss_first: None,
            loss_last: None,
            watch: LossWatch::new(vocabulary),
            chooser,
            diverged: None,
        }
    }
}

/// Whether to go on.
enum Flow {
    Go,
    Stop,
}

impl<C: Exchange> Learner<C> {
    pub(super) fn is_over(&self) -> bool {
        let spent = self.shared.clock.load(Relaxed) >= self.manifest.rules.token_budget;
        spent || self.shared.drain.load(Relaxed)
    }
}

impl<C> Learner<C>
where
    C: Exchange + Collective<Draft = Draft<<C as Collective>::Base>>,
{
    /// Trains until the run ends or a stop is requested.
    ///
    /// # Errors
    /// [`Exit::Diverged`], [`Exit::Evicted`], [`Exit::NoPeers`] for a joiner that found no peer, disk errors.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut progress = Progress::new(self.manifest.model().vocabulary().size(), self.steps_chooser());
        if let Flow::Stop = self.catch_up(&mut progress)? {
            return Ok(());
        }
        loop {
            if let Flow::Stop = self.handle_notices(&mut progress, begun)? {
                return Ok(());
            }
            let replay = if self.audits_wait(&progress) { None } else { self.collective.poll() };
            if let Some(replay) = replay {
                // What was committed to is unsealed again: two private states at once may be more than a machine holds.
                progress.carry.take_if(|kept| !kept.is_open());
                self.audit(replay)?;
            } else if progress.finishing {
                self.wait_for_notice(&mut progress, begun)?;
            } else if self.is_over() || progress.diverged.is_some() {
                self.begin_finish(&mut progress);
            } else if !self.may_train() {
                self.wait_at_most(PAUSE, &mut progress, begun)?;
            } else if let Some(rest) = self.pace.as_mut().and_then(|pace| pace.rest(&self.shared, Instant::now())) {
                self.wait_at_most(rest, &mut progress, begun)?;
            } else {
                self.segment(&mut progress)?;
            }
        }
    }

    /// Waits until training may start.
    fn catch_up(&mut self, progress: &mut Progress) -> Result<Flow, Failure> {
        let begun = Instant::now();
        progress.caught_up = self.collective.is_ready();
        while !progress.caught_up {
            match self.notices.recv_timeout(Duration::from_millis(500)) {
                Ok(Notice::CaughtUp) => {
                    progress.caught_up = true;
                    continue; // `drain` may have come already
                }
                Ok(Notice::Audit(update)) => self.collective.handle(CollectiveInput::AuditReady(update)),
                Ok(Notice::Halt) => return Ok(Flow::Stop),
                Ok(Notice::Evicted(why)) => return Err(evicted(why)),
                Ok(Notice::IdentityInUse) => return Err(identity_in_use()),
                Ok(Notice::Finished | Notice::Wake) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(Flow::Stop),
            }
            if self.shared.drain.load(Relaxed) {
                return Err(Failure::new(Exit::TryAgain, "asked to stop before it had caught up with the run")
                    .hint("Nothing is lost. Start it again in the same way, and give it more time."));
            }
            if self.joined && begun.elapsed() > CATCH_UP_PATIENCE {
                return Err(Failure::new(Exit::NoPeers, "no peer of the run brought this one up to date")
                    .hint("Ask for a fresh ticket; any peer of the run can give one."));
            }
        }
        Ok(Flow::Go)
    }

    /// Handles all notices that wait.
    fn handle_notices(&mut self, progress: &mut Progress, begun: Instant) -> Result<Flow, Failure> {
        while let Ok(notice) = self.notices.try_recv() {
            if let Flow::Stop = self.handle_notice(notice, progress, begun)? {
                return Ok(Flow::Stop);
            }
        }
        Ok(if self.shared.halt.load(Relaxed) { Flow::Stop } else { Flow::Go })
    }

    /// Waits for one notice.
    fn wait_for_notice(&mut self, progress: &mut Progress, begun: Instant) -> Result<(), Failure> {
        if let Ok(notice) = self.notices.recv() {
            if let Flow::Stop = self.handle_notice(notice, progress, begun)? {
                self.shared.halt.store(true, Relaxed);
            }
        } else {
            self.shared.halt.store(true, Relaxed);
        }
        Ok(())
    }

    /// Waits for one notice, at most for `rest`.
    fn wait_at_most(&mut self, rest: Duration, progress: &mut Progress, begun: Instant) -> Result<(), Failure> {
        let flow = match self.notices.recv_timeout(rest) {
            Ok(notice) => self.handle_notice(notice, progress, begun)?,
            Err(mpsc::RecvTimeoutError::Timeout) => Flow::Go,
            Err(mpsc::RecvTimeoutError::Disconnected) => Flow::Stop,
        };
        if let Flow::Stop = flow {
            self.shared.halt.store(true, Relaxed);
        }
        Ok(())
    }

    fn handle_notice(&mut self, notice: Notice, progress: &mut Progress, begun: Instant) -> Result<Flow, Failure> {
        self.shared.worked();
        match notice {
            Notice::Audit(update) => self.collective.handle(CollectiveInput::AuditReady(update)),
            Notice::CaughtUp | Notice::Wake => {}
            Notice::Evicted(why) => return Err(evicted(why)),
            Notice::IdentityInUse => return Err(identity_in_use()),
            Notice::Finished => self.report_finished(progress, begun)?,
            Notice::Halt => return Ok(Flow::Stop),
        }
        Ok(Flow::Go)
    }

    /// Not while a final frontier that this peer lacked is fetched, and not while too little is final.
    fn may_train(&mut self) -> bool {
        let caught_up = self.collective.is_ready();
        caught_up && !self.shared.stalled.load(Relaxed)
    }

    /// Whether audits wait until the own span has ended: of a large model the own private state and an audited one are not held
    /// together, unless this peer trains no more.
    fn audits_wait(&self, progress: &Progress) -> bool {
        let is_large = self.worker.carry_shape().params > LARGE;
        let trains = !progress.finishing && !self.is_over() && !self.shared.stalled.load(Relaxed);
        is_large && trains && progress.carry.as_ref().is_some_and(KeptCarry::is_open)
    }

    fn begin_finish(&mut self, progress: &mut Progress) {
        progress.finishing = true;
        let leaves = self.shared.drain.load(Relaxed) || progress.diverged.is_some();
        let patience = if leaves { self.patience } else { BUDGET_PATIENCE };
        self.collective.handle(CollectiveInput::Finish { patience });
    }

    fn segment(&mut self, progress: &mut Progress) -> Result<(), Failure> {
        let Self { collective, worker, manifest, shared, pace, carries, checkpoints, attack, .. } = self;
        let spans = spans(manifest, worker.carry_shape());
        let length = progress.chooser.length();
        let mut runner = SegmentRunner { worker, manifest, shared, attack: *attack, length };
        let mut took = Duration::ZERO;
        let done = contribute(collective, &spans, progress.carry.take(), |collective, snapshot, carry, commits| {
            let begun = Instant::now();
            pace.iter_mut().for_each(|pace| pace.worked(begun));
            let work = runner.segment(collective, snapshot, carry, commits);
            let work = work.map_err(|error| failed_in_training(&error, checkpoints))?;
            took = begun.elapsed();
            work.result.sealed_carry.iter().try_for_each(|sealed| carries.save(sealed))?;
            Ok::<_, Failure>(work)
        })?;
        let Some(contribution) = done else { return Ok(()) };
        let Contribution { snapshot, result, .. } = &contribution;
        self.remember(progress, result, took);
        self.choose_steps(progress, result, took);
        self.watch(progress, result);
        let validation = self.validate_now_and_then(progress, snapshot.segment)?;
        self.report_segment(progress, snapshot, result, took, validation);
        progress.carry = Some(contribution.into_kept());
        Ok(())
    }

    fn remember(&mut self, progress: &mut Progress, result: &SegmentResult, took: Duration) {
        progress.tokens += result.tokens;
        progress.steps += u64::from(result.steps);
        progress.segments += 1;
        progress.payload_bits += bits_per_parameter(result);
        progress.loss_first.get_or_insert(result.loss_first);
        progress.loss_last = Some(result.loss_mean);
        self.metrics.add_tokens(result.tokens);
        self.metrics.set_loss(f64::from(result.loss_mean));
        self.metrics.observe_segment(took);
        self.metrics.set_payload_bits_per_parameter(bits_per_parameter(result));
    }
}

impl<C: Exchange> Learner<C> {
    /// Gives training up when it does not learn any more.
    fn watch(&self, progress: &mut Progress, result: &SegmentResult) {
        if self.pace.is_some() {
            return; // a stand-in's loss means nothing
        }
        let mean = f64::from(result.loss_mean);
        let health = progress.watch.record(f64::from(result.loss_first), mean);
        self.shared.unwell.store(health != Health::Well, Relaxed);
        if health == Health::Diverged && progress.diverged.is_none() {
            let failure = self.diverged(&progress.watch, mean);
            self.reporter.event(EventKind::Diverged, None, failure.sentence());
            progress.diverged = Some(failure);
        }
    }

    /// Training learned nothing and ends with this `loss`.
    pub(super) fn diverged(&self, watch: &LossWatch, loss: f64) -> Failure {
        let guess = watch.guess();
        let message = format!("training diverged: its loss is {loss:.2} nats/byte, that of a guess {guess:.2}");
        Failure::new(Exit::Diverged, message).hint(before_divergence(&self.checkpoints))
    }
}

/// When a peer of this run commits to its carry.
fn spans(manifest: &Manifest, shape: CarryShape) -> Spans {
    let rules = &manifest.rules;
    let tokens = if rules.frontier_every_tokens == 0 { u64::MAX } else { rules.frontier_every_tokens / 4 };
    Spans { shape, updates: rules.span, tokens }
}

/// Why a segment failed. One that diverged names what is left.
fn failed_in_training(error: &SegmentError, checkpoints: &Checkpoints) -> Failure {
    let failure = failed(error);
    if failure.exit() == Exit::Diverged { failure.hint(before_divergence(checkpoints)) } else { failure }
}

fn before_divergence(checkpoints: &Checkpoints) -> String {
    let last = match checkpoints.newest() {
        Some(path) => format!("The last good checkpoint is {}.", path.display()),
        None => "No checkpoint had been written before.".to_owned(),
    };
    format!("Start a new run with a lower learning rate, for example half of train.lr. {last}")
}

pub(super) fn bits_per_parameter(result: &SegmentResult) -> f64 {
    result.payload.len() as f64 * 8.0 / result.carry.m.len().max(1) as f64
}

fn evicted(why: Voided) -> Failure {
    match why {
        Voided::Fork => Failure::new(
            Exit::Evicted,
            "this peer's chain has a fork: its identity signed two entries for one position",
        )
        .hint(
            "Its updates were removed. Usually its folder was copied, or restored from a backup. Take part with a new \
            folder, and so with a new identity: pass another --state-dir.",
        ),
        Voided::Audits => Failure::new(Exit::Evicted, "other peers replayed this peer's work and found something else")
            .hint("Its updates were removed. If the machine is honest, its memory or processor may be faulty."),
    }
}

fn identity_in_use() -> Failure {
    Failure::new(Exit::IdentityInUse, "another process that started earlier takes part as this same peer").hint(
        "Stop that one, or pass --state-dir with another folder to take part with a new identity. Never copy one.",
    )
}

pub(super) fn failed(error: &SegmentError) -> Failure {
    match error {
        SegmentError::Diverged { .. } => Failure::new(Exit::Diverged, error.to_string()),
        SegmentError::Codec(_) | SegmentError::Carry(_) | SegmentError::Replica(_) => {
            Failure::new(Exit::Bug, error.to_string())
        }
    }
}
