//! The learner's thread: segments, audits in between, and the end. It never waits for the network while it may train.
//! Audits are in `auditing.rs`, measurements and reports in `account.rs`.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use murmur_collectives::{Hash, PeerId, Voided};
use murmur_coordinatorless::{Draft, EntryName, Input, Snapshot};
use murmur_kernels::Carry;
use murmur_quic::Transport;
use murmur_verification::Attack;

use super::budget::Budget;
use super::divergence::{Health, LossWatch};
use super::{Checkpoints, Link, Notice, Pace, Reporter, Shared, store::Carries};
use crate::error::Failure;
use crate::explain::Exit;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::protocol::EventKind;
use crate::segment::{SegmentError, SegmentResult, SegmentSpec, Worker};

/// How long neighbours that still train are waited for when the budget is reached: they are in their last segment.
const BUDGET_PATIENCE: Duration = Duration::from_secs(60);

/// An author on probation works this fraction of a segment, so that its first audits are quick.
const PROBATION_FRACTION: u32 = 3;

/// How long a joiner may take to find anyone and catch up.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(60);

/// How often a learner that may not train looks whether it may again, if nobody tells it.
const PAUSE: Duration = Duration::from_millis(200);

/// All that the learner's thread owns.
pub(super) struct Learner {
    pub(super) link: Link,
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
    /// What it plays, for demonstrations and tests.
    pub(super) attack: Option<Attack>,
    pub(super) patience: Duration,
    pub(super) joined: bool,
}

/// What the learner remembers between segments.
pub(super) struct Progress {
    pub(super) audits: VecDeque<EntryName>,
    /// The carry after the newest own segment, and its root.
    pub(super) carry: Option<(Hash, Carry)>,
    pub(super) caught_up: bool,
    pub(super) finishing: bool,
    pub(super) tokens: u64,
    pub(super) steps: u64,
    pub(super) segments: u32,
    pub(super) payload_bits: f64,
    pub(super) loss_first: Option<f32>,
    pub(super) loss_last: Option<f32>,
    pub(super) watch: LossWatch,
    /// Why training was given up.
    pub(super) diverged: Option<Failure>,
}

impl Progress {
    fn new(vocabulary: usize) -> Self {
        Self {
            audits: VecDeque::new(),
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
            diverged: None,
        }
    }
}

/// Whether to go on.
enum Flow {
    Go,
    Stop,
}

impl Learner {
    /// Trains until told to stop.
    ///
    /// # Errors
    /// [`Exit::Diverged`], [`Exit::Evicted`], [`Exit::NoPeers`] for a joiner that found nobody, disk errors.
    pub(super) fn run(mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut progress = Progress::new(self.manifest.model().vocabulary().size());
        if let Flow::Stop = self.catch_up(&mut progress)? {
            return Ok(());
        }
        loop {
            if let Flow::Stop = self.hear(&mut progress, begun)? {
                return Ok(());
            }
            if let Some(update) = progress.audits.pop_front() {
                self.audit(update)?;
            } else if progress.finishing {
                self.wait(&mut progress, begun)?;
            } else if self.is_over() || progress.diverged.is_some() {
                self.begin_finish(&mut progress);
            } else if !self.may_train() {
                self.rest(PAUSE, &mut progress, begun)?;
            } else if let Some(rest) = self.pace.as_mut().and_then(|pace| pace.rest(&self.shared, Instant::now())) {
                self.rest(rest, &mut progress, begun)?;
            } else {
                self.segment(&mut progress)?;
            }
        }
    }

    /// Waits until training may start.
    fn catch_up(&mut self, progress: &mut Progress) -> Result<Flow, Failure> {
        let begun = Instant::now();
        progress.caught_up = self.link.ask(|node| node.is_caught_up()).unwrap_or(false);
        while !progress.caught_up {
            match self.notices.recv_timeout(Duration::from_millis(500)) {
                Ok(Notice::CaughtUp) => {
                    progress.caught_up = true;
                    continue; // who hears of it may have said drain already
                }
                Ok(Notice::Audit(update)) => progress.audits.push_back(update),
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

    /// Takes all notices that wait.
    fn hear(&mut self, progress: &mut Progress, begun: Instant) -> Result<Flow, Failure> {
        while let Ok(notice) = self.notices.try_recv() {
            if let Flow::Stop = self.obey(notice, progress, begun)? {
                return Ok(Flow::Stop);
            }
        }
        Ok(if self.shared.halt.load(Relaxed) { Flow::Stop } else { Flow::Go })
    }

    /// Waits for one notice.
    fn wait(&mut self, progress: &mut Progress, begun: Instant) -> Result<(), Failure> {
        if let Ok(notice) = self.notices.recv() {
            if let Flow::Stop = self.obey(notice, progress, begun)? {
                self.shared.halt.store(true, Relaxed);
            }
        } else {
            self.shared.halt.store(true, Relaxed);
        }
        Ok(())
    }

    /// Waits for one notice, at most for `rest`.
    fn rest(&mut self, rest: Duration, progress: &mut Progress, begun: Instant) -> Result<(), Failure> {
        let flow = match self.notices.recv_timeout(rest) {
            Ok(notice) => self.obey(notice, progress, begun)?,
            Err(mpsc::RecvTimeoutError::Timeout) => Flow::Go,
            Err(mpsc::RecvTimeoutError::Disconnected) => Flow::Stop,
        };
        if let Flow::Stop = flow {
            self.shared.halt.store(true, Relaxed);
        }
        Ok(())
    }

    fn obey(&mut self, notice: Notice, progress: &mut Progress, begun: Instant) -> Result<Flow, Failure> {
        self.shared.worked();
        match notice {
            Notice::Audit(update) => progress.audits.push_back(update),
            Notice::CaughtUp | Notice::Wake => {}
            Notice::Evicted(why) => return Err(evicted(why)),
            Notice::IdentityInUse => return Err(identity_in_use()),
            Notice::Finished => self.report_finished(progress, begun)?,
            Notice::Halt => return Ok(Flow::Stop),
        }
        Ok(Flow::Go)
    }

    pub(super) fn is_over(&self) -> bool {
        let spent = self.shared.clock.load(Relaxed) >= self.manifest.rules.token_budget;
        spent || self.shared.drain.load(Relaxed)
    }

    /// Not while a final frontier that this peer lacked is fetched, and not while too little is final.
    fn may_train(&self) -> bool {
        let caught_up = self.link.ask(|node| node.is_caught_up()).unwrap_or(false);
        caught_up && !self.shared.stalled.load(Relaxed)
    }

    fn begin_finish(&mut self, progress: &mut Progress) {
        progress.finishing = true;
        let leaves = self.shared.drain.load(Relaxed) || progress.diverged.is_some();
        let patience = if leaves { self.patience } else { BUDGET_PATIENCE };
        self.link.tell(Input::Finish { patience });
    }

    fn segment(&mut self, progress: &mut Progress) -> Result<(), Failure> {
        let Some(snapshot) = self.link.ask(|node| node.snapshot()) else { return Ok(()) };
        let begun = Instant::now();
        self.pace.iter_mut().for_each(|pace| pace.worked(begun));
        let (carry_before, carry) = self.continue_carry(progress, &snapshot);
        let spec = self.spec(&snapshot);
        let mut result = self.work(&spec, &snapshot, carry).map_err(|error| self.failed(&error))?;
        let took = begun.elapsed();
        self.carries.save(snapshot.segment, &result.sealed_carry)?;
        self.link.tell(Input::Author(Box::new(draft(&snapshot, carry_before, &mut result))));
        self.remember(progress, &result, took);
        self.watch(progress, &result);
        let validation = self.validate_now_and_then(progress, snapshot.segment)?;
        self.report_segment(progress, &snapshot, &result, took, validation);
        progress.carry = Some((Hash(result.carry_root), result.carry));
        Ok(())
    }

    /// The carry that the chain's newest update committed to, or a fresh one.
    fn continue_carry(&self, progress: &mut Progress, snapshot: &Snapshot) -> (Hash, Carry) {
        let count = snapshot.parameters.len();
        let Some((root, sealed)) = &snapshot.carry else { return (Hash::NONE, Carry::fresh(count)) };
        match progress.carry.take() {
            Some((kept, carry)) if kept == *root => (kept, carry),
            Some(_) | None => match Carry::unseal(count, sealed) {
                Ok(carry) => (*root, carry),
                Err(_) => (Hash::NONE, Carry::fresh(count)),
            },
        }
    }

    fn spec(&self, snapshot: &Snapshot) -> SegmentSpec {
        let whole = self.manifest.inner.steps;
        let steps = if snapshot.trusted { whole } else { whole.div_ceil(PROBATION_FRACTION) };
        self.manifest.segment_spec(self.link.me, snapshot.segment, snapshot.clock, steps)
    }

    fn work(&mut self, spec: &SegmentSpec, snapshot: &Snapshot, carry: Carry) -> Result<SegmentResult, SegmentError> {
        let start = &snapshot.parameters;
        if let Some(attack) = self.attack {
            let me = self.link.me;
            let stolen = self.link.ask(move |node| another_payload(node, me)).flatten();
            return self.worker.attack(attack, spec, start, carry, stolen.as_deref());
        }
        let (shared, manifest) = (self.shared.clone(), &self.manifest);
        let step_tokens = u64::from(manifest.rules.tokens_per_step);
        let budget = Budget {
            tokens: manifest.rules.token_budget,
            founders: manifest.founders() as u64,
            segment: manifest.segment_tokens(),
        };
        let stop = move |done: u32| {
            shared.worked();
            let own = u64::from(done) * step_tokens;
            let spent = budget.is_spent(shared.clock.load(Relaxed), own, shared.swarm.load(Relaxed));
            spent || shared.is_stopped()
        };
        self.worker.segment(spec, start, carry, &stop)
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

impl Learner {
    /// Gives training up when it does not learn any more.
    fn watch(&self, progress: &mut Progress, result: &SegmentResult) {
        if self.pace.is_some() {
            return; // a stand-in's loss means nothing
        }
        let mean = f64::from(result.loss_mean);
        let health = progress.watch.hear(f64::from(result.loss_first), mean);
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
        Failure::new(Exit::Diverged, message).hint(self.before_divergence())
    }

    /// Why a segment failed. One that diverged names what is left.
    fn failed(&self, error: &SegmentError) -> Failure {
        let failure = failed(error);
        if failure.exit() == Exit::Diverged { failure.hint(self.before_divergence()) } else { failure }
    }

    fn before_divergence(&self) -> String {
        let last = match self.checkpoints.newest() {
            Some(path) => format!("The last good checkpoint is {}.", path.display()),
            None => "No checkpoint had been written before.".to_owned(),
        };
        format!("Start a new run with a lower learning rate, for example half of train.lr. {last}")
    }
}

/// The newest payload of somebody else, for the cheat that copies.
fn another_payload(node: &mut murmur_coordinatorless::Node, me: PeerId) -> Option<Vec<u8>> {
    let log = node.fold().log();
    let others = log.version().iter().map(|(author, _)| author).filter(|author| *author != me);
    others.filter_map(|author| log.last_update(&author)?.payload.as_deref().map(<[u8]>::to_vec)).next()
}

/// Takes the sealed carry out of `result`: it is large, and only the node needs it from here on.
fn draft(snapshot: &Snapshot, carry_before: Hash, result: &mut SegmentResult) -> Draft {
    Draft {
        base: snapshot.base.clone(),
        epoch: snapshot.epoch,
        frontier: snapshot.frontier,
        segment: snapshot.segment,
        steps: result.steps,
        payload: result.payload.clone().into(),
        loss_micronats: (f64::from(result.loss_mean) * 1e6) as u32,
        trace: Hash(result.trace_root),
        carry_before,
        carry: core::mem::take(&mut result.sealed_carry).into(),
    }
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
