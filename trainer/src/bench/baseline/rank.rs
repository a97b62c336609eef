//! One rank of a baseline: trains on its own batches and gives its collective what it learned.

use std::sync::Arc;

use murmur_collectives::baseline::{Baseline, Contribution, Outer};
use murmur_collectives::{Collective, Founder, Identity, PeerId};
use murmur_kernels::{Carry, global_norm};
use murmur_verification::Lottery;

use super::method::{Averages, MethodName, Parts};
use crate::bench::suite::Point;
use crate::config::{Inputs, Resolved, Settings};
use crate::error::{Exit, Failure};
use crate::learn::data::{Corpus, DataSource, batch};
use crate::learn::model::Replica;
use crate::learn::numeric::exact_pool;
use crate::learn::segment::{Optimizer, SegmentSpec, descend, validation_loss};
use crate::run::manifest::{Length, Manifest, Parts as ManifestParts};

/// Points of the loss's curve.
const POINTS: u64 = 20;

/// Sequences of a batch of held-out text: those of a run with the default batch, so that both measure the same windows.
const EVALUATION_BATCH: usize = 2;

/// The last loss is of this many times as much held-out text as one on the way: of what four founders of a run measure together.
const FINAL_MEASUREMENTS: u32 = 16;

/// What is trained: a method, by how many, with which settings.
#[derive(Clone)]
pub struct Task {
    /// The method.
    pub method: MethodName,
    /// Ranks.
    pub peers: usize,
    /// Momentum of the outer step.
    pub momentum: f32,
    /// Settings of the run.
    pub settings: Settings,
    /// The run that these settings make; its founders have no meaning here.
    manifest: Manifest,
    /// The text, read once for all ranks of a process.
    corpus: Arc<Corpus>,
}

impl Task {
    /// A task. `sets` come after the method's own settings; a momentum in place of the method's may be given.
    ///
    /// # Errors
    /// [`Exit::Config`] for settings that make no run; [`Exit::Data`] without the text.
    pub fn new(method: MethodName, peers: usize, momentum: Option<f32>, sets: &[String]) -> Result<Self, Failure> {
        let own = method.settings().iter().map(|&set| set.to_owned());
        let inputs = Inputs { sets: own.chain(sets.iter().cloned()).collect(), ..Inputs::default() };
        let settings = Resolved::new(&inputs)?.settings()?;
        let corpus = Corpus::load(&DataSource::of(settings.data.path.clone()))?;
        corpus.check(settings.model.context())?;
        let nobody = Identity::from_secret(&[0; 32]);
        let founders = vec![Founder { peer: nobody.peer_id(), vrf_key: Lottery::of(&nobody).public() }];
        let manifest = Manifest::new(&settings, ManifestParts { founders, data_root: corpus.root(), genesis: None })?;
        let momentum = momentum.unwrap_or_else(|| method.momentum());
        Ok(Self { method, peers, momentum, settings, manifest, corpus: Arc::new(corpus) })
    }
}

/// A rank at work.
pub(super) struct Rank {
    task: Task,
    me: PeerId,
    pub(super) collective: Baseline,
    replica: Box<dyn Replica + Send>,
    optimizer: Optimizer,
    /// The optimizer's memory, where each rank has an optimizer of its own.
    carry: Carry,
    /// Parameters along the way, with the clock, seconds and bytes at which they were so.
    kept: Vec<(Point, Vec<f32>)>,
}

impl Rank {
    /// The rank `index` of a task, which computes with `threads` threads.
    ///
    /// # Errors
    /// [`Exit::Device`], [`Exit::Config`] as for a peer of a run.
    pub(super) fn new(task: &Task, index: usize, threads: usize) -> Result<Self, Failure> {
        let (manifest, settings) = (&task.manifest, &task.settings);
        let replica = settings.numeric.replica(manifest.model(), threads)?;
        let optimizer = || -> Result<_, Failure> {
            Ok(Optimizer::new(manifest.optimizer(), replica.layout(), exact_pool(threads)?))
        };
        let averaged = AveragedOptimizer::new(manifest.clone(), optimizer()?);
        let optimizer = optimizer()?;
        let rates = manifest.clone();
        let parts = Parts {
            layout: replica.layout(),
            optimizer: Box::new(averaged),
            rate: Box::new(move |clock| rates.segment_spec(PeerId([0; 32]), 0, clock, one_step(&rates)).rates.adamw.lr),
            decay: settings.train.weight_decay as f32,
            outer: (settings.outer.alpha as f32, task.momentum),
            compress: (manifest.rules.top_k(), settings.compress.beta as f32),
            seed: manifest.seed,
        };
        let start = manifest.model().initial_params(&manifest.seed);
        let collective = Baseline::new(task.method.build(parts), index, task.peers, start);
        let carry = Carry::fresh(optimizer.carry_shape());
        let me = PeerId([index as u8 + 1; 32]);
        Ok(Self { task: task.clone(), me, collective, replica, optimizer, carry, kept: Vec::new() })
    }

    /// Whether the token budget is spent.
    pub(super) fn is_over(&self) -> bool {
        self.collective.clock() >= self.task.settings.run.tokens
    }

    /// Learns from its own batches of this round and submits that.
    ///
    /// # Errors
    /// [`Exit::Diverged`] when a loss is no number any more; [`Exit::Bug`] when the collective has ended.
    pub(super) fn contribute(&mut self) -> Result<(), Failure> {
        let ended = || Failure::new(Exit::Bug, "the baseline's exchange has ended");
        let snapshot = self.collective.snapshot().ok_or_else(ended)?;
        let steps = self.task.settings.train.steps as u32;
        let spec = self.task.manifest.segment_spec(
            self.me,
            snapshot.segment,
            snapshot.clock,
            Length { steps, top: self.task.manifest.rules.top_k() },
        );
        let (vector, steps) = match self.task.method.averages() {
            Averages::Gradients => (self.gradient(&spec, 0, &snapshot.parameters)?.0, 1),
            Averages::Segments => (self.segment(&spec, &snapshot.parameters)?, steps),
        };
        let tokens = u64::from(steps) * (spec.batch_size * spec.context) as u64;
        self.collective.submit(Contribution { vector, tokens });
        Ok(())
    }

    /// With its norm.
    fn gradient(&mut self, spec: &SegmentSpec, step: u32, parameters: &[f32]) -> Result<(Vec<f32>, f32), Failure> {
        let segment = u64::from(spec.segment);
        let batch = batch(&self.task.corpus, &spec.run_seed, &spec.peer, segment, step, spec.batch_size, spec.context);
        let mut gradient = vec![0.0; parameters.len()];
        let loss = self.replica.loss_and_grad(parameters, &batch, &mut gradient)?;
        let norm = global_norm(&gradient);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Failure::new(Exit::Diverged, format!("the loss is {loss} in round {segment}")));
        }
        Ok((gradient, norm))
    }

    /// start − end.
    fn segment(&mut self, spec: &SegmentSpec, start: &[f32]) -> Result<Vec<f32>, Failure> {
        let mut running = start.to_vec();
        for step in 0..spec.steps {
            let (gradient, norm) = self.gradient(spec, step, &running)?;
            descend(&mut self.optimizer, spec, &mut self.carry, &mut running, (&gradient, norm));
        }
        Ok(start.iter().zip(&running).map(|(start, end)| start - end).collect())
    }

    /// Keeps the parameters for the curve, at the start, each twentieth of the budget, and the end.
    pub(super) fn keep(&mut self, seconds: f64, bytes: u64) {
        let (clock, budget) = (self.collective.clock(), self.task.settings.run.tokens.max(1));
        let part = |tokens: u64| tokens * POINTS / budget;
        let due = self.kept.last().is_none_or(|(point, _)| part(clock) > part(point.tokens));
        if due || self.is_over() {
            let point = Point { tokens: clock, seconds, bytes, loss: f64::NAN };
            self.kept.push((point, self.collective.parameters().to_vec()));
        }
    }

    /// The curve, measured now, on the same held-out windows as those of a run of four peers.
    ///
    /// # Errors
    /// [`Exit::Device`] when the model cannot be computed.
    pub(super) fn curve(&mut self) -> Result<Vec<Point>, Failure> {
        let measurement = self.task.settings.eval.sequences.div_ceil(EVALUATION_BATCH).max(1) as u32;
        let context = self.task.manifest.model().context();
        let (kept, mut curve) = (std::mem::take(&mut self.kept), Vec::new());
        let last = kept.len().saturating_sub(1);
        for (index, (point, parameters)) in kept.into_iter().enumerate() {
            let measurements = if index == last { FINAL_MEASUREMENTS } else { 1 };
            let batches = 0..measurements * measurement;
            let (replica, corpus) = (self.replica.as_mut(), &self.task.corpus);
            let (loss, _) =
                validation_loss(replica, corpus, &parameters, batches, EVALUATION_BATCH, context, &|_| false)?;
            curve.push(Point { loss, ..point });
        }
        Ok(curve)
    }
}

/// The inner optimizer, on gradients that were averaged: every rank takes the same step.
struct AveragedOptimizer {
    manifest: Manifest,
    optimizer: Optimizer,
    carry: Carry,
}

impl AveragedOptimizer {
    fn new(manifest: Manifest, optimizer: Optimizer) -> Self {
        let carry = Carry::fresh(optimizer.carry_shape());
        Self { manifest, optimizer, carry }
    }
}

impl Outer for AveragedOptimizer {
    fn step(&mut self, clock: u64, parameters: &mut [f32], mean: &[f32]) {
        let spec = self.manifest.segment_spec(PeerId([0; 32]), 0, clock, one_step(&self.manifest));
        descend(&mut self.optimizer, &spec, &mut self.carry, parameters, (mean, global_norm(mean)));
    }
}

fn one_step(manifest: &Manifest) -> Length {
    Length { steps: 1, top: manifest.rules.top_k() }
}
