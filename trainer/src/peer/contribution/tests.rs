//! The learner's code drives a collective that is no update log.
#![allow(clippy::unwrap_used)]

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use murmur_kernels::{CarryShape, Direction, TopK, Weight, blob_root, fold, from_f32, to_f32};

use super::*;
use crate::learn::segment::{SegmentError, SegmentSpec, run_segment, test_fixture, test_spec};

/// A swarm of one, in memory: each round's model is the last one moved by the whole of what was learned from it.
struct LoneAverage {
    top: TopK,
    state: Vec<i64>,
    round: u32,
    carry: Option<(Hash, Arc<[u8]>)>,
    rounds_done: VecDeque<u32>,
    has_ended: bool,
}

impl Collective for LoneAverage {
    type Base = u32;
    type Input = Infallible;
    type Output = u32;

    fn is_ready(&mut self) -> bool {
        !self.has_ended
    }

    fn snapshot(&mut self) -> Option<Snapshot<u32>> {
        let mut parameters = vec![0.0; self.state.len()];
        to_f32(&self.state, &mut parameters);
        let (base, carry) = (self.round, self.carry.clone());
        let snapshot = Snapshot { base, parameters, clock: 0, segment: self.round, trusted: true, carry };
        (!self.has_ended).then_some(snapshot)
    }

    fn submit(&mut self, draft: Draft<u32>) {
        assert_eq!((draft.base, draft.segment), (self.round, self.round), "built on this round's model");
        assert_eq!(draft.carry_before, self.carry.as_ref().map_or(Hash::NONE, |(root, _)| *root));
        fold(self.top, &draft.payload, Weight::ONE, Direction::Add, &mut self.state).unwrap();
        self.carry = Some((Hash(blob_root(&draft.carry)), draft.carry));
        self.rounds_done.push_back(self.round);
        self.round += 1;
    }

    fn handle(&mut self, input: Infallible) {
        match input {}
    }

    fn poll(&mut self) -> Option<u32> {
        self.rounds_done.pop_front()
    }
}

#[test]
fn a_collective_that_is_no_update_log_learns_with_the_same_code() {
    let (mut trainer, start) = test_fixture();
    let shape = trainer.carry_shape();
    let top = TopK::new(4096).unwrap();
    let state = from_f32(&start).unwrap();
    let (carry, rounds_done) = (None, VecDeque::new());
    let mut lone = LoneAverage { top, state, round: 0, carry, rounds_done, has_ended: false };
    let (mut kept, mut losses) = (None, Vec::new());
    let mut turn = |lone: &mut LoneAverage, kept: KeptCarry| {
        contribute(lone, shape, kept, |_, snapshot, carry| {
            let spec = SegmentSpec { segment: snapshot.segment, steps: 10, top_k: top, ..test_spec() };
            run_segment(&mut trainer, &spec, &snapshot.parameters, carry, &|_| false)
        })
    };
    for round in 0..12 {
        assert!(lone.is_ready());
        let Contribution { result, .. } = turn(&mut lone, kept.take()).unwrap().unwrap();
        losses.push(result.loss_mean);
        // Every other time the carry is not kept: it comes back from its sealed form, and nothing changes.
        kept = (round % 2 == 0).then_some((Hash(result.carry_root), result.carry));
        assert_eq!(core::iter::from_fn(|| lone.poll()).collect::<Vec<_>>(), [round]);
    }
    assert!(losses[11] < losses[0] - 1.0, "{losses:?}");
    lone.has_ended = true;
    assert!(turn(&mut lone, None).unwrap().is_none());
}

#[test]
fn a_segment_that_fails_submits_nothing() {
    let (top, state) = (TopK::new(64).unwrap(), vec![0; 8]);
    let (carry, rounds_done) = (None, VecDeque::new());
    let mut lone = LoneAverage { top, state, round: 0, carry, rounds_done, has_ended: false };
    let diverged = SegmentError::Diverged { step: 1, loss: f32::NAN, gradient_norm: 0.0 };
    assert!(contribute(&mut lone, CarryShape::adamw(8), None, |_, _, _| Err(diverged)).is_err());
    assert_eq!((lone.round, lone.poll()), (0, None));
}
