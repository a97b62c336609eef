//! What can be compared with: the methods, and the settings with which each learned most in one and the same search.

use std::str::FromStr;

use murmur_collectives::baseline::{
    Averaged, Demo, Gather, Method, Nesterov, Outer, Pairs, Ring, Server, Sign, SparseLoco, Subtract, Updates,
};
use murmur_kernels::TopK;

use crate::error::{Exit, Failure};
use crate::learn::model::Layout;

/// A way of training together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodName {
    /// One process, the batch of all: what there is to reach.
    Central,
    /// Gradients are averaged at every step, dense, around a ring.
    AllReduce,
    /// Gradients go to one process at every step, dense; parameters come back.
    ParamServer,
    /// Segments are averaged around a ring, dense; Nesterov momentum outside.
    DiLoCo,
    /// Random pairs average segments and models, dense.
    NoLoCo,
    /// The momentum's largest cosine coefficients at every step; signs of their mean move the model.
    Demo,
    /// Top-k of segments with error feedback, 2 bits a value, to all.
    SparseLoCo,
    /// The update log's payloads, but in rounds.
    Rounds,
}

/// What a method averages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averages {
    /// Gradients, which one optimizer then uses, or which are used as they are.
    Gradients,
    /// What segments changed; every peer has an optimizer of its own.
    Segments,
}

/// The published constants of NoLoCo's outer step: rate, pull.
const NOLOCO: (f32, f32) = (0.7, 0.7);

/// Coefficients that DeMo sends of each block, and the decay of its momentum, as published.
const DEMO: (usize, f32) = (32, 0.999);

impl MethodName {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Central,
        Self::AllReduce,
        Self::ParamServer,
        Self::DiLoCo,
        Self::NoLoCo,
        Self::Demo,
        Self::SparseLoCo,
        Self::Rounds,
    ];

    /// What users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Central => "central",
            Self::AllReduce => "allreduce",
            Self::ParamServer => "param-server",
            Self::DiLoCo => "diloco",
            Self::NoLoCo => "noloco",
            Self::Demo => "demo",
            Self::SparseLoCo => "sparseloco",
            Self::Rounds => "rounds",
        }
    }

    /// Settings with which it learned most per token at four peers (`experiments/parity`), as `--set` takes them.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Central => &["train.steps=1", "train.batch=8", "train.muon_lr=0.01", "train.lr=3e-3"],
            Self::AllReduce | Self::ParamServer => {
                &["train.steps=1", "train.batch=2", "train.muon_lr=0.01", "train.lr=3e-3"]
            }
            Self::DiLoCo => &["train.steps=5", "train.batch=2", "train.muon_lr=0.02", "outer.alpha=1"],
            Self::NoLoCo => &["train.steps=5", "train.batch=2", "train.muon_lr=0.02"],
            Self::Demo => &["train.steps=1", "train.batch=2", "train.lr=1e-3", "train.optimizer=adamw"],
            Self::SparseLoCo => &["train.steps=15", "train.batch=2", "compress.top=128", "outer.alpha=1"],
            Self::Rounds => &["train.batch=2"],
        }
    }

    /// Momentum of its outer step.
    pub fn momentum(self) -> f32 {
        match self {
            Self::DiLoCo => 0.3,
            Self::NoLoCo => 0.5,
            Self::Central | Self::AllReduce | Self::ParamServer | Self::Demo | Self::SparseLoCo | Self::Rounds => 0.0,
        }
    }

    /// What it averages.
    pub fn averages(self) -> Averages {
        match self {
            Self::Central | Self::AllReduce | Self::ParamServer | Self::Demo => Averages::Gradients,
            Self::DiLoCo | Self::NoLoCo | Self::SparseLoCo | Self::Rounds => Averages::Segments,
        }
    }

    /// Whether all peers have one model. If not, a result is the mean over peers.
    pub fn has_one_model(self) -> bool {
        self != Self::NoLoCo
    }
}

impl FromStr for MethodName {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let known = Self::ALL.into_iter().find(|method| method.name() == text);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let nearest = names.iter().max_by(|a, b| strsim::jaro(text, a).total_cmp(&strsim::jaro(text, b)));
            let hint = format!("Did you mean `{}`? There are: {}.", nearest.unwrap_or(&""), names.join(", "));
            Failure::new(Exit::Usage, format!("there is no method `{text}`")).hint(hint)
        })
    }
}

/// What a method is made of, beside its name.
pub(super) struct Parts<'a> {
    /// The model's parameters.
    pub(super) layout: &'a Layout,
    /// The optimizer of averaged gradients.
    pub(super) optimizer: Box<dyn Outer + Send>,
    /// Learning rate over the token clock, for the method that has no optimizer.
    pub(super) rate: Box<dyn Fn(u64) -> f32 + Send>,
    /// Weight decay, for the same.
    pub(super) decay: f32,
    /// How much of averaged segments counts, and momentum.
    pub(super) outer: (f32, f32),
    /// Density of compressed segments and decay of what is left out.
    pub(super) compress: (TopK, f32),
    /// Where pairs come from.
    pub(super) seed: [u8; 32],
}

impl MethodName {
    /// The method as one rank runs it.
    pub(super) fn build(self, parts: Parts<'_>) -> Box<dyn Method + Send> {
        let Parts { layout, optimizer, rate, decay, outer: (outer, momentum), compress: (top, kept), seed } = parts;
        match self {
            Self::Central | Self::AllReduce => Box::new(Averaged::new(Ring::default(), optimizer)),
            Self::ParamServer => Box::new(Server::new(optimizer)),
            Self::DiLoCo => Box::new(Averaged::new(Ring::default(), Box::new(Nesterov::new(outer, momentum)))),
            Self::NoLoCo => Box::new(Pairs::new(NOLOCO.0, momentum, NOLOCO.1, seed)),
            Self::Demo => {
                let codec = Demo::new(&matrices(layout), DEMO.0, DEMO.1);
                Box::new(Averaged::new(Gather::new(codec), Box::new(Sign::new(rate, decay))))
            }
            Self::SparseLoCo => {
                let codec = SparseLoco::new(usize::from(top.get()), kept);
                Box::new(Averaged::new(Gather::new(codec), Box::new(Subtract { rate: outer })))
            }
            Self::Rounds => {
                let mean = Gather::new(Updates::new(top, kept));
                Box::new(Averaged::new(mean, Box::new(Subtract { rate: outer })))
            }
        }
    }
}

/// The parameters as matrices; all but matrices are one row.
fn matrices(layout: &Layout) -> Vec<[usize; 2]> {
    let shape = |shape: &[usize], length: usize| match shape {
        [rows, columns] => [*rows, *columns],
        _ => [1, length],
    };
    layout.entries().iter().map(|entry| shape(&entry.shape, entry.range().len())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_told_the_nearest() {
        for method in MethodName::ALL {
            assert_eq!(method.name().parse::<MethodName>().unwrap(), method);
        }
        let failure = "sparselocco".parse::<MethodName>().unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(failure.to_fault().hint.contains("`sparseloco`"));
    }
}
