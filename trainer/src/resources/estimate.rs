//! Estimates the memory of a peer from the buffers that the code allocates. Checked against real peers in `experiments/memory`.

use murmur_kernels::{CarryShape, Optimizer, TopK, exact::Muon, payload_bytes_max};

use crate::{
    config::Settings,
    learn::{
        model::{ModelConfig, class_step_bytes},
        numeric::Numeric,
        segment::carry_shape,
    },
    run::manifest::Manifest,
};

/// Bytes of a parameter in a state.
const STATE_BYTES: u64 = 8;

/// States held now and then: the present one, and one that is rebuilt for an audit, a final frontier or a newcomer, or copied
/// for a checkpoint.
const STATES: u64 = 2;

/// Bytes of a parameter in the learner: start, end and gradient of a segment, in floats.
const LEARNER_BYTES: u64 = 3 * 4;

/// The carry that a segment works on. It is unsealed in place when it is committed to.
const CARRIES: u64 = 1;

/// Bytes of memory for own carries that auditors may ask for. The two newest are kept whatever they take.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Sealed carries beside those that are kept: the one that is being made.
const SEALED: u64 = 1;

/// More of both during an audit: the own carry waits, and the author's is sealed twice, as it came and as it is replayed.
const AUDIT_CARRIES: u64 = 1;
const AUDIT_SEALED: u64 = 2;

/// Burn's leaves and their gradients beside ours, in floats.
const LEAF_BYTES: u64 = 2 * 4;

/// Payloads that may be on their way at once, where one is longer than a message.
const UNDER_WAY: u64 = 4;

/// A log holds the updates of this many intervals between final frontiers.
const FRONTIERS_KEPT: u64 = 3;

/// Program, network and what else does not grow with the model.
const BASE_BYTES: u64 = 48 << 20;

/// Address space beside the memory that is used: mapped files and what the allocator reserves for each thread.
const SPACE_BASE_BYTES: u64 = 128 << 20;
const SPACE_PER_THREAD_BYTES: u64 = 66 << 20;

/// Threads of a peer beside those that compute.
const OTHER_THREADS: u64 = 6;

/// What memory depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The model.
    pub model: ModelConfig,
    /// Sequences of an inner step.
    pub batch: u64,
    /// The inner optimizer.
    pub optimizer: Optimizer,
    /// Whose kernels compute.
    pub numeric: Numeric,
    /// Density of updates.
    pub top: TopK,
    /// Updates that a log holds at most: those of all authors, of whole segments.
    pub updates: u64,
    /// Whether peers replay each other's work.
    pub audits: bool,
    /// Bytes of text; 0 before it was read.
    pub text: u64,
    /// What the machine's owner chose.
    pub machine: Machine,
}

/// What of a peer's memory its machine's owner chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Threads that compute, of one peer.
    pub threads: usize,
    /// A state of more MiB lies in files.
    pub state_memory: usize,
}

/// Bytes of memory, by what they are for. Sums stay at the largest number rather than overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// States, parameters, gradient, optimizer, residual, carries.
    pub model: u64,
    /// What the forward pass keeps for the backward pass, and the room that both work in.
    pub batch: u64,
    /// Updates in the log.
    pub log: u64,
    /// The text; twice as much while it is read.
    pub text: u64,
    /// All else.
    pub base: u64,
    /// Address space that takes no memory of its own: states in files, what is reserved for threads.
    space: u64,
}

impl Shape {
    /// Of a run with these settings, whose peers compute with `threads` threads each.
    pub fn of_settings(settings: &Settings, text: u64, threads: usize) -> Self {
        Self {
            model: settings.model,
            batch: settings.train.batch as u64,
            optimizer: settings.train.optimizer,
            numeric: settings.numeric,
            top: TopK::new(settings.compress.top_max).expect("the table of settings has only densities that there are"),
            updates: updates(settings.run.tokens, settings.finality.every, settings.segment_tokens()),
            audits: settings.audit.rate > 0.0,
            text,
            machine: Machine { threads, state_memory: settings.device.state_memory },
        }
    }

    /// Of a run that others started.
    pub fn of_manifest(manifest: &Manifest, text: u64, machine: Machine) -> Self {
        let rules = &manifest.rules;
        Self {
            model: manifest.model(),
            batch: u64::from(manifest.inner.batch),
            optimizer: manifest.optimizer(),
            numeric: manifest.numeric().unwrap_or(Numeric::Exact),
            top: rules.top_k(),
            updates: updates(rules.token_budget, rules.frontier_every_tokens, manifest.segment_tokens()),
            audits: rules.audit_rate_q16 > 0,
            text,
            machine,
        }
    }

    /// What one peer needs.
    pub fn need(&self) -> Need {
        let parameters = self.model.params() as u64;
        let states = parameters.saturating_mul(STATE_BYTES * STATES);
        let in_files = parameters.saturating_mul(STATE_BYTES).div_ceil(1 << 20) > self.machine.state_memory as u64;
        let threads = (self.machine.threads as u64).saturating_add(OTHER_THREADS);
        let reserved = threads.saturating_mul(SPACE_PER_THREAD_BYTES).saturating_add(SPACE_BASE_BYTES);
        let payload = payload_bytes_max(self.top, self.model.params()) as u64;
        Need {
            model: self.learner().saturating_add(if in_files { 0 } else { states }),
            batch: self.batch(),
            log: self.updates.saturating_add(UNDER_WAY).saturating_mul(payload),
            text: self.text,
            base: BASE_BYTES,
            space: reserved.saturating_add(if in_files { states } else { 0 }),
        }
    }

    /// What grows with the parameters, beside states.
    fn learner(&self) -> u64 {
        let (parameters, audit) = (self.model.params() as u64, u64::from(self.audits));
        let layout = self.model.layout();
        let shape = carry_shape(self.optimizer, &layout);
        let sealed = carries_kept(shape) as u64 + SEALED + audit * AUDIT_SEALED;
        let leaves = if self.numeric == Numeric::Class { LEAF_BYTES } else { 0 };
        let carries = (CARRIES + audit * AUDIT_CARRIES).saturating_mul(shape.bytes() as u64);
        let matrices = layout.entries().iter().filter(|entry| entry.role.is_hidden_matrix());
        let working = match self.optimizer {
            Optimizer::AdamW => 0,
            Optimizer::Muon => {
                let (count, most) = matrices.fold((0, 0), |(count, most), entry| {
                    (count + 1, most.max(Muon::bytes([entry.shape[0], entry.shape[1]])))
                });
                most.saturating_mul(self.machine.threads.clamp(1, count.max(1)))
            }
        };
        [
            parameters.saturating_mul(LEARNER_BYTES + leaves),
            carries,
            sealed * shape.sealed_bytes() as u64,
            working as u64,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }

    /// The replica's buffers.
    fn batch(&self) -> u64 {
        let shape = [self.batch, self.model.context() as u64];
        match self.numeric {
            Numeric::Exact => self.model.exact_step_bytes(shape),
            Numeric::Class => class_step_bytes(&self.model, shape),
        }
    }
}

/// How many own sealed carries of this shape a peer keeps.
pub(crate) fn carries_kept(shape: CarryShape) -> usize {
    (KEPT_BYTES / shape.sealed_bytes()).clamp(2, 8)
}

/// Updates that a log holds: all of a run, or those of a few final frontiers.
fn updates(budget: u64, every: u64, segment_tokens: u64) -> u64 {
    let kept = if every == 0 { budget } else { budget.min(every.saturating_mul(FRONTIERS_KEPT)) };
    kept.div_ceil(segment_tokens.max(1))
}

impl Need {
    /// Memory of one peer. The text is read before anything else takes much.
    pub fn total(&self) -> u64 {
        let training = [self.model, self.batch, self.log].into_iter().fold(0, u64::saturating_add);
        [self.base, self.text, training.max(self.text)].into_iter().fold(0, u64::saturating_add)
    }

    /// Address space of one peer.
    pub fn address_space(&self) -> u64 {
        self.total().saturating_add(self.space)
    }

    /// What takes most, in words, and the settings that make it smaller, if any do.
    pub(super) fn largest(&self) -> (&'static str, Option<&'static str>) {
        let mut items = [
            (self.model, "the model and its optimizer", Some("model.d_model and model.layers")),
            (self.batch, "a batch", Some("train.batch and model.context")),
            (self.log, "the log of updates", Some("compress.top_max and finality.every")),
            (self.text, "the text", Some("the text given with --data")),
            (self.base, "the program itself", None),
        ];
        items.sort_by_key(|(bytes, ..)| core::cmp::Reverse(*bytes));
        let [(_, what, settings), ..] = items;
        (what, settings)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Inputs, Resolved};
    use crate::learn::model::gpt::Gpt;

    pub(crate) fn shape() -> Shape {
        of(&[])
    }

    fn of(sets: &[&str]) -> Shape {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        let settings = Resolved::new(&Inputs { sets, ..Inputs::default() }).unwrap().settings().unwrap();
        Shape::of_settings(&settings, 0, 1)
    }

    #[test]
    fn a_batch_counts_by_its_sequences() {
        let [one, ten] = [20, 200].map(|batch| Shape { batch, ..shape() }.need().batch);
        assert!(ten > 9 * one && ten <= 10 * one, "{one} {ten}");
        let huge = Shape { batch: 4096, ..shape() };
        assert_eq!(huge.need().largest(), ("a batch", Some("train.batch and model.context")));
    }

    #[test]
    fn whose_kernels_keep_the_shares_of_attention_takes_memory_by_the_context_squared() {
        let batch = |numeric: &str| of(&["model.context=4096", &format!("numeric={numeric}")]).need().batch;
        let (exact, class) = (batch("exact"), batch("class"));
        let shares = 2 * 4096 * 4096 * 4 * 4 * 5;
        assert_eq!(class, exact + shares);
        assert!(shares > 2 * exact, "{exact}");
    }

    #[test]
    fn an_auditor_holds_one_more_carry() {
        let model = |rate: &str| of(&[&format!("audit.rate={rate}")]).need().model;
        let shape = carry_shape(Optimizer::Muon, &ModelConfig::default().layout());
        assert_eq!(model("0.05") - model("0"), (shape.bytes() + 2 * shape.sealed_bytes()) as u64);
    }

    #[test]
    fn a_log_is_kept_for_a_few_final_frontiers_or_the_whole_run() {
        let updates = |every: &str| of(&["run.tokens=51200k", &format!("finality.every={every}")]).updates;
        assert_eq!((updates("200k"), updates("512k"), updates("0")), (469, 1200, 40_000));
        assert_eq!(updates("100M"), updates("0"), "there are no more than the run has");
        assert!(of(&["finality.every=0", "run.tokens=100M"]).need().largest().0.contains("log"));
    }

    #[test]
    fn states_in_files_take_address_space_and_no_memory() {
        let [memory, files] = ["2048", "0"].map(|mib| of(&[&format!("device.state_memory={mib}")]).need());
        assert_eq!(memory.total() - files.total(), 16 * ModelConfig::default().params() as u64);
        assert_eq!(memory.address_space(), files.address_space());
    }

    #[test]
    fn text_counts_twice_only_while_nothing_else_does() {
        let need = Shape { text: 1 << 30, ..shape() }.need();
        assert_eq!(need.total(), need.base + (2 << 30));
        let large = Shape { batch: 4096, text: 1 << 20, ..shape() }.need();
        assert_eq!(large.total(), large.base + large.model + large.batch + large.log + (1 << 20));
    }

    #[test]
    fn the_largest_shapes_do_not_overflow() {
        let model = Gpt { layers: 64, heads: 64, d_model: 4096, context: 4096 }.into();
        let machine = Machine { threads: usize::MAX, state_memory: 0 };
        let (batch, updates, text) = (u64::MAX, u64::MAX, u64::MAX);
        for numeric in [Numeric::Exact, Numeric::Class] {
            let shape = Shape { model, numeric, batch, updates, text, machine, ..shape() };
            assert_eq!(shape.need().address_space(), u64::MAX);
        }
    }
}
