//! The manifest: everything all peers of a run must agree on, as canonical bytes whose BLAKE3 hash names the run.

use murmur_collectives::{BadRule, Founder, Hash, ONE_Q16, PeerId, Rules};
use murmur_coordinatorless::MANIFEST_BYTES_MAX;
use murmur_kernels::{AdamW, CHUNK, CarryShape, Optimizer, TopK, from_f32, state_root};
use rkyv::{Archive, Deserialize, Serialize, rancor};

use crate::config::Settings;
use crate::error::{Exit, Failure};
use crate::learn::model::{ModelConfig, ModelConfigError, Section};
use crate::learn::numeric::{Numeric, UnknownProfile};
use crate::learn::schedule::Schedule;
use crate::learn::segment::{Rates, SegmentSpec, carry_shape};

/// The format that this program writes and reads.
const FORMAT: u32 = 6;

/// Names what the bytes are, before anything else is believed.
const MAGIC: [u8; 8] = *b"murmurM6";

/// What manifests of every format start with; the format follows, one byte.
const FAMILY: &[u8] = b"murmurM";

/// Codes of the inner optimizer.
const ADAMW: u8 = 0;
const MUON: u8 = 1;

/// What a run is.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Manifest {
    format: u32,
    /// Initial parameters and the order of the data follow from it.
    pub seed: [u8; 32],
    /// The constants of the fold.
    pub rules: Rules,
    /// The numeric profile and its version; see [`Numeric::profile`].
    profile: String,
    /// State root of θ₀. Either what the seed gives, or a state that peers serve.
    pub genesis: Hash,
    /// The model.
    pub model: Section,
    /// Root of the data.
    pub data_root: Hash,
    /// The inner loop.
    pub inner: Inner,
    /// The learning rate over the token clock.
    pub schedule: Schedule,
    /// Tokens of the clock between checkpoints.
    pub checkpoint_every_tokens: u64,
    /// Held-out sequences per measurement.
    pub eval_sequences: u32,
}

/// What a segment does; see [`SegmentSpec`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Inner {
    /// Sequences per step.
    pub batch: u32,
    /// Inner steps of a whole segment, H: the fewest that a peer chooses because of its link. The most are
    /// [`Rules::steps_max`].
    pub steps: u32,
    /// How many of every 4096 parameters an update carries: the fewest that a peer chooses because of its link. The most are
    /// [`Rules::top`].
    pub top: u16,
    /// 0: AdamW; 1: Muon.
    optimizer: u8,
    /// Peak learning rate of Muon as a multiple of AdamW's.
    muon_share: f32,
    muon_momentum: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    clip_norm: f32,
    rewarm_steps: u32,
    trace_every: u32,
    feedback_decay: f32,
}

/// How many of every 4096 parameters an update carries: what a peer chooses among. Where more than half are sent, all cost hardly
/// more.
pub const DENSITIES: [u16; 6] = [64, 128, 256, 512, 1024, 4096];

/// What a peer chooses about a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Length {
    /// Inner steps.
    pub steps: u32,
    /// How many of every 4096 parameters its update carries.
    pub top: TopK,
}

/// Bytes that are no manifest this program can use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Another version of murmur made it, whose data, rules or bytes mean something else.
    #[error("made by another version of murmur: the manifest's format is {0}, this program uses {FORMAT}")]
    Format(char),
    /// Too long or malformed.
    #[error("not a manifest of format {FORMAT}: {0}")]
    Malformed(&'static str),
    /// A rule out of range.
    #[error(transparent)]
    Rule(#[from] BadRule),
    /// A model that cannot be.
    #[error(transparent)]
    Model(#[from] ModelConfigError),
    /// A numeric profile that this program does not have.
    #[error(transparent)]
    Profile(#[from] UnknownProfile),
    /// A number out of range.
    #[error("`{0}` is out of range")]
    Range(&'static str),
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Self::new(Exit::Config, "these settings make no run").because(error)
    }
}

/// What a manifest is made from, beside the settings.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Peers that are trusted from the start.
    pub founders: Vec<Founder>,
    /// Root of the data.
    pub data_root: [u8; 32],
    /// θ₀, if it is not what the seed gives.
    pub genesis: Option<Hash>,
}

impl Manifest {
    /// The manifest of a new run.
    ///
    /// # Errors
    /// [`ManifestError`] if settings give something impossible.
    pub fn new(settings: &Settings, parts: Parts) -> Result<Self, ManifestError> {
        let (model, train) = (settings.model, &settings.train);
        let seed = run_seed(settings.seed);
        let mut manifest = Self {
            format: FORMAT,
            seed,
            rules: rules(settings, &model, parts.founders)?,
            profile: settings.numeric.profile().to_owned(),
            genesis: parts.genesis.unwrap_or(Hash::NONE),
            model: Section::of(&model),
            data_root: Hash(parts.data_root),
            inner: Inner::of(settings)?,
            schedule: Schedule::new(train.lr as f32, train.warmup_tokens, train.lr_final_fraction as f32),
            checkpoint_every_tokens: settings.checkpoint.every_tokens,
            eval_sequences: u32::try_from(settings.eval.sequences)
                .map_err(|_| ManifestError::Range("eval.sequences"))?,
        };
        manifest.check()?;
        // Of a model that cannot be, not even the first parameters are computed.
        if parts.genesis.is_none() {
            manifest.genesis = seeded_genesis(&model, &seed);
        }
        Ok(manifest)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = rkyv::to_bytes::<rancor::Error>(self).expect("a manifest serializes into memory");
        [&MAGIC[..], &body].concat()
    }

    /// Reads and checks bytes from anyone.
    ///
    /// # Errors
    /// [`ManifestError`] says what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Malformed("too long"));
        }
        let body = bytes.strip_prefix(&MAGIC[..]).ok_or_else(|| foreign(bytes))?;
        let manifest = rkyv::from_bytes::<Self, rancor::Failure>(body)
            .map_err(|_| ManifestError::Malformed("broken structure"))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The run's name: the hash of the canonical bytes.
    pub fn run_id(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// The numeric profile that all peers compute under.
    ///
    /// # Errors
    /// This program does not have it.
    pub fn numeric(&self) -> Result<Numeric, UnknownProfile> {
        Numeric::of_profile(&self.profile)
    }

    /// The model's architecture and dimensions.
    pub fn model(&self) -> ModelConfig {
        self.model.config()
    }

    /// Number of the founders, all of whom start trusted.
    pub fn founder_count(&self) -> usize {
        self.rules.founders.len()
    }

    /// Writes θ₀ as the seed gives it to `state`, `[parameters]`; false if the run starts from another state.
    ///
    /// # Panics
    /// If `state` has another length.
    pub fn write_seeded_state(&self, state: &mut [i64]) -> bool {
        write_seeded_state(&self.model(), &self.seed, state);
        state_root(state) == self.genesis.0
    }

    /// What segment `segment` of `peer` does when it starts at `clock` and is so long.
    pub fn segment_spec(&self, peer: PeerId, segment: u32, clock: u64, length: Length) -> SegmentSpec {
        let inner = &self.inner;
        let lr = self.schedule.lr(clock + self.segment_tokens(), self.rules.token_budget);
        SegmentSpec {
            run_seed: self.seed,
            peer,
            segment,
            steps: length.steps,
            batch_size: inner.batch as usize,
            context: self.model().context(),
            rates: Rates {
                adamw: AdamW {
                    lr,
                    beta1: f64::from(inner.beta1),
                    beta2: f64::from(inner.beta2),
                    epsilon: inner.epsilon,
                    weight_decay: inner.weight_decay,
                },
                muon_lr: lr * inner.muon_share,
                muon_momentum: inner.muon_momentum,
            },
            clip_norm: inner.clip_norm,
            rewarm_steps: inner.rewarm_steps,
            trace_every: inner.trace_every,
            commits: true,
            top_k: length.top,
            feedback_decay: inner.feedback_decay,
        }
    }

    /// The inner optimizer.
    pub fn optimizer(&self) -> Optimizer {
        if self.inner.optimizer == ADAMW { Optimizer::AdamW } else { Optimizer::Muon }
    }

    /// Shape of the private state that authors keep.
    pub fn carry_shape(&self) -> CarryShape {
        carry_shape(self.optimizer(), &self.model().layout())
    }

    /// Tokens of a whole segment of the fewest steps.
    pub fn segment_tokens(&self) -> u64 {
        u64::from(self.inner.steps) * u64::from(self.rules.tokens_per_step)
    }

    fn check(&self) -> Result<(), ManifestError> {
        self.rules.check()?;
        self.model().check()?;
        if self.format != FORMAT {
            return Err(ManifestError::Malformed("another format"));
        }
        let class = self.numeric()?.class();
        let unit = |x: f32| (0.0..=1.0).contains(&x);
        let inner = &self.inner;
        let tokens = u64::from(inner.batch) * self.model().context() as u64;
        let checks = [
            ("rules.class", self.rules.class == class),
            ("rules.parameters", self.rules.parameters == self.model().params() as u64),
            ("rules.tokens_per_step", tokens == u64::from(self.rules.tokens_per_step)),
            ("inner.steps", inner.steps >= 1 && inner.steps <= self.rules.steps_max),
            ("inner.top", TopK::new(inner.top).is_ok() && inner.top <= self.rules.top),
            ("inner.optimizer", [ADAMW, MUON].contains(&inner.optimizer)),
            ("inner.muon_share", inner.muon_share > 0.0 && inner.muon_share.is_finite()),
            ("inner.muon_momentum", unit(inner.muon_momentum) && inner.muon_momentum < 1.0),
            ("inner.beta1", unit(inner.beta1) && inner.beta1 < 1.0),
            ("inner.beta2", unit(inner.beta2) && inner.beta2 < 1.0),
            ("inner.epsilon", inner.epsilon > 0.0 && inner.epsilon <= 1.0),
            ("inner.weight_decay", unit(inner.weight_decay)),
            ("inner.clip_norm", inner.clip_norm > 0.0 && inner.clip_norm.is_finite()),
            ("inner.trace_every", inner.trace_every >= 1),
            ("inner.feedback_decay", unit(inner.feedback_decay)),
            ("schedule", self.schedule.is_sound()),
            ("eval_sequences", self.eval_sequences <= 1_000_000),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((name, _)) => Err(ManifestError::Range(name)),
            None => Ok(()),
        }
    }
}

/// What is wrong with bytes that do not start as a manifest of this format does.
fn foreign(bytes: &[u8]) -> ManifestError {
    match bytes.strip_prefix(FAMILY) {
        Some(&[format, ..]) if format.is_ascii_graphic() => ManifestError::Format(char::from(format)),
        Some(_) | None => ManifestError::Malformed("wrong first bytes"),
    }
}

impl Inner {
    fn of(settings: &Settings) -> Result<Self, ManifestError> {
        let small = |name, value: u64| u32::try_from(value).map_err(|_| ManifestError::Range(name));
        Ok(Self {
            batch: small("train.batch", settings.train.batch as u64)?,
            steps: small("train.steps", settings.train.steps)?,
            top: settings.compress.top,
            optimizer: match settings.train.optimizer {
                Optimizer::AdamW => ADAMW,
                Optimizer::Muon => MUON,
            },
            muon_share: (settings.train.muon_lr / settings.train.lr) as f32,
            muon_momentum: settings.train.muon_momentum as f32,
            beta1: settings.train.beta1 as f32,
            beta2: settings.train.beta2 as f32,
            epsilon: settings.train.rates().adamw.epsilon,
            weight_decay: settings.train.weight_decay as f32,
            clip_norm: 1.0,
            rewarm_steps: small("train.rewarm_steps", settings.train.rewarm_steps)?,
            trace_every: small("train.steps", settings.train.steps)?.div_ceil(2),
            feedback_decay: settings.compress.beta as f32,
        })
    }
}

fn rules(settings: &Settings, model: &ModelConfig, founders: Vec<Founder>) -> Result<Rules, ManifestError> {
    let small = |name, value: u64| u32::try_from(value).map_err(|_| ManifestError::Range(name));
    let q16 = |value: f64| (value * f64::from(ONE_Q16)).round() as u32;
    Ok(Rules {
        parameters: model.params() as u64,
        top: settings.compress.top_max,
        alpha_start_q16: q16(settings.outer.alpha),
        alpha_end_q16: q16(settings.outer.alpha_final),
        clip_q16: ONE_Q16 * 3 / 2,
        tokens_per_step: small("train.batch", settings.step_tokens())?,
        segment_tokens: settings.segment_tokens(),
        steps_max: small("train.steps_max", settings.train.steps_max)?,
        token_budget: settings.run.tokens,
        audit_rate_q16: q16(settings.audit.rate),
        audit_quorum: u32::from(settings.audit.quorum),
        span: u32::from(settings.audit.span),
        frontier_every_tokens: settings.finality.every,
        class: settings.numeric.class(),
        founders,
    })
}

/// The 32 bytes that stand for the setting `seed`.
pub fn run_seed(seed: u64) -> [u8; 32] {
    blake3::derive_key("murmuration run seed v1", &seed.to_le_bytes())
}

/// A piece at a time: the state may be larger than memory.
fn write_seeded_state(model: &ModelConfig, seed: &[u8; 32], state: &mut [i64]) {
    let parameters = model.initial_params(seed);
    assert_eq!(parameters.len(), state.len(), "the state has room for the model");
    for (state, parameters) in state.chunks_mut(CHUNK).zip(parameters.chunks(CHUNK)) {
        state.copy_from_slice(&from_f32(parameters).expect("initial parameters are finite"));
    }
}

fn seeded_genesis(model: &ModelConfig, seed: &[u8; 32]) -> Hash {
    let mut state = vec![0; model.params()];
    write_seeded_state(model, seed, &mut state);
    Hash(state_root(&state))
}

#[cfg(test)]
pub(crate) mod tests;
