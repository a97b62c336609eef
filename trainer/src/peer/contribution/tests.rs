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
    open_updates: u32,
    rounds_done: VecDeque<u32>,
    has_ended: bool,
}

impl Collective for LoneAverage {
    type Base = u32;
    type Draft = Draft<u32>;
    type Input = Infallible;
    type Output = u32;

    fn is_ready(&mut self) -> bool {
        !self.has_ended
    }

    fn snapshot(&mut self) -> Option<Snapshot<u32>> {
        let mut parameters = vec![0.0; self.state.len()];
        to_f32(&self.state, &mut parameters);
        let (base, carry) = (self.round, self.carry.clone());
        let open_updates = self.open_updates;
        let snapshot = Snapshot { base, parameters, clock: 0, segment: self.round, trusted: true, carry, open_updates };
        (!self.has_ended).then_some(snapshot)
    }

    fn joined_since(&mut self, _: &u32) -> Option<(u32, Vec<f32>)> {
        None
    }

    fn submit(&mut self, draft: Draft<u32>) {
        assert_eq!(
            (&draft.bases[..], draft.segment),
            (&[(0, self.round)][..], self.round),
            "built on this round's model"
        );
        let before = if self.open_updates > 0 { Update::CONTINUES } else { Hash::NONE };
        assert_eq!(draft.carry_before, self.carry.as_ref().map_or(before, |(root, _)| *root));
        fold(self.top, &draft.payload, Weight::ONE, Direction::Add, &mut self.state).unwrap();
        self.open_updates = if draft.carry.is_some() { 0 } else { self.open_updates + 1 };
        self.carry = draft.carry.map(|carry| (Hash(blob_root(&carry)), carry));
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
    let spans = Spans { shape: trainer.carry_shape(), updates: 3, tokens: u64::MAX };
    let top = TopK::new(4096).unwrap();
    let state = from_f32(&start).unwrap();
    let (carry, rounds_done) = (None, VecDeque::new());
    let mut lone = LoneAverage { top, state, round: 0, carry, open_updates: 0, rounds_done, has_ended: false };
    let (mut kept, mut losses) = (None, Vec::new());
    let mut turn = |lone: &mut LoneAverage, kept: Option<KeptCarry>| {
        contribute(lone, &spans, kept, |_, snapshot, carry, commits| {
            let spec = SegmentSpec { segment: snapshot.segment, steps: 10, top_k: top, commits, ..test_spec() };
            let bases = vec![(0, snapshot.base)];
            let result = run_segment(&mut trainer, &spec, &snapshot.parameters, carry, &|_| false, &mut |_| None);
            result.map(|result| Work { result, bases })
        })
    };
    for round in 0..12 {
        assert!(lone.is_ready());
        let contribution = turn(&mut lone, kept.take()).unwrap().unwrap();
        losses.push(contribution.result.loss_mean);
        assert_eq!(lone.carry.is_some(), round % 3 == 2, "every third carry is committed to");
        // Every other of those is not kept: it comes back from its sealed form, and nothing changes.
        kept = (round % 6 != 5).then(|| contribution.into_kept());
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
    let mut lone = LoneAverage { top, state, round: 0, carry, open_updates: 0, rounds_done, has_ended: false };
    let diverged = SegmentError::Diverged { step: 1, loss: f32::NAN, gradient_norm: 0.0 };
    let spans = Spans { shape: CarryShape::adamw(8), updates: 1, tokens: 1 };
    assert!(contribute(&mut lone, &spans, None, |_, _, _, _| Err(diverged)).is_err());
    assert_eq!((lone.round, lone.poll()), (0, None));
}
