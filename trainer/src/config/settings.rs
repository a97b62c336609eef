//! The typed settings, and the checks that involve more than one of them.

use std::{net::SocketAddr, path::PathBuf};

use murmur_collectives::Rules;
use murmur_kernels::{AdamW, Optimizer};

use super::{
    Key, Resolved, Source, Value,
    keys::{ARCHITECTURE, key},
};
use crate::{
    error::{Exit, Failure},
    learn::{
        model::{FAMILIES, Family, ModelConfig, ModelConfigError},
        numeric::Numeric,
        segment::Rates,
    },
};

/// Inner steps of a segment where the link keeps up and none are set: `experiments/default-run`, `experiments/parity`.
const STEPS_ON_A_FAST_LINK: u64 = 5;

/// The fewest of 4096 parameters that a peer sends where the number is its own choice: sparser updates than that learn less than
/// longer segments.
const TOP_ON_A_SLOW_LINK: u16 = 64;

/// Everything a run and this machine's part in it need to know. Field docs are in the table: `murmur config explain`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the table of settings is the one place that documents them")]
pub struct Settings {
    pub seed: u64,
    pub numeric: Numeric,
    pub model: ModelConfig,
    pub data: Data,
    pub train: Train,
    pub compress: Compress,
    pub outer: Outer,
    pub run: RunLength,
    pub audit: Audit,
    pub finality: Finality,
    pub net: Net,
    pub checkpoint: Checkpoint,
    pub eval: Eval,
    pub device: Device,
}

macro_rules! section {
    ($name:ident, $prefix:literal, { $($field:ident : $type:ty = $read:ident),+ $(,)? }) => {
        #[doc = concat!("The settings `", $prefix, ".*`.")]
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "the table of settings is the one place that documents them")]
        pub struct $name { $(pub $field: $type),+ }

        impl $name {
            fn read(resolved: &Resolved) -> Self {
                Self { $($field: resolved.$read(concat!($prefix, ".", stringify!($field)))),+ }
            }
        }
    };
}

section!(Data, "data", { path: Option<PathBuf> = path });
section!(Train, "train", {
    batch: usize = size,
    steps: u64 = steps,
    steps_max: u64 = steps_max,
    optimizer: Optimizer = optimizer,
    lr: f64 = real,
    muon_lr: f64 = real,
    muon_momentum: f64 = real,
    beta1: f64 = real,
    beta2: f64 = real,
    weight_decay: f64 = real,
    warmup_tokens: u64 = whole,
    lr_final_fraction: f64 = real,
    rewarm_steps: u64 = whole,
});
section!(Compress, "compress", { top: u16 = top, top_max: u16 = top_max, beta: f64 = real });
section!(Outer, "outer", { alpha: f64 = real, alpha_final: f64 = real });
section!(RunLength, "run", { tokens: u64 = whole });
section!(Audit, "audit", { rate: f64 = real, quorum: u16 = small, span: u16 = small });
section!(Finality, "finality", { every: u64 = whole });
section!(Net, "net", {
    listen: SocketAddr = address,
    announce: String = text,
    metrics: SocketAddr = address,
    relay: usize = size,
    port_map: bool = switch,
});
section!(Checkpoint, "checkpoint", { every_tokens: u64 = whole });
section!(Eval, "eval", { sequences: usize = size });
section!(Device, "device", { threads: usize = size, memory_check: bool = switch, state_memory: usize = size });

/// AdamW's epsilon, which no setting changes.
const EPSILON: f32 = 1e-8;

impl Train {
    /// How far the optimizer steps at the peak of the schedule.
    pub fn rates(&self) -> Rates {
        let (lr, weight_decay) = (self.lr as f32, self.weight_decay as f32);
        let adamw = AdamW { lr, beta1: self.beta1, beta2: self.beta2, epsilon: EPSILON, weight_decay };
        Rates { adamw, muon_lr: self.muon_lr as f32, muon_momentum: self.muon_momentum as f32 }
    }
}

impl Settings {
    /// Tokens of one inner step of one peer: batch · context.
    pub fn step_tokens(&self) -> u64 {
        u64::try_from(self.train.batch * self.model.context()).expect("both are bounded by the table of settings")
    }

    /// Tokens of one segment of one peer: H · batch · context. Where H is chosen while the run goes on: of the shortest.
    pub fn segment_tokens(&self) -> u64 {
        self.train.steps * self.step_tokens()
    }
}

impl Resolved {
    /// The typed settings.
    ///
    /// # Errors
    /// [`Exit::Config`] when two settings do not fit together, with both values and where they came from.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let settings = Settings {
            seed: self.whole("seed"),
            numeric: self.numeric(),
            model: self.model(),
            data: Data::read(self),
            train: Train::read(self),
            compress: Compress::read(self),
            outer: Outer::read(self),
            run: RunLength::read(self),
            audit: Audit::read(self),
            finality: self.finality(),
            net: Net::read(self),
            checkpoint: Checkpoint::read(self),
            eval: Eval::read(self),
            device: Device::read(self),
        };
        self.check(&settings)?;
        Ok(settings)
    }

    fn numeric(&self) -> Numeric {
        self.text("numeric").parse().expect("the table of settings has only profiles that there are")
    }

    fn model(&self) -> ModelConfig {
        let family = self.family();
        let sizes: Vec<usize> = family.dimensions.iter().map(|dimension| self.size(dimension.setting)).collect();
        (family.of_sizes)(&sizes)
    }

    fn family(&self) -> &'static Family {
        let chosen = key(ARCHITECTURE).map(|key| self.entry(key).0.to_string());
        FAMILIES.into_iter().find(|family| chosen.as_deref() == Some(family.name)).unwrap_or(FAMILIES[0])
    }

    /// Unless it was set, it follows the length of a long run.
    fn finality(&self) -> Finality {
        let Finality { every } = Finality::read(self);
        let chosen = self.entry(key("finality.every").expect("it is in the table")).1 != Source::Default;
        let least = self.whole("run.tokens") / Rules::EPOCHS_MAX;
        Finality { every: if chosen { every } else { every.max(least) } }
    }

    fn check(&self, settings: &Settings) -> Result<(), Failure> {
        let Settings { model, net, .. } = settings;
        self.check_model(model)?;
        let parameters = model.params() as u64;
        if !Rules::PARAMETERS.contains(&parameters) {
            let message =
                format!("a model has at most {} parameters, and this has {parameters}", Rules::PARAMETERS.end());
            let growing = model.family().dimensions.iter().filter(|dimension| dimension.adds_params);
            return Err(self.misfit(&message, &growing.map(|dimension| dimension.setting).collect::<Vec<_>>()));
        }
        if settings.step_tokens() > u64::from(*Rules::TOKENS_PER_STEP.end()) {
            let message = format!("one step has at most {} tokens", Rules::TOKENS_PER_STEP.end());
            return Err(self.misfit(&message, &["train.batch", "model.context"]));
        }
        if settings.segment_tokens() > settings.run.tokens {
            let message = format!("one segment is {} tokens, more than the whole run", settings.segment_tokens());
            return Err(self.misfit(&message, &["run.tokens", "train.steps", "train.batch", "model.context"]));
        }
        let every_min = settings.run.tokens / Rules::EPOCHS_MAX;
        if settings.finality.every != 0 && settings.finality.every < every_min {
            let message = format!("finality.every must be 0, or at least {every_min} for a run of this length");
            return Err(self.misfit(&message, &["finality.every", "run.tokens"]));
        }
        if !net.announce.is_empty() && net.announce.parse::<std::net::IpAddr>().is_err() {
            return Err(self.misfit("net.announce is not an IP address", &["net.announce"]));
        }
        Ok(())
    }

    fn check_model(&self, model: &ModelConfig) -> Result<(), Failure> {
        model.check().map_err(|error| match &error {
            ModelConfigError::Range { setting, .. } => self.misfit(&error.to_string(), &[setting]),
            ModelConfigError::Misfit { rule, settings, .. } => self.misfit(rule, settings),
        })
    }

    /// A failure that lists the settings involved, with their values and sources.
    fn misfit(&self, message: &str, names: &[&str]) -> Failure {
        let describe = |key: &'static Key| {
            let (value, source) = self.entry(key);
            format!("{} = {value} ({source})", key.name)
        };
        let facts: Vec<_> = names.iter().filter_map(|name| key(name)).map(describe).collect();
        Failure::new(Exit::Config, message).because(facts.join(", ")).hint("Change one of them.")
    }

    fn value(&self, name: &str) -> &Value {
        &self.entry(key(name).expect("settings are read by the names in the table")).0
    }

    fn whole(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Whole(number) => *number,
            Value::Real(_) | Value::Text(_) | Value::Path(_) | Value::Address(_) => {
                unreachable!("the table says {name} is whole")
            }
        }
    }

    /// Where the number is left to the program: the fewest that it chooses on a fast link.
    fn steps(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Whole(steps) => *steps,
            Value::Real(_) | Value::Text(_) | Value::Path(_) | Value::Address(_) => {
                STEPS_ON_A_FAST_LINK.min(self.whole("train.steps_max"))
            }
        }
    }

    /// Where the number of steps is set, that is the most, too.
    fn steps_max(&self, name: &str) -> u64 {
        match self.value("train.steps") {
            Value::Whole(steps) => *steps,
            Value::Real(_) | Value::Text(_) | Value::Path(_) | Value::Address(_) => self.whole(name),
        }
    }

    /// The sparsest update that a peer may choose, or the only one.
    fn top(&self, name: &str) -> u16 {
        match self.value(name) {
            Value::Whole(_) => self.small(name),
            Value::Real(_) | Value::Text(_) | Value::Path(_) | Value::Address(_) => {
                TOP_ON_A_SLOW_LINK.min(self.small("compress.top_max"))
            }
        }
    }

    /// Where the density is set, that is the densest, too.
    fn top_max(&self, name: &str) -> u16 {
        match self.value("compress.top") {
            Value::Whole(_) => self.small("compress.top"),
            Value::Real(_) | Value::Text(_) | Value::Path(_) | Value::Address(_) => self.small(name),
        }
    }

    fn real(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Real(number) => *number,
            Value::Whole(_) | Value::Text(_) | Value::Path(_) | Value::Address(_) => {
                unreachable!("the table says {name} is a number")
            }
        }
    }

    fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text.clone(),
            Value::Whole(_) | Value::Real(_) | Value::Path(_) | Value::Address(_) => {
                unreachable!("the table says {name} is text")
            }
        }
    }

    fn optimizer(&self, name: &str) -> Optimizer {
        let word = self.text(name);
        let known = Optimizer::ALL.into_iter().find(|optimizer| optimizer.name() == word);
        known.expect("the table of settings has only optimizers that there are")
    }

    fn address(&self, name: &str) -> SocketAddr {
        match self.value(name) {
            Value::Address(address) => *address,
            Value::Whole(_) | Value::Real(_) | Value::Text(_) | Value::Path(_) => {
                unreachable!("the table says {name} is an address")
            }
        }
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.whole(name)).expect("sizes are bounded by the table of settings")
    }

    fn switch(&self, name: &str) -> bool {
        self.whole(name) > 0
    }

    fn small(&self, name: &str) -> u16 {
        u16::try_from(self.whole(name)).expect("small numbers are bounded by the table of settings")
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        match self.value(name) {
            Value::Path(path) => Some(path.clone()).filter(|path| !path.as_os_str().is_empty()),
            Value::Whole(_) | Value::Real(_) | Value::Text(_) | Value::Address(_) => {
                unreachable!("the table says {name} is a path")
            }
        }
    }
}
