//! A peer's worker: a model with its data, or a stand-in that needs neither.

use core::ops::Range;
use std::borrow::Cow;

use murmur_kernels::{Carry, CarryShape, TopK};
use murmur_verification::Attack;

use super::{
    attack::attack_segment,
    error::SegmentError,
    evaluate::validation_loss,
    run::run_segment,
    spec::{SegmentResult, SegmentSpec},
    stand_in::{STAND_IN_CLASS, stand_in, stand_in_loss},
    trainer::Trainer,
};
use crate::learn::model::ReplicaError;

/// Makes segments, replays those of others, and measures.
pub enum Worker {
    /// Trains a model on text.
    Train(Box<Trainer>),
    /// Trains nothing, for benchmarks of the exchange; its carries have this shape.
    StandIn(CarryShape),
}

impl Worker {
    /// A segment, by an author or an auditor. `stop` is called with the steps done so far; `true` ends it there. `merge` may give
    /// parameters to go on with, which a stand-in does not ask for.
    ///
    /// # Errors
    /// As [`run_segment`].
    pub fn segment(
        &mut self,
        spec: &SegmentSpec,
        start: Cow<'_, [f32]>,
        carry: Carry,
        stop: &dyn Fn(u32) -> bool,
        merge: &mut dyn FnMut(u32) -> Option<Vec<f32>>,
    ) -> Result<SegmentResult, SegmentError> {
        match self {
            Self::Train(trainer) => run_segment(trainer, spec, start, carry, stop, merge),
            Self::StandIn(_) => stand_in(spec, &start, carry),
        }
    }

    /// What a peer publishes that plays `attack`; see [`attack_segment`]. A stand-in does only honest work.
    ///
    /// # Errors
    /// As [`attack_segment`].
    pub fn attack(
        &mut self,
        attack: Attack,
        spec: &SegmentSpec,
        start: &[f32],
        carry: Carry,
        stolen: Option<(TopK, &[u8])>,
    ) -> Result<SegmentResult, SegmentError> {
        match self {
            Self::Train(trainer) => attack_segment(attack, trainer, spec, start, carry, stolen),
            Self::StandIn(_) => stand_in(spec, start, carry),
        }
    }

    /// Mean loss over the held-out batches numbered `batches`, nats per byte, and how many were measured before `stop` said
    /// that it is enough.
    ///
    /// # Errors
    /// As [`validation_loss`].
    pub fn validation_loss(
        &mut self,
        parameters: &[f32],
        batches: Range<u32>,
        batch_size: usize,
        context: usize,
        stop: &dyn Fn(u32) -> bool,
    ) -> Result<(f64, u32), ReplicaError> {
        match self {
            Self::Train(trainer) => {
                let Trainer { replica, corpus, .. } = &mut **trainer;
                validation_loss(replica.as_mut(), corpus, parameters, batches, batch_size, context, stop)
            }
            Self::StandIn(_) => Ok((stand_in_loss(&batches), batches.end.saturating_sub(batches.start))),
        }
    }

    /// Shape of the carries it continues and leaves.
    pub fn carry_shape(&self) -> CarryShape {
        match self {
            Self::Train(trainer) => trainer.carry_shape(),
            Self::StandIn(shape) => *shape,
        }
    }

    /// The numeric class of what it makes.
    pub fn class(&self) -> String {
        match self {
            Self::Train(trainer) => trainer.replica.class(),
            Self::StandIn(_) => STAND_IN_CLASS.to_owned(),
        }
    }

    /// The device it computes on, in words.
    pub fn device(&self) -> String {
        match self {
            Self::Train(trainer) => trainer.replica.device(),
            Self::StandIn(_) => "none (stand-in)".to_owned(),
        }
    }

    /// Bytes of text to train on and held out.
    pub fn text_bytes(&self) -> (u64, u64) {
        match self {
            Self::Train(trainer) => (trainer.corpus.train().len() as u64, trainer.corpus.validation().len() as u64),
            Self::StandIn(_) => (0, 0),
        }
    }
}
