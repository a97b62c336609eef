//! A peer's worker: a model with its data, or a stand-in that needs neither.

use core::ops::Range;

use murmur_kernels::Carry;
use murmur_verification::Attack;

use super::{
    attack::attack_segment,
    error::SegmentError,
    evaluate::validation_loss,
    run::run_segment,
    spec::{SegmentResult, SegmentSpec},
    stand_in::{STAND_IN_CLASS, stand_in, stand_in_loss},
};
use crate::learn::{
    data::Corpus,
    model::{Replica, ReplicaError},
};

/// Makes segments, replays those of others, and measures.
pub enum Worker {
    /// Trains a model on text.
    Train {
        /// The model.
        replica: Box<dyn Replica + Send>,
        /// The text.
        corpus: Corpus,
    },
    /// Trains nothing, for benchmarks of the exchange.
    StandIn,
}

impl Worker {
    /// A segment, by an author or an auditor. `stop` is called with the steps done so far; `true` ends it there.
    ///
    /// # Errors
    /// As [`run_segment`].
    pub fn segment(
        &mut self,
        spec: &SegmentSpec,
        start: &[f32],
        carry: Carry,
        stop: &dyn Fn(u32) -> bool,
    ) -> Result<SegmentResult, SegmentError> {
        match self {
            Self::Train { replica, corpus } => run_segment(replica.as_mut(), corpus, spec, start, carry, stop),
            Self::StandIn => stand_in(spec, start, carry),
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
        stolen: Option<&[u8]>,
    ) -> Result<SegmentResult, SegmentError> {
        match self {
            Self::Train { replica, corpus } => {
                attack_segment(attack, replica.as_mut(), corpus, spec, start, carry, stolen)
            }
            Self::StandIn => stand_in(spec, start, carry),
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
            Self::Train { replica, corpus } => {
                validation_loss(replica.as_mut(), corpus, parameters, batches, batch_size, context, stop)
            }
            Self::StandIn => Ok((stand_in_loss(&batches), batches.end.saturating_sub(batches.start))),
        }
    }

    /// The numeric class of what it makes.
    pub fn class(&self) -> String {
        match self {
            Self::Train { replica, .. } => replica.class(),
            Self::StandIn => STAND_IN_CLASS.to_owned(),
        }
    }

    /// The device it computes on, in words.
    pub fn device(&self) -> String {
        match self {
            Self::Train { replica, .. } => replica.device(),
            Self::StandIn => "none (stand-in)".to_owned(),
        }
    }

    /// Bytes of text to train on and held out.
    pub fn text_bytes(&self) -> (u64, u64) {
        match self {
            Self::Train { corpus, .. } => (corpus.train().len() as u64, corpus.validation().len() as u64),
            Self::StandIn => (0, 0),
        }
    }
}
